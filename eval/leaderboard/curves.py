"""Learning curves: the loss of each task over the steps of a training run."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.leaderboard.board import Run
from eval.leaderboard.training_runs import find_run_folder

METRICS_NAME = "metrics.jsonl"
MAX_POINTS = 160
_PREFIXES = {"task_loss/": "train", "eval_loss/": "validation"}

Points = tuple[tuple[float, float], ...]
"""(step, loss in nats per answer token)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """One task's losses in one training run."""

    task: str
    train: Points
    validation: Points


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCurves:
    """All tasks of one training run."""

    name: str
    """Name of the run's folder."""
    curves: tuple[Curve, ...]


def find_curves(runs: Sequence[Run]) -> list[TrainingCurves]:
    """Return the curves of the training runs whose folders hold the evaluations.

    Looked for is `metrics.jsonl` in the folder of an evaluation and the two above it.
    """
    files: dict[Path, str] = {}
    for run in runs:
        folder = find_run_folder(run, METRICS_NAME)
        if folder is not None:
            files.setdefault(folder / METRICS_NAME, folder.name)
    found = [TrainingCurves(name=name, curves=_read_curves(path)) for path, name in files.items()]
    return [item for item in found if item.curves]


def _read_curves(path: Path) -> tuple[Curve, ...]:
    """Return the curves in a log; damaged lines are left out, the log is only for show."""
    series: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
            step = float(record["step"])
        except (ValueError, KeyError, TypeError):
            continue
        for name, value in record.items():
            prefix = next((start for start in _PREFIXES if name.startswith(start)), None)
            if prefix is None or not isinstance(value, int | float) or not math.isfinite(value):
                continue
            task = series.setdefault(name.removeprefix(prefix), {"train": [], "validation": []})
            task[_PREFIXES[prefix]].append((step, float(value)))
    return tuple(
        Curve(
            task=task,
            train=_thinned(points["train"]),
            validation=_thinned(points["validation"]),
        )
        for task, points in series.items()
    )


def _thinned(points: list[tuple[float, float]]) -> Points:
    """Return at most `MAX_POINTS` points, each the mean of its neighbours."""
    size = math.ceil(len(points) / MAX_POINTS) or 1
    blocks = [points[start : start + size] for start in range(0, len(points), size)]
    return tuple((block[-1][0], sum(value for _, value in block) / len(block)) for block in blocks)
