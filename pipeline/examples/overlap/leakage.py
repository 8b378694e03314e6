"""What a recipe trains on against what it is evaluated on: compared once, and then acted upon.

The result is kept in the cache under `overlap/<fingerprint>/`, where the fingerprint covers the
examples of both sides and the code; every process of a run reads the same one.

    report.json   the numbers    left_out_0.npy, ...  positions of repeating rows, by task
    matches.jsonl pairs of rows, one per line
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, cast

import numpy as np
import numpy.typing as npt

from pipeline.annotations.catalogue import Catalogue
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import MixtureError, OutputError, PipelineError, raise_all
from pipeline.examples.cache import load_examples
from pipeline.examples.normalise import splits_made
from pipeline.examples.overlap.compare import Progress, compare
from pipeline.examples.overlap.report import NotCompared, OverlapReport
from pipeline.examples.overlap.same_source import EvaluatedSplit, find_trained_on
from pipeline.examples.stored import StoredExamples
from pipeline.examples.trained_task import trained_task
from pipeline.files import (
    cache_root,
    is_complete_folder,
    open_atomic,
    read_json,
    sha256_of_file,
    sha256_of_json,
    staged_folder,
    write_json,
)
from pipeline.recipe import Recipe
from pipeline.recipe.schema import Decontaminate, EvaluationSettings
from pipeline.sources.data_root import dataset_folder, resolve_data_root
from pipeline.types import Json

REPORT_FILE = "report.json"
LEFT_OUT_FILE = "left_out_{}.npy"
MATCHES_FILE = "matches.jsonl"

Started = Callable[[int], Progress]
"""Called with the number of rows to read; returns what is told how many more were read."""

_MUST_BE_COMPLETE: frozenset[Decontaminate] = frozenset({"drop", "error"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Leakage:
    """What a recipe's training rows and evaluated rows have in common."""

    report: OverlapReport
    folder: Path
    """Where the details are."""

    @property
    def matches(self) -> Path:
        """JSON lines: one pair of rows each."""
        return self.folder / MATCHES_FILE

    def repeated(self, task: str) -> npt.NDArray[np.int64]:
        """Return the sorted positions of a training task's rows that repeat evaluated ones."""
        number = [each.task for each in self.report.training].index(task)
        path = self.folder / LEFT_OUT_FILE.format(number)
        return cast("npt.NDArray[np.int64]", np.load(path, allow_pickle=False))


def find_leakage(
    recipe: Recipe, catalogue: Catalogue, *, started: Started | None = None
) -> Leakage:
    """Compare what a recipe trains on with what it is evaluated on, or read what was found.

    Args:
        recipe: The recipe; what it says under `decontaminate` only matters for evaluated splits
            that cannot be read, which `drop` and `error` do not accept.
        catalogue: Has the tasks of the recipe.
        started: Told how many rows will be read, when they are.

    Raises:
        MixtureError: A training split is an evaluated split (OVL001).
        PipelineError: A task is unknown, its data cannot be read, or the cache not written.
    """
    refuse_evaluated_splits(recipe, catalogue)
    data_root = resolve_data_root(recipe.data_root)
    training = [
        load_examples(
            trained_task(catalogue, recipe, entry),
            "train",
            data_root=data_root,
            max_rows=recipe.train_rows_of(entry),
            seed=recipe.seed,
            evenly=recipe.few_shot is not None,
        )
        for entry in recipe.tasks
    ]
    evaluated: list[StoredExamples] = []
    gaps: list[NotCompared] = []
    for split in evaluated_splits(recipe, catalogue):
        try:
            evaluated.append(load_examples(split.annotation, split.split, data_root=data_root))
        except PipelineError as error:
            if split.is_optional:
                continue
            if recipe.decontaminate in _MUST_BE_COMPLETE:
                raise
            gaps.append(
                NotCompared(task=split.annotation.id, split=split.split, reason=error.message)
            )
    folder = cache_root() / "overlap" / _fingerprint(recipe, training, evaluated)
    if not is_complete_folder(folder):
        _compare_into(folder, training, evaluated, started)
    report = OverlapReport.from_json(cast("dict[str, Json]", read_json(folder / REPORT_FILE)))
    return Leakage(report=replace(report, not_compared=tuple(gaps)), folder=folder)


def refuse_evaluated_splits(recipe: Recipe, catalogue: Catalogue) -> None:
    """Check by their files that no training split is an evaluated split.

    Raises:
        MixtureError: One is (OVL001).
        PipelineErrors: Several are.
        AnnotationError: A task of the recipe is unknown.
    """
    training = [catalogue.get(entry.task) for entry in recipe.tasks]
    evaluated = evaluated_splits(recipe, catalogue)
    raise_all(find_trained_on(training, evaluated, resolve_data_root(recipe.data_root)))


