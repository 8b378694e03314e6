"""Two evaluations of the same rows, task by task, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.metrics import METRICS
from eval.results import read_results, read_samples, spec_from_results
from eval.statistics import Comparison, compare
from pipeline.errors import EvalError
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """One task of two runs."""

    task: str
    metric: str
    higher_is_better: bool
    comparison: Comparison

    def has_dropped(self, tolerance: float) -> bool:
        """Return whether the second run is worse by more than `tolerance`.

        The whole interval must lie on the worse side: chance alone does not fail a gate.
        """
        sign = 1.0 if self.higher_is_better else -1.0
        worst_case = max(sign * self.comparison.low, sign * self.comparison.high)
        return sign * self.comparison.difference < -tolerance and worst_case < 0.0


def compare_runs(first: Path, second: Path, *, seed: int = 0) -> list[TaskComparison]:
    """Compare the headline metrics of the tasks that two runs share.

    Args:
        first: Output folder of the run to compare with.
        second: Output folder of the run that is judged.
        seed: Of the bootstrap.

    Raises:
        EvalError: A folder is no finished evaluation (EVL020 to EVL023), the runs share no task
            (EVL050), or answered different rows of one (EVL051).
    """
    tasks = [read_results(folder)["tasks"] for folder in (first, second)]
    shared = [task for task in tasks[0] if task in tasks[1]]
    if not shared:
        raise EvalError(
            "EVL050",
            f"no task in common: {_listed(tasks[0])} and {_listed(tasks[1])}",
            where=f"{first}, {second}",
        )
    for task in shared:
        if tasks[0][task]["data_sha256"] != tasks[1][task]["data_sha256"]:
            raise EvalError(
                "EVL051",
                "the two runs answered different rows of this task",
                where=task,
                hint="Evaluate both with the same data, split, max_rows and seed",
            )
    samples = [_pairs_by_task(folder) for folder in (first, second)]
    found = []
    for task in shared:
        spec = spec_from_results(task, tasks[0][task])
        metric = METRICS[tasks[0][task]["headline"]]
        pairs = [part[task] for part in samples]
        found.append(
            TaskComparison(
                task=task,
                metric=metric.name,
                higher_is_better=metric.higher_is_better,
                comparison=compare(metric, pairs[0], pairs[1], spec, seed=seed),
            )
        )
    return found


def _listed(tasks: Mapping[str, Any]) -> str:
    return ", ".join(list(tasks)[:3])


def _pairs_by_task(folder: Path) -> dict[str, list[tuple[Json, Json]]]:
    pairs: dict[str, list[tuple[Json, Json]]] = {}
    for row in read_samples(folder):
        pairs.setdefault(row["task"], []).append((row["parsed"], row["target"]))
    return pairs
