"""From task names to what the harness evaluates: test rows, and the majority answer of train."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from eval.results import DataRootKind
from eval.tasks import EvalTask, find_majority_answer
from pipeline.types import Json, Split

if TYPE_CHECKING:
    from pipeline.annotations.catalogue import Catalogue
    from pipeline.annotations.schema import DatasetAnnotation

BFCL_TASK = "bfcl"
"""Stands for every category of the benchmark that is scored here."""
MAX_MAJORITY_ROWS = 20_000
"""Train rows read to find the most frequent answer."""


def build_eval_tasks(
    catalogue: Catalogue,
    names: Sequence[str],
    *,
    split: Split,
    data_root: Path | None,
    max_new_tokens: int | None = None,
) -> list[EvalTask]:
    """Return the named tasks, ready for `eval.harness.evaluate`.

    The name `bfcl` stands for all of its categories.

    Raises:
        AnnotationError: A task is unknown or has no such split.
        SourceError: Its data cannot be read.
    """
    from pipeline.examples.cache import load_examples

    tasks = []
    for name in without_groups(names):
        annotation = catalogue.get(name)
        examples = load_examples(annotation, split, data_root=data_root)
        tasks.append(
            EvalTask(
                spec=examples.spec,
                examples=examples,
                split=split,
                majority_answer=_majority_answer(annotation, data_root),
                source=examples.report.origin,
                reads_own_files=annotation.source.hub is None,
                max_new_tokens=max_new_tokens,
            )
        )
    return tasks


def without_groups(names: Sequence[str]) -> list[str]:
    """Return task names with the benchmark's categories in the place of its own name."""
    from eval.bfcl.categories import SCORED_CATEGORIES

    found: dict[str, None] = {}
    for name in names:
        group = [f"{BFCL_TASK}/{category}" for category in SCORED_CATEGORIES]
        found.update(dict.fromkeys(group if name == BFCL_TASK else [name]))
    return list(found)


def _majority_answer(annotation: DatasetAnnotation, data_root: Path | None) -> Json:
    from pipeline.examples.cache import load_examples

    if annotation.splits.train is None:
        return None
    examples = load_examples(annotation, "train", data_root=data_root)
    rows = (examples[index] for index in range(min(len(examples), MAX_MAJORITY_ROWS)))
    return find_majority_answer(rows, examples.spec)


def data_root_kind(
    given: str | None, resolved: Path | None, tasks: Sequence[EvalTask]
) -> DataRootKind:
    """Return where rows come from, as the leaderboard shows it; files of one's own are no mirror.

    Args:
        given: Data root as it was given.
        resolved: Its folder.
        tasks: What is evaluated; where some tasks read a data root, that is told.
    """
    if all(task.reads_own_files for task in tasks):
        return "files"
    if given == "embedded":
        return "embedded"
    return "hub" if resolved is None else "mirror"