def evaluated_splits(recipe: Recipe, catalogue: Catalogue) -> list[EvaluatedSplit]:
    """Return the splits that a recipe is evaluated on.

    These are the tasks under `evaluation`, or else the tasks trained on, in the split named
    there. Who trains function calling is also compared with the rows of the Berkeley
    Function-Calling Leaderboard, where the mirror has them.

    Raises:
        AnnotationError: A task under `evaluation.tasks` is unknown.
        PipelineErrors: Several are.
    """
    evaluation = recipe.evaluation or EvaluationSettings()
    trained = [catalogue.get(entry.task) for entry in recipe.tasks]
    named: list[DatasetAnnotation] = []
    errors: list[PipelineError] = []
    for name in evaluation.tasks or ():
        try:
            named.append(catalogue.get(name))
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)
    tasks = named or [task for task in trained if evaluation.split in splits_made(task)]
    found = {task.id: EvaluatedSplit(annotation=task, split=evaluation.split) for task in tasks}
    if any(task.task == "function_calling" for task in trained):
        for task in _leaderboard_in_mirror(catalogue, resolve_data_root(recipe.data_root)):
            board = EvaluatedSplit(annotation=task, split="test", is_optional=True)
            found.setdefault(task.id, board)
    return list(found.values())


def check_leakage(leakage: Leakage, policy: Decontaminate) -> None:
    """Act on what was found, as far as it forbids to train.

    Raises:
        MixtureError: A training task holds an evaluated split row by row (OVL002); `error` is
            asked for and rows are repeated (OVL003); or `drop` leaves no row (OVL004).
        PipelineErrors: That holds for several tasks.
    """
    report = leakage.report
    errors: list[PipelineError] = []
    if policy == "error":
        errors += _repeats(report)
    if policy == "drop":
        errors += _nothing_left(report)
    if policy == "report":
        errors += _whole_splits(report)
    raise_all(errors)


def _repeats(report: OverlapReport) -> list[PipelineError]:
    return [
        MixtureError(
            "OVL003",
            f"{pair.num_training_rows} training rows repeat {pair.num_exact + pair.num_near} of "
            f"{pair.num_evaluated} rows of {pair.evaluated_task}/{pair.split}",
            where=pair.training_task,
            hint="List them with `taskloom overlap RECIPE --out FILE`, or leave them out with "
            "`decontaminate: drop`",
        )
        for pair in report.pairs
    ]


def _whole_splits(report: OverlapReport) -> list[PipelineError]:
    return [
        MixtureError(
            "OVL002",
            f"trains on an evaluated split: {pair.num_exact} of {pair.num_evaluated} rows of "
            f"{pair.evaluated_task}/{pair.split} stand in its training rows",
            where=pair.training_task,
            hint="Set `decontaminate: drop` to leave those rows out, or train on other data",
        )
        for pair in report.pairs
        if pair.is_whole_split
    ]


def _nothing_left(report: OverlapReport) -> list[PipelineError]:
    return [
        MixtureError(
            "OVL004",
            f"`decontaminate: drop` leaves none of its {task.num_rows} training rows: all repeat "
            "evaluated rows",
            where=task.task,
            hint="Take the task out of the recipe, or evaluate on other data",
        )
        for task in report.training
        if task.num_repeated == task.num_rows
    ]


def _leaderboard_in_mirror(catalogue: Catalogue, data_root: Path | None) -> list[DatasetAnnotation]:
    return [
        task
        for task in catalogue.select(kind="function_calling")
        if task.settings.get("checker") == "bfcl"
        and task.source.hub is not None
        and dataset_folder(data_root, task.source.hub) is not None
    ]


def _compare_into(
    folder: Path,
    training: Sequence[StoredExamples],
    evaluated: Sequence[StoredExamples],
    started: Started | None,
) -> None:
    progress = None
    if started is not None:
        progress = started(sum(map(len, (*training, *evaluated))))
    try:
        with staged_folder(folder) as staged:
            with open_atomic(staged / MATCHES_FILE) as stream:
                made = compare(
                    training, evaluated, matches=cast("IO[str]", stream), progress=progress
                )
            for number, rows in enumerate(made.repeated):
                with open_atomic(staged / LEFT_OUT_FILE.format(number), binary=True) as stream:
                    np.save(cast("IO[bytes]", stream), rows, allow_pickle=False)
            write_json(staged / REPORT_FILE, made.report.to_json())
    except OutputError:
        # Another process may have moved the same result into place in between.
        if not is_complete_folder(folder):
            raise


def _fingerprint(
    recipe: Recipe, training: Sequence[StoredExamples], evaluated: Sequence[StoredExamples]
) -> str:
    limits: list[Json] = [
        None if rows is None else [rows, recipe.seed, recipe.few_shot is not None]
        for rows in map(recipe.train_rows_of, recipe.tasks)
    ]
    return sha256_of_json(
        {
            "training": [[each.spec.id, each.report.fingerprint] for each in training],
            "limits": limits,
            "evaluated": [[each.spec.id, each.report.fingerprint] for each in evaluated],
            "code": _code_fingerprint(),
        }
    )[:24]


@functools.lru_cache(maxsize=1)
def _code_fingerprint() -> str:
    files = sorted(Path(__file__).parent.glob("*.py"))
    return sha256_of_json([f"{file.name}:{sha256_of_file(file)}" for file in files])
