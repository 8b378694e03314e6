"""The functions that an annotation may name under `function:`.

Each takes one value of a row and gives a JSON value. A value it cannot read skips the row, and
the reason is counted in the report.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from typing import cast

from pipeline.annotations.outcomes import RowSkipped, kind_of
from pipeline.errors import ParseError
from pipeline.functions.calls import calls_from_json, calls_to_json, specs_from_json, specs_to_json
from pipeline.types import Json

MAX_LITERAL_CHARACTERS = 1 << 20


def function_specs(value: Json) -> Json:
    """Return tool specs in any known spelling as `[{name, description, parameters}]`.

    Raises:
        RowSkipped: A spec cannot be read.
    """
    try:
        return specs_to_json(specs_from_json(value))
    except ParseError as error:
        raise RowSkipped(f"unreadable function specs ({error.code})") from error


def function_calls(value: Json, *, drop: list[str] | None = None) -> Json:
    """Return calls in any known spelling as `[{name, arguments[, label]}]`.

    Args:
        value: The calls.
        drop: Names of pseudo calls to leave out, such as NESTFUL's `var_result`.

    Raises:
        RowSkipped: A call cannot be read.
    """
    try:
        calls = calls_from_json(value)
    except ParseError as error:
        raise RowSkipped(f"unreadable function calls ({error.code})") from error
    return calls_to_json(call for call in calls if call.name not in (drop or ()))


def python_literal(value: Json) -> Json:
    """Return the value of a Python literal such as `['a', None]`; only literals are read.

    Raises:
        RowSkipped: `value` is no text, or no literal that JSON can hold.
    """
    if not isinstance(value, str):
        raise RowSkipped(f"{kind_of(value)} where a Python literal is needed")
    if len(value) > MAX_LITERAL_CHARACTERS:
        raise RowSkipped("a Python literal is too long")
    try:
        return _json_of(ast.literal_eval(value.strip()))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise RowSkipped("unreadable Python literal") from error


REGISTERED_FUNCTIONS: Mapping[str, Callable[..., Json]] = {
    "function_specs": function_specs,
    "function_calls": function_calls,
    "python_literal": python_literal,
}
"""All of them, by the name that annotations use."""


def _json_of(value: object) -> Json:
    if isinstance(value, dict):
        return {str(key): _json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_of(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_json_of(item) for item in value), key=repr)
    if value is None or isinstance(value, bool | int | float | str):
        return cast("Json", value)
    raise ValueError(f"a {type(value).__name__} is no JSON value")
