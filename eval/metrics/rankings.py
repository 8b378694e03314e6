"""Metrics of rankings: the answer and the target are positions of options, best first.

The target holds the relevant options; all of them count the same.
"""

from __future__ import annotations

import math
from typing import cast

from eval.metrics.metric import Metric
from pipeline.types import Json, TaskSpec


def _both(parsed: Json, target: Json) -> tuple[list[int], set[int]]:
    return cast("list[int]", parsed), set(cast("list[int]", target))


def _reciprocal_rank(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    ranked, relevant = _both(parsed, target)
    if not relevant:
        return float(not ranked)
    places = (place for place, option in enumerate(ranked, start=1) if option in relevant)
    first = next(places, None)
    return 0.0 if first is None else 1 / first


def _ndcg(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    ranked, relevant = _both(parsed, target)
    if not relevant:
        return float(not ranked)
    gain = sum(1 / math.log2(place + 2) for place, o in enumerate(ranked) if o in relevant)
    return gain / sum(1 / math.log2(place + 2) for place in range(len(relevant)))


def _top_1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    ranked, relevant = _both(parsed, target)
    return float(ranked[0] in relevant if ranked else not relevant)


RECIPROCAL_RANK = Metric(name="reciprocal_rank", needs=("ranking",), row=_reciprocal_rank)
"""1 over the place of the first relevant option; 0 where none is listed."""

NDCG = Metric(name="ndcg", needs=("ranking",), row=_ndcg)
"""Discounted gain of the listed options over the best possible (Järvelin and Kekäläinen 2002)."""

TOP_1 = Metric(name="top_1", needs=("ranking",), row=_top_1)
"""Share of rows whose first option is relevant."""
