"""Metrics of marked text: entities as (text, type) multisets, and one tag per token."""

from __future__ import annotations

from typing import cast

import numpy as np

from eval.metrics.metric import (
    FloatArray,
    Metric,
    Pairs,
    f1_of_counts,
    f1_of_sums,
    precision_of_sums,
    ratio,
    recall_of_sums,
)
from pipeline.types import Json, TaskSpec


def _entities(value: Json) -> list[tuple[str, str]]:
    spans = cast("list[dict[str, str]]", value)
    return [(" ".join(span["text"].split()), span["type"]) for span in spans]


def _counts(parsed: Json, target: Json) -> tuple[int, int, int]:
    """Return (hits, predicted, gold) of one row.

    An answer that cannot be parsed names nothing, as in seqeval. Where there is nothing to name
    that would be right, so there it counts as one wrong entity.
    """
    gold = _entities(target)
    if parsed is None:
        return 0, int(not gold), len(gold)
    predicted = _entities(parsed)
    left: dict[tuple[str, str], int] = {}
    for entity in gold:
        left[entity] = left.get(entity, 0) + 1
    num_hits = 0
    for entity in predicted:
        count = left.get(entity, 0)
        if count:
            left[entity] = count - 1
            num_hits += 1
    return num_hits, len(predicted), len(gold)


def _count_features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    rows = [_counts(parsed, target) for parsed, target in pairs]
    return np.asarray(rows, dtype=np.float64)


def _row_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return f1_of_counts(*_counts(parsed, target))


def _row_precision(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    num_hits, num_predicted, num_gold = _counts(parsed, target)
    return num_hits / num_predicted if num_predicted else float(num_gold == 0)


def _row_recall(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    num_hits, _, num_gold = _counts(parsed, target)
    return num_hits / num_gold if num_gold else 1.0


def _tag_counts(parsed: Json, target: Json) -> tuple[int, int]:
    gold = cast("list[str]", target)
    predicted = cast("list[str]", parsed or [])
    num_hits = sum(first == second for first, second in zip(predicted, gold, strict=False))
    return num_hits, len(gold)


def _tag_features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    rows = [_tag_counts(parsed, target) for parsed, target in pairs]
    return np.asarray(rows, dtype=np.float64)


def _row_token_accuracy(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    num_hits, num_tokens = _tag_counts(parsed, target)
    return num_hits / num_tokens if num_tokens else 1.0


def _share_of_sums(features_U2: FloatArray, counts_BU: FloatArray) -> FloatArray:
    sums_B2 = counts_BU @ features_U2
    return ratio(sums_B2[:, 0], sums_B2[:, 1], empty=1.0)


ENTITY_F1 = Metric(
    name="entity_f1",
    needs=("entities",),
    row=_row_f1,
    features=_count_features,
    value=f1_of_sums,
)
"""Micro F1 over all rows; an entity is right when text and type are."""

ENTITY_PRECISION = Metric(
    name="entity_precision",
    needs=("entities",),
    row=_row_precision,
    features=_count_features,
    value=precision_of_sums,
)
"""Share of the named entities that are right."""

ENTITY_RECALL = Metric(
    name="entity_recall",
    needs=("entities",),
    row=_row_recall,
    features=_count_features,
    value=recall_of_sums,
)
"""Share of the true entities that were named."""

TOKEN_ACCURACY = Metric(
    name="token_accuracy",
    needs=("tags",),
    row=_row_token_accuracy,
    features=_tag_features,
    value=_share_of_sums,
)
"""Share of all tokens with the right tag; a token without a tag is wrong."""
