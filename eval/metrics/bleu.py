"""BLEU of a corpus: how much of the written word sequences the references hold.

Papineni et al. 2002, with one reference, up to four words, the brevity penalty, and the smoothing
`exp` that sacrebleu applies by default. Words are those of `rouge_words`: lower case, letters and
digits. sacrebleu gives the same number for the same words with `tokenize="none"`.
"""

from __future__ import annotations

from collections import Counter
from typing import cast

import numpy as np

from eval.metrics.metric import FloatArray, Metric, Pairs
from eval.metrics.text import rouge_words
from pipeline.types import Json, TaskSpec

MAX_WORDS = 4
"""Longest word sequence that is counted."""


def _counts(parsed: Json, target: Json) -> list[float]:
    """Return hits of each length, sequences of each length, words written, words expected."""
    gold = cast("str", target[0] if isinstance(target, list) and target else target) or ""
    written, wanted = rouge_words(cast("str", parsed or "")), rouge_words(gold)
    hits, totals = [], []
    for length in range(1, MAX_WORDS + 1):
        ours, theirs = _sequences(written, length), _sequences(wanted, length)
        hits.append(float((ours & theirs).total()))
        totals.append(float(ours.total()))
    return [*hits, *totals, float(len(written)), float(len(wanted))]


def _sequences(words: list[str], length: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + length]) for i in range(len(words) - length + 1))


def _features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    return np.asarray([_counts(parsed, target) for parsed, target in pairs], dtype=np.float64)


def bleu_of_sums(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return BLEU, 0 to 1, under each row of counts, shape `[B]`."""
    sums_BK = counts_BU @ features_UK
    hits, totals = sums_BK[:, :MAX_WORDS], sums_BK[:, MAX_WORDS : 2 * MAX_WORDS]
    written, wanted = sums_BK[:, -2], sums_BK[:, -1]
    logs, halvings = np.zeros(len(sums_BK)), np.zeros(len(sums_BK))
    for length in range(MAX_WORDS):
        # Each length without a hit counts half of the one before it.
        halvings += hits[:, length] == 0
        shown = np.where(hits[:, length] == 0, 0.5**halvings, hits[:, length])
        logs += np.log(shown / np.maximum(totals[:, length], 1)) / MAX_WORDS
    penalty = np.where(written < wanted, 1 - wanted / np.maximum(written, 1), 0.0)
    has_any = (totals[:, -1] > 0) & (hits[:, 0] > 0)
    return cast("FloatArray", np.where(has_any, np.exp(logs + penalty), 0.0))


def _row(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    features = np.asarray([_counts(parsed, target)])
    return float(bleu_of_sums(features, np.ones((1, 1)))[0])


BLEU = Metric(name="bleu", needs=("text",), row=_row, features=_features, value=bleu_of_sums)
"""BLEU-4 of all answers together."""
