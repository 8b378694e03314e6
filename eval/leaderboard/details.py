"""What stands behind one column: rows side by side, paired differences, confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from eval.answers import answer_type
from eval.compare import compare_rows
from eval.leaderboard.board import Column, Leaderboard, Run
from eval.metrics import METRICS
from eval.results import read_samples_by_task, spec_from_results
from eval.statistics import Comparison
from pipeline.types import TaskSpec

NUM_SHOWN_ROWS = 8
"""Rows of a task that are shown in full."""

MAX_CONFUSION_LABELS = 12
UNPARSED = "(unparsable)"


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownAnswer:
    """One run's answer to one row."""

    output: str
    score: float
    """Row value of the headline metric."""
    failure: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownRow:
    """One row with the answers of all runs."""

    key: str
    prompt: str
    target: Any
    answers: tuple[ShownAnswer | None, ...]
    """In the order of `TaskDetails.runs`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confusion:
    """How often each label was answered where each label was right."""

    labels: tuple[str, ...]
    """Targets; answers have one column more, `UNPARSED`, where any answer was."""
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    """One row per target, one entry per column."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDetails:
    """What the page shows below a task's name."""

    column: Column
    spec: TaskSpec
    runs: tuple[Run, ...]
    """Runs that answered rows of this task."""
    rows: tuple[ShownRow, ...]
    differences: Mapping[str, Comparison]
    """Run name -> that run minus the base model of the same weights' family, on the same rows."""
    confusions: Mapping[str, Confusion]
    """By run name."""


def build_details(board: Leaderboard) -> list[TaskDetails]:
    """Return the details of every task of the leaderboard.

    Raises:
        EvalError: A run's samples are missing or damaged (EVL022, EVL023, EVL025).
    """
    runs = [run for run in board.runs if run.folder is not None]
    samples = {
        run.name: read_samples_by_task(run.folder, run.entries)
        for run in runs
        if run.folder is not None
    }
    return [_task_details(column, runs, samples) for column in board.columns]


def _task_details(
    column: Column,
    all_runs: Sequence[Run],
    samples: Mapping[str, Mapping[str, list[dict[str, Any]]]],
) -> TaskDetails:
    spec = spec_from_results(column.task, column.entry)
    runs = tuple(run for run in all_runs if column.task in samples[run.name])
    rows = {run.name: samples[run.name][column.task] for run in runs}
    return TaskDetails(
        column=column,
        spec=spec,
        runs=runs,
        rows=tuple(_shown_rows(column, runs, rows)),
        differences=_differences(column, spec, runs, rows),
        confusions={
            run.name: confusion
            for run in runs
            if (confusion := _confusion(spec, rows[run.name])) is not None
        },
    )


def _shown_rows(
    column: Column, runs: Sequence[Run], rows: Mapping[str, list[dict[str, Any]]]
) -> list[ShownRow]:
    """Return rows of all degrees of rightness by the last run, evenly picked."""
    if not runs:
        return []
    last = sorted(rows[runs[-1].name], key=lambda row: -float(row["score"].get(column.metric, 0.0)))
    count = min(NUM_SHOWN_ROWS, len(last))
    picked = [last[(2 * place + 1) * len(last) // (2 * count)] for place in range(count)]
    by_key = [{row["key"]: row for row in rows[run.name]} for run in runs]
    return [
        ShownRow(
            key=row["key"],
            prompt=row["prompt"],
            target=row["target"],
            answers=tuple(_shown_answer(known.get(row["key"]), column) for known in by_key),
        )
        for row in picked
    ]


def _shown_answer(row: Mapping[str, Any] | None, column: Column) -> ShownAnswer | None:
    if row is None:
        return None
    return ShownAnswer(
        output=row["output"],
        score=float(row["score"].get(column.metric, 0.0)),
        failure=row["failure"],
    )


def _differences(
    column: Column,
    spec: TaskSpec,
    runs: Sequence[Run],
    rows: Mapping[str, list[dict[str, Any]]],
) -> dict[str, Comparison]:
    """Return each other run minus the first base model, where both answered the same rows."""
    base = next((run for run in runs if run.kind == "base"), None)
    metric = METRICS.get(column.metric)
    if base is None or metric is None:
        return {}
    found = {}
    for run in runs:
        same_rows = (
            run.entries[column.task]["data_sha256"] == base.entries[column.task]["data_sha256"]
        )
        if run is not base and same_rows:
            part = (rows[base.name], rows[run.name])
            found[run.name] = compare_rows(metric, part, spec).comparison
    return found


def _confusion(spec: TaskSpec, rows: Sequence[Mapping[str, Any]]) -> Confusion | None:
    labels = spec.labels or ()
    if answer_type(spec) != "label" or not 2 <= len(labels) <= MAX_CONFUSION_LABELS:
        return None
    counts = Counter(
        (row["target"], UNPARSED if row["parsed"] is None else row["parsed"]) for row in rows
    )
    has_unparsed = any(answer == UNPARSED for _, answer in counts)
    columns = (*labels, UNPARSED) if has_unparsed else tuple(labels)
    return Confusion(
        labels=tuple(labels),
        columns=columns,
        counts=tuple(tuple(counts[target, answer] for answer in columns) for target in labels),
    )
