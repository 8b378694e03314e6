"""Metrics that tool-use papers report beside exact calls, each under its exact definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np

from eval.metrics.calls import called_arguments, called_names
from eval.metrics.metric import FloatArray, Metric, Pairs, f1_of_counts, ratio
from eval.metrics.text import longest_common_subsequence
from pipeline.types import Json, TaskSpec


def _gold_vocabulary_features(read: Callable[[Json], list[str]]) -> Callable[..., FloatArray]:
    """Return features of macro F1 over the labels that occur in the gold answers.

    Per row: for each label, whether it is hit, predicted, and gold; repeats count once, and
    labels outside the gold answers count nowhere.
    """

    def features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
        golds = [set(read(target)) for _, target in pairs]
        labels = {name: index for index, name in enumerate(sorted(set().union(*golds)))}
        table = np.zeros((len(pairs), max(1, len(labels)), 3))
        for row, ((parsed, _), gold) in enumerate(zip(pairs, golds, strict=True)):
            predicted = set() if parsed is None else set(read(parsed)) & labels.keys()
            for column, names in enumerate((predicted & gold, predicted, gold)):
                table[row, [labels[name] for name in names], column] = 1
        return table.reshape(len(pairs), -1)

    return features


def macro_f1_of_labels(features_UK: FloatArray, counts_BU: FloatArray) -> FloatArray:
    """Return the mean over labels of F1; a label without gold or prediction counts 0."""
    sums_BL3 = (counts_BU @ features_UK).reshape(len(counts_BU), -1, 3)
    f1_BL = ratio(2 * sums_BL3[..., 0], sums_BL3[..., 1] + sums_BL3[..., 2], empty=0.0)
    return cast("FloatArray", f1_BL.mean(axis=1))


def _row_f1_of_sets(read: Callable[[Json], list[str]]) -> Callable[..., float]:
    def row(parsed: Json, target: Json, _spec: TaskSpec) -> float:
        predicted, gold = set(read(parsed)), set(read(target))
        return f1_of_counts(len(predicted & gold), len(predicted), len(gold))

    return row


def _name_lcs(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    predicted, gold = called_names(parsed), called_names(target)
    return f1_of_counts(longest_common_subsequence(gold, predicted), len(predicted), len(gold))


def _name_sequence_match(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return float(called_names(parsed) == called_names(target))


def _is_hallucinated(parsed: Json, _target: Json, _spec: TaskSpec) -> float:
    calls = cast("list[dict[str, Json]]", parsed)
    return float(any(call.get("unknown") is True for call in calls))


def _no_failure(_parsed: Json, _target: Json, _spec: TaskSpec) -> float:
    return 0.0


def _one(_target: Json, _spec: TaskSpec) -> float:
    return 1.0


NAME_MACRO_F1 = Metric(
    name="name_macro_f1",
    needs=("calls", "names"),
    row=_row_f1_of_sets(called_names),
    features=_gold_vocabulary_features(called_names),
    value=macro_f1_of_labels,
)
"""F1 of function names, macro over the names in the gold answers, names as sets per row.

Source: the scorer of NESTFUL (arXiv:2409.03797) and API-BLEND's API-F1 (arXiv:2402.15491). Names
that no gold answer has are ignored, so inventing functions costs nothing: read it beside
`hallucination_rate`.
"""

ARGUMENT_MACRO_F1 = Metric(
    name="argument_macro_f1",
    needs=("calls", "arguments"),
    row=_row_f1_of_sets(called_arguments),
    features=_gold_vocabulary_features(called_arguments),
    value=macro_f1_of_labels,
)
"""The same over (function, argument, value), as API-BLEND's Parameter-F1."""

NAME_LCS = Metric(name="name_lcs", needs=("calls", "names"), row=_name_lcs)
"""Mean over rows of F1 of the longest common subsequence of function names (API-BLEND: LCS-F1)."""

NAME_SEQUENCE_MATCH = Metric(
    name="name_sequence_match", needs=("calls", "names"), row=_name_sequence_match
)
"""Share of rows whose function names are all right and in order."""

HALLUCINATION_RATE = Metric(
    name="hallucination_rate",
    needs=("calls",),
    row=_is_hallucinated,
    higher_is_better=False,
)
"""Share of rows that call a function outside of the row's library. An answer that cannot be parsed
calls nothing; see `parse_failure_rate`."""

PARSE_FAILURE_RATE = Metric(
    name="parse_failure_rate",
    needs=("calls", "names", "arguments"),
    row=_no_failure,
    failure=_one,
    higher_is_better=False,
)
"""Share of rows whose answer could not be parsed."""
