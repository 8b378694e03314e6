"""Metrics of how likely each label is: areas under the ROC and the precision-recall curve.

With two labels the second one is the positive class; with more, each class is set against the
rest and the classes that occur (and are not all rows) are averaged. An answer without scores, as
a model that writes its answer gives, counts as sure of its label; one that could not be parsed as
sure that the target is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import cast

import numpy as np

from eval.metrics.labels import label_of
from eval.metrics.metric import FloatArray, Metric, Pairs, ratio
from pipeline.types import Json, TaskSpec


def _probabilities(parsed: Json, target: str, labels: tuple[str, ...]) -> list[float]:
    """Return how likely each label is, in the order of the labels."""
    scores = cast("list[float] | None", parsed.get("scores")) if isinstance(parsed, dict) else None
    if scores is None:
        sure = label_of(parsed)
        if sure is None:
            return [float(label != target) for label in labels]
        return [float(label == sure) for label in labels]
    # An exact sum, so that equal scores in another order give equal probabilities.
    shifted = [math.exp(score - max(scores)) for score in scores]
    total = math.fsum(shifted)
    return [value / total for value in shifted]


def _features(pairs: Pairs, spec: TaskSpec) -> FloatArray:
    """Return the target's index and a probability per label, shape `[N, 1 + C]`."""
    labels = spec.labels or ()
    rows = [
        [
            float(labels.index(cast("str", target))),
            *_probabilities(parsed, str(target), labels),
        ]
        for parsed, target in pairs
    ]
    return np.asarray(rows, dtype=np.float64)


def _over_classes(
    area: Callable[[FloatArray, FloatArray, FloatArray], FloatArray],
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    def value(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
        num_classes = features_UK.shape[1] - 1
        classes = (1,) if num_classes == 2 else range(num_classes)
        areas, exists = [], []
        for index in classes:
            is_gold_U = (features_UK[:, 0] == index).astype(np.float64)
            num_gold_B = counts_BU @ is_gold_U
            areas.append(area(features_UK[:, 1 + index], is_gold_U, counts_BU))
            exists.append((num_gold_B > 0) & (num_gold_B < counts_BU.sum(axis=1)))
        exists_CB = np.asarray(exists, dtype=np.float64)
        total_B = (np.asarray(areas) * exists_CB).sum(axis=0)
        return ratio(total_B, exists_CB.sum(axis=0), empty=0.5)

    return value


def _by_threshold(
    scores_U: FloatArray, is_gold_U: FloatArray, counts_BU: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Return positives and negatives at each distinct score, highest first, shapes `[B, D]`."""
    distinct_D, group_U = np.unique(-scores_U, return_inverse=True)
    order_U = np.argsort(group_U, kind="stable")
    starts_D = np.searchsorted(group_U[order_U], np.arange(len(distinct_D)))
    gold_BU, rest_BU = counts_BU * is_gold_U, counts_BU * (1 - is_gold_U)
    gold_BD = np.add.reduceat(gold_BU[:, order_U], starts_D, axis=1)
    rest_BD = np.add.reduceat(rest_BU[:, order_U], starts_D, axis=1)
    return gold_BD, rest_BD


def _roc_area(scores_U: FloatArray, is_gold_U: FloatArray, counts_BU: FloatArray) -> FloatArray:
    gold_BD, rest_BD = _by_threshold(scores_U, is_gold_U, counts_BU)
    # A pair of a positive and a negative counts 1 where the positive is higher, 1/2 on a tie.
    below_BD = rest_BD.sum(axis=1, keepdims=True) - np.cumsum(rest_BD, axis=1)
    won_B = (gold_BD * (below_BD + rest_BD / 2)).sum(axis=1)
    return ratio(won_B, gold_BD.sum(axis=1) * rest_BD.sum(axis=1), empty=0.5)


def _average_precision(
    scores_U: FloatArray, is_gold_U: FloatArray, counts_BU: FloatArray
) -> FloatArray:
    gold_BD, rest_BD = _by_threshold(scores_U, is_gold_U, counts_BU)
    found_BD = np.cumsum(gold_BD, axis=1)
    precision_BD = ratio(found_BD, found_BD + np.cumsum(rest_BD, axis=1), empty=0.0)
    return ratio((gold_BD * precision_BD).sum(axis=1), gold_BD.sum(axis=1), empty=0.0)


def _likelihood_of_target(parsed: Json, target: Json, spec: TaskSpec) -> float:
    labels = spec.labels or ()
    return _probabilities(parsed, str(target), labels)[labels.index(cast("str", target))]


AUROC = Metric(
    name="auroc",
    needs=("scored_label",),
    row=_likelihood_of_target,
    features=_features,
    value=_over_classes(_roc_area),
)
"""Share of pairs of a positive and a negative row that the score puts in order; 0.5 is chance."""

AUPRC = Metric(
    name="auprc",
    needs=("scored_label",),
    row=_likelihood_of_target,
    features=_features,
    value=_over_classes(_average_precision),
)
"""Average precision: precision at each threshold, weighted by the positives found there."""
