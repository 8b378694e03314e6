"""Scores of a model that learns in stages: what it keeps, what it loses, what helps what comes.

`R[i, j]` is the score on the tasks of stage j after stage i, `b[j]` that of the base. Sources:
GEM (arXiv:1706.08840) for ACC, BWT and FWT, arXiv:1801.10112 for forgetting.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinualScores:
    """The whole matrix of scores, at least two stages."""

    stages: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    """`R[i][j]`: after stage i, on the tasks of stage j."""
    base: tuple[float, ...]
    """`b[j]`: before any training."""
    joint: tuple[float, ...] | None = None
    """Of a model trained on all stages at once."""

    @property
    def num_stages(self) -> int:
        """Number of stages T."""
        return len(self.stages)

    @property
    def accuracy(self) -> float:
        """ACC: mean over stages at the end, `1/T sum_j R[T, j]`."""
        return statistics.fmean(self.matrix[-1])

    @property
    def backward_transfer(self) -> float:
        """BWT: mean change since a stage was learned, `1/(T-1) sum_{j<T} R[T, j] - R[j, j]`."""
        return statistics.fmean(
            self.matrix[-1][j] - self.matrix[j][j] for j in range(self.num_stages - 1)
        )

    @property
    def forward_transfer(self) -> float:
        """FWT: mean gain before a stage is learned, `1/(T-1) sum_{j>1} R[j-1, j] - b[j]`."""
        return statistics.fmean(
            self.matrix[j - 1][j] - self.base[j] for j in range(1, self.num_stages)
        )

    @property
    def forgetting(self) -> float:
        """Mean loss since the best, `1/(T-1) sum_{j<T} max_{j<=l<T} R[l, j] - R[T, j]`."""
        last = self.num_stages - 1
        return statistics.fmean(
            max(self.matrix[i][j] for i in range(j, last)) - self.matrix[-1][j] for j in range(last)
        )

    @property
    def learning_accuracy(self) -> float:
        """Mean right after learning, `1/T sum_j R[j, j]`."""
        return statistics.fmean(self.matrix[j][j] for j in range(self.num_stages))

    @property
    def worst_drop(self) -> float:
        """Largest loss of a stage since it was learned, 0 where none lost."""
        drops = [self.matrix[j][j] - self.matrix[-1][j] for j in range(self.num_stages - 1)]
        return max(0.0, *drops)

    def means(self) -> dict[str, float]:
        """Return the summary numbers by name."""
        return {
            "accuracy": self.accuracy,
            "backward_transfer": self.backward_transfer,
            "forward_transfer": self.forward_transfer,
            "forgetting": self.forgetting,
            "learning_accuracy": self.learning_accuracy,
            "worst_drop": self.worst_drop,
        }

    def to_json(self) -> dict[str, Json]:
        """Return matrix, references and means."""
        return {
            "schema_version": 1,
            "stages": [*self.stages],
            "matrix": [[*row] for row in self.matrix],
            "base": [*self.base],
            "joint": None if self.joint is None else [*self.joint],
            "means": dict(self.means()),
        }


def stage_means(scores: Mapping[str, float], stages: Sequence[Sequence[str]]) -> tuple[float, ...]:
    """Return the mean score of each stage's tasks."""
    return tuple(statistics.fmean(scores[task] for task in tasks) for tasks in stages)
