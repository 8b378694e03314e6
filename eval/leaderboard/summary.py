"""Each run in a few numbers: its worst task, and its means by what it was trained on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from eval.leaderboard.board import Cell, Column, Leaderboard, Run
from eval.leaderboard.training_runs import find_training_run
from pipeline.types import Json

PARTS = ("seen", "related", "held_out")
"""`seen`: tasks of the training mixture; `related`: other tasks of a data set in the mixture;
`held_out`: tasks of data sets that the mixture has nothing of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeanOverTasks:
    """An unweighted mean over some of the tasks."""

    num_tasks: int
    value: float
    standard_error: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """One run."""

    run: str
    worst_task: str
    """Task with the lowest value, among those where more is better."""
    worst: Cell
    parts: dict[str, MeanOverTasks]
    """By name in `PARTS`, those that have tasks; empty where the training data is not known."""

    def to_json(self) -> dict[str, Json]:
        """Return the summary as JSON."""
        return {
            "worst_task": {"task": self.worst_task, "value": self.worst.value},
            "parts": {
                name: {
                    "num_tasks": part.num_tasks,
                    "value": part.value,
                    "standard_error": part.standard_error,
                }
                for name, part in self.parts.items()
            },
        }


def build_summaries(board: Leaderboard) -> list[Summary]:
    """Return a summary of every run that answered a task where more is better."""
    trained = [set(found.tasks) for run in board.runs if (found := find_training_run(run))]
    # Of one training run, its base model is judged on the same parts.
    common = trained[0] if trained and all(tasks == trained[0] for tasks in trained) else None
    summaries = []
    for run in board.runs:
        columns = [
            column
            for column in board.columns
            if column.higher_is_better and column.task in run.cells
        ]
        if not columns:
            continue
        worst = min(columns, key=lambda column: run.cells[column.task].value)
        own = find_training_run(run)
        tasks = set(own.tasks) if own is not None else common
        summaries.append(
            Summary(
                run=run.name,
                worst_task=worst.task,
                worst=run.cells[worst.task],
                parts={} if tasks is None else _parts(run, columns, tasks),
            )
        )
    return summaries


def _parts(run: Run, columns: Sequence[Column], trained: set[str]) -> dict[str, MeanOverTasks]:
    sources = {_dataset(column) for column in columns if column.task in trained}
    by_part: dict[str, list[Cell]] = {name: [] for name in PARTS}
    for column in columns:
        if column.task in trained:
            part = "seen"
        else:
            part = "related" if _dataset(column) in sources else "held_out"
        by_part[part].append(run.cells[column.task])
    return {name: _mean(cells) for name, cells in by_part.items() if cells}


def _dataset(column: Column) -> str:
    """Return the data set of a task; the task itself where its source is not told."""
    return column.source.partition("@")[0] or column.task


def _mean(cells: Sequence[Cell]) -> MeanOverTasks:
    return MeanOverTasks(
        num_tasks=len(cells),
        value=sum(cell.value for cell in cells) / len(cells),
        standard_error=math.sqrt(sum(cell.standard_error**2 for cell in cells)) / len(cells),
    )
