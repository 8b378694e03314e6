"""Annotations on the rows of a mirror: what became of every row of every split."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import PipelineError, PipelineErrors
from pipeline.examples.cache import load_examples
from pipeline.examples.normalise import splits_made
from pipeline.sources.data_root import dataset_folder
from pipeline.types import Split

NOT_IN_MIRROR = frozenset({"SRC103", "SRC104"})
"""The mirror has the dataset, but not this config or split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRun:
    """One split of one task, run on its rows."""

    task: str
    dataset: str
    split: Split
    num_rows: int = 0
    """Rows read, those that gave no example included."""
    num_examples: int = 0
    """More than rows where a row gives several examples."""
    skipped: dict[str, int] = field(default_factory=dict)
    """What gave no example, by reason."""
    error: PipelineError | None = None
    """Why the split could not be read at all."""

    @property
    def is_absent(self) -> bool:
        """Whether the mirror lacks the config or the split, which is no fault."""
        return self.error is not None and self.error.code in NOT_IN_MIRROR


def tasks_in_mirror(
    annotations: Iterable[DatasetAnnotation], data_root: Path
) -> list[DatasetAnnotation]:
    """Return the annotations whose dataset has a folder in the mirror.

    Args:
        annotations: Of one task each, see `expanded`.
        data_root: The mirror.
    """
    return [
        annotation
        for annotation in annotations
        if annotation.source.hub is not None
        and dataset_folder(data_root, annotation.source.hub) is not None
    ]


def run_on_rows(
    annotation: DatasetAnnotation,
    *,
    data_root: Path | None,
    progress: Callable[[int], None] | None = None,
) -> list[SplitRun]:
    """Make every example of a task and count what became of the rows; errors are kept, not raised.

    Args:
        annotation: Of one task.
        data_root: The mirror; `None` reads the hub.
        progress: Told the number of examples made so far.
    """
    return [_run(annotation, split, data_root, progress) for split in splits_made(annotation)]


def _run(
    annotation: DatasetAnnotation,
    split: Split,
    data_root: Path | None,
    progress: Callable[[int], None] | None,
) -> SplitRun:
    dataset = annotation.source.hub or "files"
    try:
        report = load_examples(annotation, split, data_root=data_root, progress=progress).report
    except PipelineErrors as several:
        found: PipelineError = several.errors[0]
    except PipelineError as error:
        found = error
    else:
        return SplitRun(
            task=annotation.id,
            dataset=dataset,
            split=split,
            num_rows=report.num_rows,
            num_examples=report.num_available,
            skipped=dict(report.skipped),
        )
    return SplitRun(task=annotation.id, dataset=dataset, split=split, error=found)


def markdown_table(runs: Sequence[SplitRun]) -> str:
    """Return the runs as a Markdown table, without splits that the mirror lacks."""
    lines = [
        "| task | dataset | split | rows | examples | gave no example |",
        "|---|---|---|---|---|---|",
    ]
    lines += [_table_row(run) for run in runs if not run.is_absent]
    return "\n".join(lines) + "\n"


def _table_row(run: SplitRun) -> str:
    if run.error is not None:
        return f"| `{run.task}` | {run.dataset} | {run.split} | - | - | error {run.error.code} |"
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(run.skipped.items()))
    reasons = reasons.replace("|", "\\|")
    counts = f"{run.num_rows} | {run.num_examples} | {reasons or '-'}"
    return f"| `{run.task}` | {run.dataset} | {run.split} | {counts} |"
