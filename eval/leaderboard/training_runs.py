"""What the training run behind an evaluated adapter says about its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.leaderboard.board import Run
from pipeline.files import read_json

DATA_REPORT_NAME = "data_report.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingRun:
    """A training run's data, as its folder tells."""

    folder: Path
    tasks: tuple[str, ...]
    """Ids of the tasks trained on."""
    overlap: Mapping[str, Any]
    """Training rows that repeat evaluated rows; empty where nobody looked."""
    num_steps: int | None = None
    num_tokens: int | None = None
    """Tokens of all steps, prompts included."""


def find_run_folder(run: Run, name: str) -> Path | None:
    """Return the folder of the training run that holds an adapter's evaluation.

    Looked for is a file `name` in the folder of the evaluation and the two above it.
    """
    if run.folder is None or run.kind != "adapter":
        return None
    folder = run.folder.resolve()
    return next((p for p in (folder, *folder.parents[:2]) if (p / name).is_file()), None)


def find_training_run(run: Run) -> TrainingRun | None:
    """Return the training run behind an adapter; `None` where it left no readable report."""
    folder = find_run_folder(run, DATA_REPORT_NAME)
    if folder is None:
        return None
    try:
        report = read_json(folder / DATA_REPORT_NAME)
    except (OSError, ValueError):
        return None
    if not isinstance(report, dict):
        return None
    tasks = report.get("tasks")
    overlap = report.get("overlap")
    return TrainingRun(
        folder=folder,
        tasks=tuple(
            str(item["task"])
            for item in (tasks if isinstance(tasks, list) else [])
            if isinstance(item, dict) and "task" in item
        ),
        overlap=overlap if isinstance(overlap, dict) else {},
        num_steps=_count(report.get("num_steps")),
        num_tokens=_count(report.get("num_tokens")),
    )


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
