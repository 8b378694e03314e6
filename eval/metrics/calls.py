"""Metrics of function calls. Calls are compared as data and never executed."""

from __future__ import annotations

import hashlib
import json
from collections import ChainMap, Counter
from typing import Any, cast

import numpy as np

from eval.metrics.metric import FloatArray, Metric, Pairs, f1_of_counts, f1_of_sums
from pipeline.annotations.views import VIEWS
from pipeline.functions.references import with_labels_replaced
from pipeline.types import FunctionCall, Json, TaskSpec

_ENCODER = json.JSONEncoder(sort_keys=True)


def canonical(value: Json) -> str:
    """Return one text per JSON value: keys sorted, `1.0` written as `1`, `true` unlike 1."""
    return _ENCODER.encode(_plain_numbers(value))


def _plain_numbers(value: Json) -> Json:
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [_plain_numbers(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain_numbers(item) for key, item in value.items()}
    return value


def _items(value: Json) -> list[dict[str, Json]]:
    """Return calls; bare names and bare arguments become calls without the rest."""
    if isinstance(value, str):
        return [{"name": value, "arguments": {}}]
    if isinstance(value, dict):
        return [{"name": "", "arguments": value}]
    items = cast("list[Json]", value)
    return [item if isinstance(item, dict) else {"name": item, "arguments": {}} for item in items]


def _resolved_calls(value: Json) -> list[str]:
    """Return one text per call, in which references say what the call is that they mean.

    `$var2$` is the second call, as the instruction has it, unless a call gives itself that label.
    A reference to no earlier call stays as it is. The text of a call that is meant is hashed, so
    that calls which refer to each other in many ways do not grow.
    """
    texts: list[str] = []
    by_position: dict[str, str] = {}
    by_label: dict[str, str] = {}
    names = ChainMap(by_label, by_position)
    for position, item in enumerate(_items(value), start=1):
        arguments = cast("dict[str, Json]", item.get("arguments", {}))
        text = canonical([item["name"], with_labels_replaced(arguments, names)])
        texts.append(text)
        meant = hashlib.sha256(text.encode(errors="replace")).hexdigest()
        by_position[f"var{position}"] = meant
        if isinstance(item.get("label"), str):
            by_label[str(item["label"])] = meant
    return texts


def _names(value: Json) -> Counter[str]:
    return Counter(cast("str", item["name"]) for item in _items(value))


def _arguments(value: Json) -> Counter[str]:
    pairs: Counter[str] = Counter()
    for item in _items(value):
        arguments = cast("dict[str, Json]", item.get("arguments", {}))
        pairs.update(canonical([item["name"], *pair]) for pair in arguments.items())
    return pairs


def called_names(value: Json) -> list[str]:
    """Return the names of the called functions in order."""
    return [cast("str", item["name"]) for item in _items(value)]


def called_arguments(value: Json) -> list[str]:
    """Return one text per (function, argument, value)."""
    return list(_arguments(value).elements())


def _call_exact_match(parsed: Json, target: Json, spec: TaskSpec) -> float:
    predicted, gold = _resolved_calls(parsed), _resolved_calls(target)
    if not _asks_for_order(spec):
        predicted, gold = sorted(predicted), sorted(gold)
    return float(predicted == gold)


def _asks_for_order(spec: TaskSpec) -> bool:
    view = spec.settings.get("view")
    is_view_in_order = isinstance(view, str) and view in VIEWS and VIEWS[view].in_order
    return is_view_in_order or spec.settings.get("granular") == "names"


def _overlap(predicted: Counter[str] | None, gold: Counter[str]) -> tuple[int, int, int]:
    """Return (hits, predicted, gold); an unparsed answer is one wrong item where none is right."""
    if predicted is None:
        return 0, int(not gold), gold.total()
    return (predicted & gold).total(), predicted.total(), gold.total()


def _name_features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    rows = [
        _overlap(None if parsed is None else _names(parsed), _names(target))
        for parsed, target in pairs
    ]
    return np.asarray(rows, dtype=np.float64)


def _argument_features(pairs: Pairs, _spec: TaskSpec) -> FloatArray:
    rows = [
        _overlap(None if parsed is None else _arguments(parsed), _arguments(target))
        for parsed, target in pairs
    ]
    return np.asarray(rows, dtype=np.float64)


def _row_name_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return f1_of_counts(*_overlap(_names(parsed), _names(target)))


def _row_argument_f1(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    return f1_of_counts(*_overlap(_arguments(parsed), _arguments(target)))


def _call_ast_accuracy(parsed: Json, target: Json, _spec: TaskSpec) -> float:
    calls = [
        FunctionCall(
            name=cast("str", item["name"]), arguments=cast("dict[str, Json]", item["arguments"])
        )
        for item in _items(parsed)
    ]
    return _official_verdict(calls, target)


def _unparsed_ast(target: Json, _spec: TaskSpec) -> float:
    # Officially a text that cannot be decoded calls nothing, which is right where nothing fits.
    return _official_verdict(None, target)


def _official_verdict(calls: list[FunctionCall] | None, target: Json) -> float:
    # The checker is loaded only by the tasks that need it.
    from eval.bfcl.verdicts import check_answer

    key = cast("dict[str, Any]", target)
    is_right, _ = check_answer(
        calls,
        functions=key["functions"],
        ground_truth=key["ground_truth"],
        category=key["category"],
    )
    return float(is_right)


CALL_EXACT_MATCH = Metric(
    name="call_exact_match", needs=("calls", "names", "arguments"), row=_call_exact_match
)
"""All calls right, with all arguments. The order counts where the task asks for one: lists of
names, and the views `nested` and `chaining`. Elsewhere calls may come in any order, as long as
references between them mean the same calls: `$var1$` is the first call of the answer."""

NAME_F1 = Metric(
    name="name_f1",
    needs=("calls", "names", "text"),
    row=_row_name_f1,
    features=_name_features,
    value=f1_of_sums,
)
"""Micro F1 of the names of the called functions."""

ARGUMENT_F1 = Metric(
    name="argument_f1",
    needs=("calls", "arguments"),
    row=_row_argument_f1,
    features=_argument_features,
    value=f1_of_sums,
)
"""Micro F1 of (function, argument, value)."""

CALL_AST_ACCURACY = Metric(
    name="call_ast_accuracy",
    needs=("bfcl_calls",),
    row=_call_ast_accuracy,
    failure=_unparsed_ast,
)
"""Share of rows the Berkeley Function Calling Leaderboard's checker accepts."""
