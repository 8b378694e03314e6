"""Calls that do not fit their library, as some corpora hold them.

A model that is trained on them learns to invent functions and to stop in the middle of a value.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from pipeline.errors import ParseError, did_you_mean
from pipeline.types import FunctionCall, FunctionSpec, Json

FAULTS: dict[str, str] = {
    "outside": "calls a function outside of its library",
    "undeclared": "gives an argument that the function does not declare",
    "missing": "lacks a required argument",
    "broken": "gives an argument that breaks off",
}
"""Every fault by its name, as a reason for which a row is left out."""

_BEFORE_STRING = frozenset("[{(,:")
"""What a string of a literal stands behind; elsewhere a quote is an apostrophe."""
_CONTAINERS = frozenset({"array", "object"})


def first_fault(
    functions: Sequence[FunctionSpec], calls: Sequence[FunctionCall], kinds: Sequence[str]
) -> str | None:
    """Return the name of the first fault that a call has, `None` where there is none.

    Args:
        functions: The library.
        calls: The row's calls.
        kinds: Names in `FAULTS`; others are not looked for. A call of a function outside of the
            library has no other fault.

    Raises:
        ParseError: `FUN605`, a kind that does not exist.
    """
    for kind in kinds:
        if kind not in FAULTS:
            raise ParseError(
                "FUN605", f"no fault of calls is named {kind!r}", hint=did_you_mean(kind, FAULTS)
            )
    by_name = {spec.name: spec for spec in functions}
    for call in calls:
        spec = by_name.get(call.name)
        for kind in kinds:
            if _has_fault(kind, call, spec):
                return kind
    return None


def _has_fault(kind: str, call: FunctionCall, spec: FunctionSpec | None) -> bool:
    if spec is None or kind == "outside":
        return spec is None and kind == "outside"
    declared = cast("dict[str, Json]", spec.parameters.get("properties") or {})
    if kind == "undeclared":
        return not call.arguments.keys() <= declared.keys()
    if kind == "missing":
        required = cast("list[str]", spec.parameters.get("required") or [])
        return not call.arguments.keys() >= set(required)
    return any(_is_broken(value, declared.get(key)) for key, value in call.arguments.items())


def _is_broken(value: Json, schema: Json) -> bool:
    """Tell whether a text stands for a list or an object, and stops before its end."""
    if not (isinstance(value, str) and value.lstrip().startswith(("[", "{"))):
        return False
    return _may_be_container(schema) and not _closes(value)


def _may_be_container(schema: Json) -> bool:
    if not isinstance(schema, dict):
        return False
    choices = [item for key in ("anyOf", "oneOf") for item in _list(schema.get(key))]
    kinds = schema.get("type")
    own = kinds if isinstance(kinds, list) else [kinds]
    return bool(_CONTAINERS.intersection(map(str, own))) or any(map(_may_be_container, choices))


def _list(value: Json) -> list[Json]:
    return value if isinstance(value, list) else []


def _closes(text: str) -> bool:
    """Return whether every string and bracket of a JSON or Python literal is closed."""
    depth, quote, before, is_escaped = 0, "", "", False
    for sign in text:
        if quote:
            if not is_escaped and sign == quote:
                quote = ""
            is_escaped = sign == "\\" and not is_escaped
        elif sign in "\"'" and before in _BEFORE_STRING:
            quote = sign
        else:
            depth += (sign in "[{(") - (sign in "]})")
        before = before if sign.isspace() else sign
    return depth <= 0 and not quote
