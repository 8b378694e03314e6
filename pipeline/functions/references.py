"""References from one call to the result of an earlier one.

One form is used everywhere: `$label$`, `$label.field$`, `$label[2]$`, inside any string argument,
where `label` is the label of an earlier call. It is the form of NESTFUL. Seal-Tools writes
`API_call_3`, the number of one of the responses of a call, and ToolAlpaca `${id from search}`;
`resolve_response_names` and `resolve_placeholders` turn them into ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from pipeline.errors import ParseError
from pipeline.functions.json_text import excerpt
from pipeline.types import FunctionCall, Json

_REFERENCE = re.compile(r"\$([A-Za-z_]\w*)((?:\.[^$.\[\]]+|\[\d+\])*)\$")
_PLACEHOLDER = re.compile(r"\$\{([^{}$]+) from (\w+)\}")
_RESPONSE_NAME = re.compile(r"\bAPI_call_\d+\b")


def referenced_labels(value: Json) -> list[str]:
    """Return the labels that the strings in `value` refer to, in order, each once."""
    labels: dict[str, None] = {}

    def collect(text: str) -> str:
        labels.update((match.group(1), None) for match in _REFERENCE.finditer(text))
        return text

    _map_strings(value, collect)
    return list(labels)


def is_nested(calls: Sequence[FunctionCall]) -> bool:
    """Return whether some call uses the result of an earlier one."""
    seen: set[str] = set()
    for call in calls:
        if seen.intersection(referenced_labels(call.arguments)):
            return True
        if call.label is not None:
            seen.add(call.label)
    return False


def check_references(calls: Sequence[FunctionCall]) -> None:
    """Check that no call refers to itself or to a later one.

    A `$word$` that is no label of the sequence counts as plain text. A label that is given
    twice means the later call from there on.

    Raises:
        ParseError: `FUN304`.
    """
    all_labels = [call.label for call in calls if call.label is not None]
    seen: set[str] = set()
    for call in calls:
        for label in referenced_labels(call.arguments):
            if label in all_labels and label not in seen:
                raise ParseError(
                    "FUN304",
                    f"call of {excerpt(call.name)} refers to {label}, which is not earlier",
                )
        if call.label is not None:
            seen.add(call.label)


def resolve_response_names(
    calls: Sequence[FunctionCall], responses: Sequence[Sequence[str]]
) -> list[FunctionCall]:
    """Rewrite Seal-Tools' response names as references.

    A call that others refer to gets the label `var<position>`, counted from 1. A reference to
    the only response of a call is `$var2$`, to one of several `$var2[0]$`, counted from 0.

    Args:
        calls: The calls in order.
        responses: Response names of each call, e.g. `["API_call_0", "API_call_1"]`.

    Raises:
        ParseError: `FUN304`, the response of the call itself or of a later one. A name that is
            nobody's response stays as it is.
    """
    declared = {name for names in responses for name in names}
    known: dict[str, str] = {}

    def rewrite(match: re.Match[str]) -> str:
        name = match.group()
        if name in declared and name not in known:
            raise ParseError("FUN304", f"{name} is not the response of an earlier call")
        return f"${known[name]}$" if name in known else name

    resolved: list[FunctionCall] = []
    for index, (call, names) in enumerate(zip(calls, responses, strict=True)):
        resolved.append(_rewrite_arguments(call, _RESPONSE_NAME, rewrite))
        for position, name in enumerate(names):
            known[name] = f"var{index + 1}" + (f"[{position}]" if len(names) > 1 else "")
    return _label_used(resolved)


def resolve_placeholders(calls: Sequence[FunctionCall]) -> list[FunctionCall]:
    """Rewrite ToolAlpaca's `${field from function}` as `$var<position>.field$`.

    The latest earlier call of that function is meant. Other placeholders, such as
    `${start date}`, stay as they are.
    """
    latest: dict[str, int] = {}

    def rewrite(match: re.Match[str]) -> str:
        field, name = match.groups()
        return f"$var{latest[name]}.{field}$" if name in latest else match.group()

    resolved: list[FunctionCall] = []
    for position, call in enumerate(calls, start=1):
        resolved.append(_rewrite_arguments(call, _PLACEHOLDER, rewrite))
        latest[call.name] = position
    return _label_used(resolved)


def label_by_position(calls: Sequence[FunctionCall]) -> list[FunctionCall]:
    """Return the calls with `var<position>` as the label of each that has one, from 1.

    References follow. Some rows of NESTFUL number labels otherwise, and chat templates have no
    place for labels, so the position must tell them.
    """
    current: dict[str, str] = {}

    def rewrite(match: re.Match[str]) -> str:
        label, rest = match.groups()
        return f"${current.get(label, label)}{rest}$"

    renamed: list[FunctionCall] = []
    for position, call in enumerate(calls, start=1):
        changed = _rewrite_arguments(call, _REFERENCE, rewrite)
        if call.label is not None:
            current[call.label] = f"var{position}"
            changed = replace(changed, label=f"var{position}")
        renamed.append(changed)
    return renamed


def with_labels_replaced(arguments: Mapping[str, Json], names: Mapping[str, str]) -> Json:
    """Return arguments in which references to the labels in `names` have those names instead."""

    def rewrite(match: re.Match[str]) -> str:
        label, rest = match.groups()
        return f"${names.get(label, label)}{rest}$"

    return _map_strings(dict(arguments), lambda text: _REFERENCE.sub(rewrite, text))


def _rewrite_arguments(
    call: FunctionCall, pattern: re.Pattern[str], rewrite: Callable[[re.Match[str]], str]
) -> FunctionCall:
    def change(text: str) -> str:
        return pattern.sub(rewrite, text)

    arguments = {key: _map_strings(value, change) for key, value in call.arguments.items()}
    return replace(call, arguments=arguments)


def _label_used(calls: Sequence[FunctionCall]) -> list[FunctionCall]:
    """Label by position the calls that others refer to."""
    used = {label for call in calls for label in referenced_labels(call.arguments)}
    return [
        replace(call, label=f"var{position}") if f"var{position}" in used else call
        for position, call in enumerate(calls, start=1)
    ]


def _map_strings(value: Json, change: Callable[[str], str]) -> Json:
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_map_strings(item, change) for item in value]
    if isinstance(value, dict):
        return {key: _map_strings(item, change) for key, item in value.items()}
    return value
