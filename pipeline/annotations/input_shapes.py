"""Shapes of the inputs that a kind reads as more than text: turns, functions, calls and words."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

from pipeline.annotations.cleaning import list_of
from pipeline.annotations.outcomes import as_text, kind_of
from pipeline.errors import AnnotationError, did_you_mean
from pipeline.types import Json, Role, TaskKind
from pipeline.yaml_reader import excerpt

InputShape = Callable[[Json], Json]
"""Returns an input in the shape of its kind."""

_ROLES: tuple[str, ...] = get_args(Role)
_GUIDE = "See the table of kinds in the guide to annotations"


def input_shapes(kind: TaskKind) -> dict[str, InputShape]:
    """Return what brings the inputs of a kind into shape, by their names.

    Each raises `AnnotationError` (ANN212) for a value of another shape, or `RowSkipped` where a
    word of a sentence is missing. Inputs that are text, or of any shape, are left out.
    """
    return dict(_SHAPES.get(kind, {}))


def _words(value: Json) -> Json:
    return [as_text(word) for word in list_of(value)]


def _turns(value: Json) -> Json:
    turns = _list("turns with role and content", value)
    for position, turn in enumerate(turns):
        where = f"turn {position}"
        role = _map(where, turn).get("role")
        if role not in _ROLES:
            message = f"{where}: no role {excerpt(role)}; allowed are {', '.join(_ROLES)}"
            hint = did_you_mean(str(role), _ROLES)
            if role in ("human", "gpt", "bot"):
                hint = "Use {function: dialogue, of: ..., options: {form: share}}, or `map`"
            raise AnnotationError("ANN212", message, hint=hint)
        _member(where, turn, "content", str, may_be_missing=True)
        if cast("dict[str, Json]", turn).get("tool_calls"):
            _calls(_member(where, turn, "tool_calls", list))
    return turns


def _request(value: Json) -> Json:
    return value if isinstance(value, str) else _turns(value)


def _functions(value: Json) -> Json:
    functions = _list("functions", value)
    for position, function in enumerate(functions):
        where = f"function {position}"
        _member(where, function, "name", str)
        for name, kind in (("description", str), ("parameters", dict)):
            if name in _map(where, function):
                _member(where, function, name, kind)
    return functions


def _calls(value: Json) -> Json:
    calls = _list("calls with name and arguments", value)
    for position, call in enumerate(calls):
        _member(f"call {position}", call, "name", str)
        _member(f"call {position}", call, "arguments", dict)
    return calls


def _list(of: str, value: Json) -> list[Json]:
    if not isinstance(value, list | dict):
        raise AnnotationError("ANN212", f"a list of {of} is needed, got {kind_of(value)}")
    return list_of(value)


def _map(where: str, value: Json) -> dict[str, Json]:
    if not isinstance(value, dict):
        message = f"{where}: a map is needed, got {kind_of(value)}"
        raise AnnotationError("ANN212", message, hint=_GUIDE)
    return value


def _member(
    where: str,
    value: Json,
    name: str,
    kind: type,
    *,
    may_be_missing: bool = False,
) -> Json:
    found: Json = _map(where, value).get(name)
    if not isinstance(found, kind) and not (may_be_missing and found is None):
        needed = "text" if kind is str else "a list" if kind is list else "a map"
        message = f"{where}: {name}: {needed} is needed, got {kind_of(found)}"
        raise AnnotationError("ANN212", message, hint=_GUIDE)
    return found


_SHAPES: dict[TaskKind, dict[str, InputShape]] = {
    "chat": {"messages": _turns},
    "function_calling": {"query": _request, "functions": _functions, "calls": _calls},
    "token_classification": {"tokens": _words},
}
