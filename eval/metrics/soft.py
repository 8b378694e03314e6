"""Metrics of labels that raters disagree about: the target is the share of each label."""

from __future__ import annotations

from typing import cast

from eval.metrics.metric import Metric
from pipeline.types import Json, TaskSpec

_ROUNDING = 1e-9


def _share(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return cast("dict[str, float]", target).get(cast("str", parsed), 0.0)


def _is_most_chosen(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    shares = cast("dict[str, float]", target)
    return float(shares.get(cast("str", parsed), 0.0) >= max(shares.values()) - _ROUNDING)


SOFT_ACCURACY = Metric(name="soft_accuracy", needs=("soft_label",), row=_share)
"""Share of the raters who gave the answered label."""

MAJORITY_ACCURACY = Metric(name="majority_accuracy", needs=("soft_label",), row=_is_most_chosen)
"""Share of rows whose answer is a label that no other has more votes than."""
