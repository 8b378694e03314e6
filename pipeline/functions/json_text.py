"""JSON from data files and models, read with limits.

What is refused: text above `MAX_TEXT_BYTES`, nesting above `MAX_DEPTH`, repeated keys, NaN and
infinities, integers above `MAX_INTEGER_BITS`, and strings that UTF-8 cannot hold. `json.loads`
takes the first key silently, loses control on deep nesting and accepts `NaN`.
"""

from __future__ import annotations

import json
import math
import re
from typing import NoReturn, cast

from pipeline.errors import ParseError
from pipeline.types import Json

MAX_TEXT_BYTES = 20_000
"""Longest model output that is parsed, in bytes of UTF-8."""

MAX_DEPTH = 50
"""Deepest nesting of lists and objects."""

MAX_INTEGER_BITS = 4096
"""Largest integer; beyond about 14,000 bits Python refuses to print it."""

_EXCERPT_CHARACTERS = 80

# Possessive, and with an optional end, so that an open quote costs one pass and not many.
_STRING_OR_BRACKET = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[\]{}]', re.DOTALL)


def excerpt(value: object) -> str:
    """Return the start of `value` for an error message, control characters escaped."""
    text = value if isinstance(value, str) else repr(value)
    cut = text[:_EXCERPT_CHARACTERS]
    return ascii(cut) + ("..." if len(text) > _EXCERPT_CHARACTERS else "")


def check_text(text: str, *, max_bytes: int | None = MAX_TEXT_BYTES) -> str:
    """Return `text` without blanks at both ends when it is short enough and valid Unicode.

    Raises:
        ParseError: `FUN101` too long, `FUN105` a lone surrogate.
    """
    try:
        num_bytes = len(text.encode())
    except UnicodeEncodeError as error:
        raise ParseError("FUN105", f"lone surrogate in {excerpt(text)}") from error
    if max_bytes is not None and num_bytes > max_bytes:
        raise ParseError(
            "FUN101", f"text of {num_bytes} bytes, at most {max_bytes} allowed: {excerpt(text)}"
        )
    return text.strip()


def check_integer(value: int) -> int:
    """Return `value` when it is small enough to be printed again.

    Raises:
        ParseError: `FUN105`.
    """
    if value.bit_length() > MAX_INTEGER_BITS:
        raise ParseError("FUN105", f"integer of {value.bit_length()} bits is too large")
    return value


def check_float(value: float) -> float:
    """Return `value` when JSON can hold it.

    Raises:
        ParseError: `FUN105` for NaN and infinities.
    """
    if not math.isfinite(value):
        raise ParseError("FUN105", f"{value} is not a JSON number")
    return value


def load_json(text: str, *, max_bytes: int | None = MAX_TEXT_BYTES) -> Json:
    """Return the single JSON value in `text`.

    Args:
        text: JSON, blanks around it allowed.
        max_bytes: Limit on the text; `None` for text from a data file, which has its own limit.

    Raises:
        ParseError: `FUN101` too long, `FUN102` too deep, `FUN103` not JSON, `FUN104` repeated
            key, `FUN105` a number or string that JSON cannot hold.
    """
    stripped = check_text(text, max_bytes=max_bytes)
    value, end = load_json_prefix(stripped)
    if stripped[end:].strip():
        raise ParseError("FUN103", f"text after the JSON value: {excerpt(stripped[end:])}")
    return value


def load_json_prefix(text: str, start: int = 0) -> tuple[Json, int]:
    """Return the JSON value that begins at `start`, and the position behind it.

    Raises:
        ParseError: As `load_json`, without the length limit.
    """
    _check_depth(text, start)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except ValueError as error:
        # `raw_decode` raises `JSONDecodeError`; plain ValueError: more than 4300 digits.
        raise ParseError("FUN103", f"not JSON ({error}): {excerpt(text[start:])}") from error
    _check_strings(value)
    return cast("Json", value), end


def check_depth_of(value: object) -> None:
    """Check a value that was not read by this module.

    Raises:
        ParseError: `FUN102`.
    """
    layer: list[object] = [value]
    for _ in range(MAX_DEPTH + 1):
        layer = [
            child
            for item in layer
            if isinstance(item, dict | list)
            for child in (item.values() if isinstance(item, dict) else item)
            if isinstance(child, dict | list)
        ]
        if not layer:
            return
    raise ParseError("FUN102", f"nested deeper than {MAX_DEPTH} levels")


def dump_json(value: Json) -> str:
    """Return `value` on one line, characters outside ASCII as they are."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _check_depth(text: str, start: int) -> None:
    depth = 0
    for match in _STRING_OR_BRACKET.finditer(text, start):
        sign = match.group()
        if sign in ("[", "{"):
            depth += 1
            if depth > MAX_DEPTH:
                raise ParseError(
                    "FUN102", f"nested deeper than {MAX_DEPTH} levels: {excerpt(text[start:])}"
                )
        elif sign in ("]", "}"):
            depth -= 1
            if depth <= 0:
                return


def _check_strings(value: object) -> None:
    layer = [value]
    while layer:
        item = layer.pop()
        if isinstance(item, dict):
            layer.extend(item.keys())
            layer.extend(item.values())
        elif isinstance(item, list):
            layer.extend(item)
        elif isinstance(item, str) and not item.isascii():
            check_text(item, max_bytes=None)


def _read_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    result = dict(pairs)
    if len(result) < len(pairs):
        names = [name for name, _ in pairs]
        repeated = next(name for name in names if names.count(name) > 1)
        raise ParseError("FUN104", f"key {excerpt(repeated)} stands twice in one object")
    return result


def _refuse_constant(name: str) -> NoReturn:
    raise ParseError("FUN105", f"{name} is not a JSON number")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_read_object,
    parse_int=lambda digits: check_integer(int(digits)),
    parse_float=lambda digits: check_float(float(digits)),
    parse_constant=_refuse_constant,
)
