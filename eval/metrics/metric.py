"""What a metric is: a value per row, and a value of many rows.

The value of many rows is a function of *how often each row counts*. One row each gives the
metric itself; multinomial counts give a bootstrap sample. So every metric, also one that is no
mean (F1 over all entities, a correlation), has an error bar without being written twice.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from eval.answers import AnswerType
from pipeline.types import Json, TaskSpec

FloatArray = npt.NDArray[np.float64]

Pairs = Sequence[tuple[Json, Json]]
"""(parsed answer, or `None` where parsing failed; target), one per row."""

RowFunction = Callable[[Json, Json, TaskSpec], float]
FeatureFunction = Callable[[Pairs, TaskSpec], FloatArray]
ValueFunction = Callable[[FloatArray, FloatArray], FloatArray]
FailureFunction = Callable[[Json, TaskSpec], float]


def _zero(_target: Json, _spec: TaskSpec) -> float:
    return 0.0


def weighted_mean(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return the mean of the first feature under each row of counts, shape `[B]`."""
    mean_B: FloatArray = counts_BU @ features_UK[:, 0] / counts_BU.sum(axis=1)
    return mean_B


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One way to score answers, by name in `METRICS`."""

    name: str
    needs: tuple[AnswerType, ...]
    """Answer shapes it can score."""
    row: RowFunction
    """(parsed, target, spec) -> value of one row. For metrics that are no mean of rows, the
    nearest thing that says how right this row is; it is shown beside the row only."""
    features: FeatureFunction | None = None
    """What `value` must know of each row, shape `[N, K]`; `None`: the row value itself."""
    value: ValueFunction = weighted_mean
    """(features `[U, K]`, counts `[B, U]`) -> metric under each row of counts, shape `[B]`."""
    failure: FailureFunction = _zero
    """(target, spec) -> row value of an answer that could not be parsed: the worst there is."""
    higher_is_better: bool = True
    needs_settings: tuple[str, ...] = ()
    """Settings of the task without which some answers have no value."""
    of_text: bool = False
    """Whether it scores what the model wrote, parsed or not, where that is known."""

    @property
    def is_mean(self) -> bool:
        """Return whether the metric is the mean of its row values."""
        return self.features is None

    def row_value(self, parsed: Json, target: Json, spec: TaskSpec) -> float:
        """Return the value of one row; `parsed` is `None` where parsing failed."""
        if parsed is None:
            return self.failure(target, spec)
        return float(self.row(parsed, target, spec))

    def row_features(self, pairs: Pairs, spec: TaskSpec) -> FloatArray:
        """Return what `value` must know of each row, shape `[N, K]`."""
        if self.features is not None:
            return self.features(pairs, spec)
        values = [self.row_value(parsed, target, spec) for parsed, target in pairs]
        return np.asarray(values, dtype=np.float64).reshape(-1, 1)

    def corpus(self, pairs: Pairs, spec: TaskSpec) -> float:
        """Return the metric over all rows.

        Raises:
            ValueError: There are no rows.
        """
        if not pairs:
            raise ValueError(f"{self.name} needs at least one row")
        return self.of_features(self.row_features(pairs, spec))

    def of_features(self, features_NK: FloatArray) -> float:
        """Return the metric over rows of which `row_features` is known."""
        if self.features is None:
            return float(np.mean(features_NK[:, 0]))
        return float(self.value(features_NK, np.ones((1, len(features_NK))))[0])


def ratio(numerator: FloatArray, denominator: FloatArray, *, empty: float) -> FloatArray:
    """Return `numerator / denominator`, and `empty` where the denominator is 0."""
    safe = np.where(denominator == 0, 1.0, denominator)
    return cast("FloatArray", np.where(denominator == 0, empty, numerator / safe))


def f1_of_sums(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return micro F1 from the columns (hits, predicted, gold); 1 where nothing was to find."""
    sums_BK = counts_BU @ features_UK
    return ratio(2 * sums_BK[:, 0], sums_BK[:, 1] + sums_BK[:, 2], empty=1.0)


def precision_of_sums(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return micro precision from the columns (hits, predicted, gold)."""
    sums_BK = counts_BU @ features_UK
    nothing_to_find = (sums_BK[:, 2] == 0).astype(np.float64)
    return ratio(sums_BK[:, 0], sums_BK[:, 1], empty=0.0) + nothing_to_find * (sums_BK[:, 1] == 0)


def recall_of_sums(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return micro recall from the columns (hits, predicted, gold)."""
    sums_BK = counts_BU @ features_UK
    return ratio(sums_BK[:, 0], sums_BK[:, 2], empty=1.0)


def f1_of_counts(num_hits: int, num_predicted: int, num_gold: int) -> float:
    """Return F1 of one row; 1 where nothing was to find and nothing was found."""
    total = num_predicted + num_gold
    return 2 * num_hits / total if total else 1.0
