"""`taskloom check --online`: annotations on real rows, and what became of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.progress import track

from pipeline.cli.shared import Settings, stderr, stdout
from pipeline.errors import SourceError

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.examples.real_rows import SplitRun


def run_online(
    annotations: list[DatasetAnnotation], settings: Settings, *, is_writing: bool
) -> bool:
    """Run annotations on their rows, and tell rows in, examples out and reasons.

    Args:
        annotations: One per file.
        settings: Where the mirror is.
        is_writing: Whether files whose splits all ran get `verified: rows`.

    Returns:
        Whether every split of every annotation ran.

    Raises:
        SourceError: The data root is no folder, or holds generated rows and files are to be
            written.
    """
    from pipeline.examples.real_rows import run_on_rows
    from pipeline.examples.verify import mark_verified
    from pipeline.sources.data_root import EMBEDDED, resolve_data_root

    if is_writing and str(settings.data_root) == EMBEDDED:
        raise SourceError(
            "CLI013",
            "generated rows verify nothing",
            where="--write",
            hint="Give a mirror of the public data with --data-root, or none to use the hub",
        )
    data_root = resolve_data_root(settings.data_root)
    num_run = num_changed = 0
    for annotation in track(annotations, "running", console=stderr, transient=True):
        runs = [
            run for task in annotation.expanded() for run in run_on_rows(task, data_root=data_root)
        ]
        for run in runs:
            _tell(run)
        if any(run.error is not None for run in runs):
            continue
        num_run += 1
        if is_writing and annotation.path is not None and mark_verified(annotation.path):
            num_changed += 1
            stdout.print(f"{annotation.path}: verified: rows", markup=False, soft_wrap=True)
    changed = f", {num_changed} files changed" if is_writing else ""
    stderr.print(f"{num_run} of {len(annotations)} annotations ran on all their rows{changed}")
    return num_run == len(annotations)


def _tell(run: SplitRun) -> None:
    head = f"{run.task} {run.split}"
    if run.error is not None:
        stderr.print(f"{head}: {run.error}", markup=False, soft_wrap=True)
        return
    reasons = ", ".join(f"{count} {reason}" for reason, count in run.skipped.items())
    counts = f"{run.num_rows} rows -> {run.num_examples} examples"
    skipped = f"; left out: {reasons}" if reasons else ""
    stdout.print(f"{head}: {counts}{skipped}", markup=False, soft_wrap=True)
