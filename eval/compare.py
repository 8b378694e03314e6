"""Two evaluations of the same rows, task by task and as a mean, with paired intervals."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eval.metrics import METRICS, Metric
from eval.metrics.metric import FloatArray
from eval.results import clusters_of, read_results, read_samples_by_task, spec_from_results
from eval.statistics import Comparison, PairedDraws, compare_means, paired_draws_of_features
from pipeline.errors import EvalError
from pipeline.types import Json, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskComparison:
    """One task of two runs."""

    task: str
    metric: str
    higher_is_better: bool
    comparison: Comparison

    @property
    def gain(self) -> float:
        """Return by how much the second run is better; negative where it is worse."""
        difference = self.comparison.difference
        return difference if self.higher_is_better else -difference

    @property
    def is_beyond_chance(self) -> bool:
        """Return whether interval and p-value both say that the runs differ."""
        return self.comparison.is_beyond_chance

    def has_dropped(self, tolerance: float, *, beyond_chance: bool = False) -> bool:
        """Return whether the second run is worse by more than `tolerance`.

        Args:
            tolerance: Drop that is allowed, in the metric's own unit.
            beyond_chance: Count only drops that are beyond chance.
        """
        return self.gain < -tolerance and (self.is_beyond_chance or not beyond_chance)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunComparison:
    """Two runs on the tasks they share."""

    first: str
    """Name of the run to compare with."""
    second: str
    tasks: tuple[TaskComparison, ...]
    macro: Comparison | None
    """Of the unweighted mean over the shared tasks; `None` where no metric can be averaged."""
    only_first: tuple[str, ...]
    """Tasks that the second run lacks."""
    only_second: tuple[str, ...]

    @property
    def worst(self) -> TaskComparison:
        """Return the task with the smallest gain."""
        return min(self.tasks, key=lambda item: item.gain)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON."""
        return {
            "schema_version": 1,
            "first": self.first,
            "second": self.second,
            "macro": None if self.macro is None else asdict(self.macro),
            "macro_tasks": [item.task for item in self.tasks if item.higher_is_better],
            "worst_task": self.worst.task,
            "tasks": {
                item.task: {
                    "metric": item.metric,
                    "higher_is_better": item.higher_is_better,
                    "gain": item.gain,
                    "is_beyond_chance": item.is_beyond_chance,
                    **asdict(item.comparison),
                }
                for item in self.tasks
            },
            "only_first": [*self.only_first],
            "only_second": [*self.only_second],
        }


def compare_task(
    task: str,
    entries: tuple[Mapping[str, Any], Mapping[str, Any]],
    rows: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
    *,
    seed: int,
) -> tuple[TaskComparison, PairedDraws]:
    """Compare the headline metric of one task.

    Args:
        task: Its id.
        entries: What the results of the first and the second run say of it.
        rows: Their samples.
        seed: Of the bootstrap.

    Raises:
        EvalError: They answered different rows (EVL051).
    """
    _check_same_rows(task, *entries)
    metric = METRICS[entries[0]["headline"]]
    draws = compare_rows(metric, rows, spec_from_results(task, entries[0]), seed=seed)
    compared = TaskComparison(
        task=task,
        metric=metric.name,
        higher_is_better=metric.higher_is_better,
        comparison=draws.comparison,
    )
    return compared, draws


def compare_runs(first: Path, second: Path, *, seed: int = 0) -> RunComparison:
    """Compare the headline metrics of the tasks that two runs share.

    Args:
        first: Output folder of the run to compare with.
        second: Output folder of the run that is judged.
        seed: Of the bootstrap.

    Raises:
        EvalError: A folder is no finished evaluation (EVL020 to EVL025), the runs share no task
            (EVL050), or answered different rows of one (EVL051).
    """
    results = [read_results(folder) for folder in (first, second)]
    tasks = [part["tasks"] for part in results]
    shared = [task for task in tasks[0] if task in tasks[1]]
    if not shared:
        raise EvalError(
            "EVL050",
            f"no task in common: {_listed(tasks[0])} and {_listed(tasks[1])}",
            where=f"{first}, {second}",
        )
    samples = [
        read_samples_by_task(folder, part)
        for folder, part in zip((first, second), tasks, strict=True)
    ]
    found: list[TaskComparison] = []
    averaged: dict[str, PairedDraws] = {}
    for task in shared:
        compared, draws = compare_task(
            task,
            (tasks[0][task], tasks[1][task]),
            (samples[0][task], samples[1][task]),
            seed=seed,
        )
        found.append(compared)
        if compared.higher_is_better:
            averaged[task] = draws
    return RunComparison(
        first=str(results[0].get("name") or first.name),
        second=str(results[1].get("name") or second.name),
        tasks=tuple(found),
        macro=compare_mean_of_tasks(averaged),
        only_first=tuple(task for task in tasks[0] if task not in tasks[1]),
        only_second=tuple(task for task in tasks[1] if task not in tasks[0]),
    )


def compare_mean_of_tasks(draws: Mapping[str, PairedDraws]) -> Comparison | None:
    """Compare the unweighted mean over tasks; their order changes nothing, also not by rounding.

    Args:
        draws: By task; `None` is returned where there is no task.
    """
    return compare_means([draws[task] for task in sorted(draws)]) if draws else None


def compare_rows(
    metric: Metric,
    rows: tuple[Sequence[Mapping[str, Any]], Sequence[Mapping[str, Any]]],
    spec: TaskSpec,
    *,
    seed: int = 0,
) -> PairedDraws:
    """Compare the samples of two runs on one task.

    The bootstrap depends on the task and the seed alone, so that one pair of runs has one interval,
    whichever command asks for it and whatever stands beside the task.

    Args:
        metric: What is compared.
        rows: Rows of `samples.jsonl` of the first and the second run, in the same order.
        spec: The task.
        seed: Of the bootstrap.

    Raises:
        EvalError: They are not answers to the same rows (EVL051).
    """
    keys = [[(row["key"], row["target"]) for row in part] for part in rows]
    if keys[0] != keys[1]:
        raise _different_rows(spec.id)
    features = (_row_features(metric, rows[0], spec), _row_features(metric, rows[1], spec))
    return paired_draws_of_features(
        metric, features, seed=_task_seed(spec.id, seed), clusters_N=clusters_of(rows[0])
    )


def _task_seed(task: str, seed: int) -> int:
    """Return the seed of one task: tasks count as independent, so each draws its own rows."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{task}".encode()).digest()[:8])


def _row_features(metric: Metric, rows: Sequence[Mapping[str, Any]], spec: TaskSpec) -> FloatArray:
    if metric.is_mean and all(metric.name in row.get("score", {}) for row in rows):
        return np.asarray([[row["score"][metric.name]] for row in rows], dtype=np.float64)
    return metric.row_features([(row["parsed"], row["target"]) for row in rows], spec)


def _check_same_rows(task: str, first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    if first["data_sha256"] != second["data_sha256"]:
        raise _different_rows(task)


def _different_rows(task: str) -> EvalError:
    return EvalError(
        "EVL051",
        "the two runs answered different rows of this task",
        where=task,
        hint="Evaluate both with the same data, split, max_rows and seed",
    )


def _listed(tasks: Mapping[str, Any]) -> str:
    return ", ".join(list(tasks)[:3])
