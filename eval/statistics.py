"""How sure a number is: standard errors, and paired comparison of two systems.

Rows are drawn again with replacement (bootstrap). A draw is only *how often* each row counts, and
rows with the same features are one, so that many draws of many rows cost little.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.metrics.metric import FloatArray, Metric, Pairs, weighted_mean
from pipeline.types import TaskSpec

NUM_DRAWS = 1000
"""Bootstrap draws: the standard error itself is then sure to about 2 %."""

MIN_DRAWS = 200
"""Draws where there are very many distinct rows: sure to about 5 %."""

_MAX_CELLS = 20_000_000
"""Counts drawn in all, where `MIN_DRAWS` allows it."""

_BLOCK_CELLS = 2_000_000
"""Counts drawn at once (16 MB)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Second system minus first system, on the same rows."""

    first: float
    second: float
    difference: float
    low: float
    """Lower end of the interval of the difference."""
    high: float
    p_value: float
    """Two-sided: how often a difference this far from 0 comes out of rows alone."""
    num_rows: int


def standard_error(metric: Metric, pairs: Pairs, spec: TaskSpec, *, seed: int = 0) -> float:
    """Return the standard error of `metric.corpus(pairs, spec)`.

    Means have the usual formula; everything else is bootstrapped with a fixed seed.

    Raises:
        ValueError: There are no rows.
    """
    return standard_error_of_features(metric, metric.row_features(pairs, spec), seed=seed)


def standard_error_of_features(metric: Metric, features_NK: FloatArray, *, seed: int = 0) -> float:
    """Return the standard error from what the metric must know of each row, shape `[N, K]`.

    Raises:
        ValueError: There are no rows.
    """
    num_rows = len(features_NK)
    if num_rows == 0:
        raise ValueError(f"{metric.name} needs at least one row")
    if num_rows == 1:
        return 0.0
    if metric.is_mean:
        return float(features_NK[:, 0].std(ddof=1) / np.sqrt(num_rows))
    distinct_UK, sizes_U = np.unique(features_NK, axis=0, return_counts=True)
    draws = [metric.value(distinct_UK, counts_BU) for counts_BU in _draws(sizes_U, seed)]
    return float(np.concatenate(draws).std(ddof=1))


def compare(
    metric: Metric,
    first: Pairs,
    second: Pairs,
    spec: TaskSpec,
    *,
    confidence: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Compare two systems that answered the same rows, in the same order.

    Args:
        metric: What is compared.
        first: Answers of the first system.
        second: Answers of the second system.
        spec: The task.
        confidence: Coverage of the interval.
        seed: Of the bootstrap.

    Raises:
        ValueError: The systems did not answer the same number of rows, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired answers are needed, got {len(first)} and {len(second)}")
    if [target for _, target in first] != [target for _, target in second]:
        raise ValueError("the two systems answered different rows")
    stacked = metric.row_features([*first, *second], spec)
    halves = (stacked[: len(first)], stacked[len(first) :])
    return _compare_features(metric, halves, confidence=confidence, seed=seed)


def compare_scores(
    first: Sequence[float], second: Sequence[float], *, confidence: float = 0.95, seed: int = 0
) -> Comparison:
    """Compare the row scores of two systems on the same rows.

    Raises:
        ValueError: The lists differ in length, or are empty.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired scores are needed, got {len(first)} and {len(second)}")
    columns = (_column(first), _column(second))
    return _compare_features(_MEAN, columns, confidence=confidence, seed=seed)


def _compare_features(
    metric: Metric, halves: tuple[FloatArray, FloatArray], *, confidence: float, seed: int
) -> Comparison:
    num_rows, width = halves[0].shape
    both = np.concatenate(halves, axis=1)
    distinct, sizes_U = np.unique(both, axis=0, return_counts=True)

    def differences(counts_BU: FloatArray) -> tuple[FloatArray, FloatArray]:
        return (
            metric.value(distinct[:, :width], counts_BU),
            metric.value(distinct[:, width:], counts_BU),
        )

    first, second = (float(value[0]) for value in differences(sizes_U[None].astype(np.float64)))
    draws = [np.subtract(*reversed(differences(counts))) for counts in _draws(sizes_U, seed)]
    drawn_B = np.concatenate(draws)
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_B, [tail, 1 - tail])
    difference = second - first
    # Draws scatter around the difference; moved to 0 they show what chance alone does.
    beyond = np.abs(drawn_B - difference) >= abs(difference) - 1e-12
    return Comparison(
        first=first,
        second=second,
        difference=difference,
        low=float(low),
        high=float(high),
        p_value=float((beyond.sum() + 1) / (len(drawn_B) + 1)),
        num_rows=num_rows,
    )


def _draws(sizes_U: npt.NDArray[np.int64], seed: int) -> Iterator[FloatArray]:
    """Yield bootstrap draws, in blocks of shape `[B, U]`: how often each distinct row counts."""
    generator = np.random.default_rng(seed)
    num_rows = int(sizes_U.sum())
    num_draws = min(NUM_DRAWS, max(MIN_DRAWS, _MAX_CELLS // len(sizes_U)))
    block = max(1, _BLOCK_CELLS // len(sizes_U))
    for start in range(0, num_draws, block):
        size = min(block, num_draws - start)
        yield generator.multinomial(num_rows, sizes_U / num_rows, size=size).astype(np.float64)


def _column(values: Sequence[float]) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


_MEAN = Metric(
    name="mean",
    needs=(),
    row=lambda parsed, _target, _spec: float(str(parsed)),
    value=weighted_mean,
)
