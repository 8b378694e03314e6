"""Edges between two adapters: the scores of their averages, from one end to the other."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.leaderboard.board import Run
from pipeline.types import Json

EDGE_NAME = "edge.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """Scores of `(1 - w) first + w second`."""

    first: str
    second: str
    weights: tuple[float, ...]
    """w of each point, rising from 0 to 1."""
    scores: Mapping[str, tuple[float, ...]]
    """Task -> score at each point; the first task is that of `first`, the last that of `second`."""

    def monotone_share(self) -> float:
        """Return how often a step towards an adapter does not lower the score of its task."""
        tasks = list(self.scores.values())
        first = [now <= before for before, now in zip(tasks[0], tasks[0][1:], strict=False)]
        second = [now >= before for before, now in zip(tasks[-1], tasks[-1][1:], strict=False)]
        return sum(first + second) / len(first + second)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON."""
        return {
            "schema_version": 1,
            "first": self.first,
            "second": self.second,
            "weights": [*self.weights],
            "scores": {task: [*values] for task, values in self.scores.items()},
            "monotone_share": self.monotone_share(),
        }


def find_edges(runs: Sequence[Run]) -> list[Edge]:
    """Return the edges that evaluations are points of; damaged files are left out.

    Looked for is `edge.json` in the three folders above an evaluation.
    """
    folders = [run.folder.resolve() for run in runs if run.folder is not None]
    paths = {parent / EDGE_NAME: None for folder in folders for parent in folder.parents[:3]}
    return [edge for path in paths if (edge := _read(path)) is not None]


def _read(path: Path) -> Edge | None:
    try:
        value = json.loads(path.read_bytes())
        weights = tuple(float(each) for each in value["weights"])
        scores = {
            str(task): tuple(float(each) for each in values)
            for task, values in value["scores"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    lengths = {len(values) for values in scores.values()}
    numbers = [*weights, *(each for values in scores.values() for each in values)]
    if lengths != {len(weights)} or len(weights) < 2 or not all(map(math.isfinite, numbers)):
        return None
    return Edge(
        first=str(value.get("first")),
        second=str(value.get("second")),
        weights=weights,
        scores=scores,
    )
