"""How sure a number is: standard errors, and paired comparison of two systems.

Rows are drawn again with replacement (bootstrap). A draw is only *how often* each row counts, and
rows with the same features are one, so that many draws of many rows cost little. Rows that share
a source (questions about one passage) are drawn together: else they would count as more
evidence than they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from eval.metrics.metric import FloatArray, Metric, Pairs, weighted_mean
from pipeline.types import TaskSpec

Clusters = npt.NDArray[np.int64]
"""Number of the source of each row, shape `[N]`."""

NUM_DRAWS = 1000
"""Bootstrap draws: the standard error itself is then sure to about 2 %."""

LEVEL = 0.05
"""A difference is beyond chance where its p-value is below this."""

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
    """Two-sided: how often a difference this far from 0 comes out of rows alone. Not below what
    the exact sign test can give for as many rows (or sources) as differ: few rows that are drawn
    again are always the same few."""
    num_rows: int

    @property
    def is_beyond_chance(self) -> bool:
        """Return whether interval and p-value both say that the difference is not 0."""
        return (self.low > 0.0 or self.high < 0.0) and self.p_value < LEVEL


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDraws:
    """A comparison, and the bootstrap draws behind it."""

    comparison: Comparison
    differences: FloatArray
    """Difference under each draw."""
    num_different: int
    """Rows that differ between the systems, or sources with such a row."""


def standard_error(metric: Metric, pairs: Pairs, spec: TaskSpec, *, seed: int = 0) -> float:
    """Return the standard error of `metric.corpus(pairs, spec)`.

    Means have the usual formula; everything else is bootstrapped with a fixed seed.

    Raises:
        ValueError: There are no rows.
    """
    return standard_error_of_features(metric, metric.row_features(pairs, spec), seed=seed)


def standard_error_of_features(
    metric: Metric,
    features_NK: FloatArray,
    *,
    seed: int = 0,
    clusters_N: Clusters | None = None,
) -> float:
    """Return the standard error from what the metric must know of each row, shape `[N, K]`.

    Args:
        metric: What is measured.
        features_NK: From `Metric.row_features`.
        seed: Of the bootstrap.
        clusters_N: Number of the source of each row, where rows share sources. Means then have
            the cluster-robust error (Liang and Zeger 1986), everything else the cluster bootstrap.

    Raises:
        ValueError: There are no rows.
    """
    num_rows = len(features_NK)
    if num_rows == 0:
        raise ValueError(f"{metric.name} needs at least one row")
    if num_rows == 1:
        return 0.0
    if metric.is_mean:
        return _error_of_mean(features_NK[:, 0], clusters_N)
    rows = _Rows.of(features_NK, clusters_N)
    draws = [metric.value(rows.distinct, counts_BU) for counts_BU in rows.draws(seed)]
    return float(np.concatenate(draws).std(ddof=1))


def compare(
    metric: Metric,
    first: Pairs,
    second: Pairs,
    spec: TaskSpec,
    *,
    seed: int = 0,
    clusters_N: Clusters | None = None,
) -> Comparison:
    """Compare two systems that answered the same rows; see `paired_draws`."""
    return paired_draws(metric, first, second, spec, seed=seed, clusters_N=clusters_N).comparison


def paired_draws(
    metric: Metric,
    first: Pairs,
    second: Pairs,
    spec: TaskSpec,
    *,
    confidence: float = 0.95,
    seed: int = 0,
    clusters_N: Clusters | None = None,
) -> PairedDraws:
    """Compare two systems that answered the same rows, in the same order, and keep the draws.

    Args:
        metric: What is compared.
        first: Answers of the first system.
        second: Answers of the second system.
        spec: The task.
        confidence: Coverage of the interval.
        seed: Of the bootstrap.
        clusters_N: Number of the source of each row, where rows share sources.

    Raises:
        ValueError: The systems did not answer the same number of rows, or none.
    """
    if len(first) != len(second) or not first:
        raise ValueError(f"paired answers are needed, got {len(first)} and {len(second)}")
    if [target for _, target in first] != [target for _, target in second]:
        raise ValueError("the two systems answered different rows")
    stacked = metric.row_features([*first, *second], spec)
    halves = (stacked[: len(first)], stacked[len(first) :])
    return paired_draws_of_features(
        metric, halves, confidence=confidence, seed=seed, clusters_N=clusters_N
    )


def paired_draws_of_features(
    metric: Metric,
    halves: tuple[FloatArray, FloatArray],
    *,
    confidence: float = 0.95,
    seed: int = 0,
    clusters_N: Clusters | None = None,
) -> PairedDraws:
    """Compare two systems of which `Metric.row_features` is known, each of shape `[N, K]`."""
    num_rows, width = halves[0].shape
    rows = _Rows.of(np.concatenate(halves, axis=1), clusters_N)
    first_UK, second_UK = rows.distinct[:, :width], rows.distinct[:, width:]

    def values(counts_BU: FloatArray) -> tuple[FloatArray, FloatArray]:
        return metric.value(first_UK, counts_BU), metric.value(second_UK, counts_BU)

    first, second = (float(value[0]) for value in values(rows.sizes[None].astype(np.float64)))
    drawn_B = np.concatenate([np.subtract(*reversed(values(part))) for part in rows.draws(seed)])
    differs_N = (halves[0] != halves[1]).any(axis=1)
    num_different = int(
        differs_N.sum() if clusters_N is None else len(np.unique(clusters_N[differs_N]))
    )
    comparison = _of_draws(
        first,
        second,
        drawn_B,
        num_rows=num_rows,
        num_different=num_different,
        confidence=confidence,
    )
    return PairedDraws(comparison=comparison, differences=drawn_B, num_different=num_different)


def compare_means(parts: Sequence[PairedDraws], *, confidence: float = 0.95) -> Comparison:
    """Compare the unweighted means of several tasks, which count as independent of each other.

    Raises:
        ValueError: There is no task.
    """
    if not parts:
        raise ValueError("at least one task is needed")
    num_draws = min(len(part.differences) for part in parts)
    drawn_B = np.mean([part.differences[:num_draws] for part in parts], axis=0)
    comparisons = [part.comparison for part in parts]
    first = sum(item.first for item in comparisons) / len(parts)
    second = sum(item.second for item in comparisons) / len(parts)
    num_rows = sum(item.num_rows for item in comparisons)
    return _of_draws(
        first,
        second,
        drawn_B,
        num_rows=num_rows,
        num_different=sum(part.num_different for part in parts),
        confidence=confidence,
    )


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
    return paired_draws_of_features(_MEAN, columns, confidence=confidence, seed=seed).comparison


def _error_of_mean(values_N: FloatArray, clusters_N: Clusters | None) -> float:
    num_rows = len(values_N)
    if clusters_N is None:
        return float(values_N.std(ddof=1) / np.sqrt(num_rows))
    sums_G = np.bincount(clusters_N, weights=values_N - values_N.mean())
    num_clusters = len(np.unique(clusters_N))
    if num_clusters == 1:
        return 0.0
    scale = num_clusters / (num_clusters - 1)
    return float(np.sqrt(scale * (sums_G**2).sum()) / num_rows)


def _of_draws(
    first: float,
    second: float,
    drawn_B: FloatArray,
    *,
    num_rows: int,
    num_different: int,
    confidence: float,
) -> Comparison:
    tail = (1 - confidence) / 2
    low, high = np.quantile(drawn_B, [tail, 1 - tail])
    difference = second - first
    # Draws scatter around the difference; moved to 0 they show what chance alone does.
    beyond = np.abs(drawn_B - difference) >= abs(difference) - 1e-12
    p_value = float((beyond.sum() + 1) / (len(drawn_B) + 1))
    # Of n rows that differ, all for the same system: twice one half to the power of n.
    smallest = min(1.0, 2.0 ** (1 - num_different))
    return Comparison(
        first=first,
        second=second,
        difference=difference,
        low=float(low),
        high=float(high),
        p_value=max(p_value, smallest),
        num_rows=num_rows,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """Rows without repeats, and how often each occurs."""

    distinct: FloatArray
    sizes: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    """Distinct row of each row."""
    clusters: Clusters | None

    @staticmethod
    def of(features_NK: FloatArray, clusters_N: Clusters | None) -> _Rows:
        distinct_UK, places_N, sizes_U = np.unique(
            features_NK, axis=0, return_inverse=True, return_counts=True
        )
        return _Rows(distinct_UK, sizes_U, places_N.reshape(-1), clusters_N)

    def draws(self, seed: int) -> Iterator[FloatArray]:
        """Yield draws, in blocks of shape `[B, U]`: how often each distinct row counts."""
        generator = np.random.default_rng(seed)
        if self.clusters is not None:
            yield from self._draws_of_clusters(generator, self.clusters)
            return
        num_rows = int(self.sizes.sum())
        num_draws = _num_draws(len(self.sizes))
        block = max(1, _BLOCK_CELLS // len(self.sizes))
        for start in range(0, num_draws, block):
            size = min(block, num_draws - start)
            shares_U = self.sizes / num_rows
            yield generator.multinomial(num_rows, shares_U, size=size).astype(np.float64)

    def _draws_of_clusters(
        self, generator: np.random.Generator, clusters_N: Clusters
    ) -> Iterator[FloatArray]:
        numbers_G, clusters_N = np.unique(clusters_N, return_inverse=True)
        num_clusters = len(numbers_G)
        for _ in range(_num_draws(len(clusters_N))):
            drawn_G = np.bincount(
                generator.integers(num_clusters, size=num_clusters), minlength=num_clusters
            )
            counts_U = np.bincount(
                self.places, weights=drawn_G[clusters_N], minlength=len(self.sizes)
            )
            yield counts_U[None].astype(np.float64)


def _num_draws(num_cells: int) -> int:
    return min(NUM_DRAWS, max(MIN_DRAWS, _MAX_CELLS // num_cells))


def _column(values: Sequence[float]) -> FloatArray:
    return np.asarray(values, dtype=np.float64).reshape(-1, 1)


_MEAN = Metric(
    name="mean",
    needs=(),
    row=lambda parsed, _target, _spec: float(str(parsed)),
    value=weighted_mean,
)
