"""How the experts of a trained adapter were used, as the folder of its run tells."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.leaderboard.board import Run
from eval.leaderboard.training_runs import find_run_folder

ROUTING_NAME = "routing.json"
EVALUATED_ROUTING_NAME = "evaluated_routing.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutedLayer:
    """One layer's router."""

    name: str
    num_active: int
    num_shared_ranks: int
    """Ranks that every token uses beside the experts."""
    num_private_experts: int
    """The last ones, kept for groups of tasks."""
    violation: float
    """Largest load over the mean, minus 1."""
    entropy: tuple[float, ...]
    """Of each task's load over experts, in nats."""
    by_task: tuple[tuple[float, ...], ...]
    """Load of each expert by each task."""

    @property
    def num_experts(self) -> int:
        """Experts of the layer."""
        return len(self.by_task[0])

    @property
    def num_idle(self) -> int:
        """Experts that no task used."""
        return sum(not any(column) for column in zip(*self.by_task, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingFlag:
    """A fault of experts."""

    fault: str
    layer: str
    experts: tuple[int, ...]
    task: str
    """Empty where it is about no task."""
    value: float
    threshold: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingReport:
    """The routers of one training run, on its own rows or on evaluated ones."""

    name: str
    """Name of the run's folder."""
    is_evaluation: bool
    num_steps: int
    tasks: tuple[str, ...]
    layers: tuple[RoutedLayer, ...]
    flags: tuple[RoutingFlag, ...]


def find_routing(runs: Sequence[Run]) -> list[RoutingReport]:
    """Return the reports of evaluations, behind those of the training runs that hold them.

    A damaged report is left out: it is only for show.
    """
    names: dict[Path, str] = {}
    for run in runs:
        folder = find_run_folder(run, ROUTING_NAME)
        name = run.name if folder is None else folder.name
        if folder is not None:
            names.setdefault(folder / ROUTING_NAME, name)
        if run.folder is not None:
            names.setdefault(run.folder / EVALUATED_ROUTING_NAME, name)
    found = (_read(path, name) for path, name in names.items())
    return [report for report in found if report is not None and report.layers]


def _read(path: Path, name: str) -> RoutingReport | None:
    try:
        value = json.loads(path.read_bytes())
        tasks = tuple(str(task) for task in value["tasks"])
        return RoutingReport(
            name=name,
            is_evaluation=path.name == EVALUATED_ROUTING_NAME,
            num_steps=int(value["num_steps"]),
            tasks=tasks,
            layers=tuple(_layer(item, len(tasks)) for item in value["layers"]),
            flags=tuple(_flag(item) for item in value["flags"]),
        )
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _layer(item: dict[str, Any], num_tasks: int) -> RoutedLayer:
    # The last row of the tables holds tokens without a task.
    rows = tuple(tuple(_number(value) for value in row) for row in item["by_task"][:num_tasks])
    entropy = tuple(_number(value) for value in item["entropy"][:num_tasks])
    widths = {len(row) for row in rows}
    if len(rows) != num_tasks or len(entropy) != num_tasks or len(widths) != 1 or 0 in widths:
        raise ValueError("the table does not fit the tasks")
    return RoutedLayer(
        name=str(item["layer"]),
        num_active=int(item["num_active"]),
        num_shared_ranks=int(item["num_shared_ranks"]),
        num_private_experts=int(item["num_private_experts"]),
        violation=_number(item["violation"]),
        entropy=entropy,
        by_task=rows,
    )


def _flag(item: dict[str, Any]) -> RoutingFlag:
    return RoutingFlag(
        fault=str(item["fault"]),
        layer=str(item["layer"]),
        experts=tuple(int(expert) for expert in item["experts"]),
        task=str(item["task"] or ""),
        value=_number(item["value"]),
        threshold=_number(item["threshold"]),
    )


def _number(value: Any) -> float:  # noqa: ANN401 - of a foreign file
    number = float(value)
    if not math.isfinite(number) or number < 0:
        raise ValueError("not a count")
    return number
