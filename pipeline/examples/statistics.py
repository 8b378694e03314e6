"""Simple counts over examples, for baselines and reports."""

from __future__ import annotations

import json
from collections import Counter

from pipeline.types import Examples, Json


def answer_counts(examples: Examples) -> Counter[str]:
    """Return how often each answer occurs, by its canonical JSON text."""
    return Counter(_text(example.target) for example in examples)


def most_common_answer(examples: Examples) -> Json:
    """Return the most frequent answer; of equally frequent ones the first in label order.

    Answers that are lists or maps count as equal when their JSON is. Regression has no useful
    most frequent value, so its median is returned instead.

    Raises:
        ValueError: There is no example.
    """
    if len(examples) == 0:
        raise ValueError("no examples")
    if examples.spec.kind == "regression":
        values = sorted(_number(example.target) for example in examples)
        return values[(len(values) - 1) // 2]
    counts = answer_counts(examples)
    labels = [_text(label) for label in examples.spec.labels or ()]
    order = {text: position for position, text in enumerate(labels)}
    best = min(counts, key=lambda text: (-counts[text], order.get(text, len(order)), text))
    answer: Json = json.loads(best)
    return answer


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"a regression target must be a number, got {value!r}")
    return float(value)
