"""Metrics of answers that are a set of labels."""

from __future__ import annotations

from typing import cast

import numpy as np

from eval.metrics.metric import FloatArray, Metric, Pairs, f1_of_counts, f1_of_sums
from pipeline.types import Json, TaskSpec


def _counts(parsed: Json, target: Json) -> tuple[int, int, int]:
    """Return (hits, predicted, gold).

    An unparsed answer is an empty set; where that would be right it counts as one wrong label.
    """
    gold = set(cast("list[str]", target))
    if parsed is None:
        return 0, int(not gold), len(gold)
    predicted = set(cast("list[str]", parsed))
    return len(predicted & gold), len(predicted), len(gold)


def _count_features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    return np.asarray([_counts(parsed, target) for parsed, target in pairs], dtype=np.float64)


def _row_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return f1_of_counts(*_counts(parsed, target))


def _row_match(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return float(set(cast("list[str]", parsed)) == set(cast("list[str]", target)))


SET_F1 = Metric(
    name="set_f1",
    needs=("label_set", "names"),
    row=_row_f1,
    features=_count_features,
    value=f1_of_sums,
)
"""Micro F1 over all labels of all rows."""

EXAMPLE_SET_F1 = Metric(name="example_set_f1", needs=("label_set", "names"), row=_row_f1)
"""F1 of each row's set, averaged over rows; two empty sets agree fully."""

SET_MATCH = Metric(name="set_match", needs=("label_set", "names"), row=_row_match)
"""Share of rows whose whole set is right."""
