"""Metrics of number answers: correlations and mean absolute error.

An answer that cannot be parsed tells nothing: in a correlation it stands at the middle of the
scale, whatever the target. As an error it counts as the end of the scale farther from the target.
"""

from __future__ import annotations

from typing import cast

import numpy as np

from eval.metrics.metric import FloatArray, Metric, Pairs, ratio
from pipeline.types import Json, TaskSpec


def _scale(spec: TaskSpec, targets: list[float]) -> tuple[float, float]:
    """Return the ends of the scale: the task's own, else those of the targets."""
    low, high = spec.settings.get("minimum"), spec.settings.get("maximum")
    return (
        min(targets) if low is None else float(cast("float", low)),
        max(targets) if high is None else float(cast("float", high)),
    )


def _far_end(target: float, scale: tuple[float, float]) -> float:
    return max(scale, key=lambda end: abs(end - target))


def _numbers(pairs: Pairs, spec: TaskSpec) -> FloatArray:
    """Return (prediction, target) per row, shape `[N, 2]`."""
    targets = [float(cast("float", target)) for _, target in pairs]
    middle = sum(_scale(spec, targets)) / 2
    rows = [
        (middle if parsed is None else float(cast("float", parsed)), target)
        for (parsed, _), target in zip(pairs, targets, strict=True)
    ]
    return np.asarray(rows, dtype=np.float64)


def _correlation(x_BU: FloatArray, y_BU: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return Pearson's r under each row of counts, shape `[B]`; 0 where a side is constant."""
    total_B1 = counts_BU.sum(axis=1, keepdims=True)
    x_BU = x_BU - (counts_BU * x_BU).sum(axis=1, keepdims=True) / total_B1
    y_BU = y_BU - (counts_BU * y_BU).sum(axis=1, keepdims=True) / total_B1
    scale_B = np.sqrt((counts_BU * x_BU**2).sum(axis=1)) * np.sqrt(
        (counts_BU * y_BU**2).sum(axis=1)
    )
    # Rounding leaves a constant side with a tiny spread; that is no correlation.
    scale_B = np.where(scale_B < 1e-13 * total_B1[:, 0], 0.0, scale_B)
    return np.clip(ratio((counts_BU * x_BU * y_BU).sum(axis=1), scale_B, empty=0.0), -1.0, 1.0)


def _pearson(features_U2: FloatArray, counts_BU: FloatArray) -> FloatArray:
    return _correlation(features_U2[None, :, 0], features_U2[None, :, 1], counts_BU)


def _ranks(values_U: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return mid-ranks of the values where each counts as often as told, shape `[B, U]`."""
    distinct_D, group_U = np.unique(values_U, return_inverse=True)
    order_U = np.argsort(group_U, kind="stable")
    starts_D = np.searchsorted(group_U[order_U], np.arange(len(distinct_D)))
    sizes_BD = np.add.reduceat(counts_BU[:, order_U], starts_D, axis=1)
    ranks_BD = np.cumsum(sizes_BD, axis=1) - (sizes_BD - 1) / 2
    return ranks_BD[:, group_U]


def _spearman(features_U2: FloatArray, counts_BU: FloatArray) -> FloatArray:
    predicted_BU = _ranks(features_U2[:, 0], counts_BU)
    gold_BU = _ranks(features_U2[:, 1], counts_BU)
    return _correlation(predicted_BU, gold_BU, counts_BU)


def _error(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return abs(float(cast("float", parsed)) - float(cast("float", target)))


def _worst_error(target: Json, spec: TaskSpec) -> float:
    gold = float(cast("float", target))
    return abs(_far_end(gold, _scale(spec, [gold])) - gold)


def _closeness(parsed: Json, target: Json, spec: TaskSpec) -> float:
    """Return 1 at the target, 0 at the width of the scale or beyond."""
    gold = float(cast("float", target))
    low, high = _scale(spec, [gold])
    width = max(high - low, 1.0)
    return max(0.0, 1.0 - _error(parsed, target, spec) / width)


SPEARMAN = Metric(
    name="spearman", needs=("number",), row=_closeness, features=_numbers, value=_spearman
)
"""Rank correlation with mid-ranks for ties; 0 for constant answers."""

PEARSON = Metric(
    name="pearson", needs=("number",), row=_closeness, features=_numbers, value=_pearson
)
"""Linear correlation; 0 for constant answers."""

MEAN_ABSOLUTE_ERROR = Metric(
    name="mean_absolute_error",
    needs=("number",),
    row=_error,
    failure=_worst_error,
    higher_is_better=False,
    needs_settings=("minimum", "maximum"),
)
"""Mean distance from the target, in units of the target; the ends of the scale must be known."""
