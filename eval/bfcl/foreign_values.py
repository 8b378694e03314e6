"""Source text of Java and JavaScript to values by declared type, as the official checker does.

Every value of these languages arrives as text, `5L` or `new int[]{1, 2}`. A text that does not
look like its declared type stays a text, which then fails the comparison of types. The patterns
are those of the official converters, since any other would give other verdicts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal

ForeignLanguage = Literal["java", "javascript"]

JAVA_TYPES: dict[str, type] = {
    "byte": int,
    "short": int,
    "integer": int,
    "float": float,
    "double": float,
    "long": int,
    "boolean": bool,
    "char": str,
    "Array": list,
    "ArrayList": list,
    "Set": set,
    "HashMap": dict,
    "Hashtable": dict,
    "Queue": list,
    "Stack": list,
    "String": str,
    "any": str,
}
"""Python type that stands for each declared type of a Java function."""

JAVASCRIPT_TYPES: dict[str, type] = {
    "String": str,
    "integer": int,
    "float": float,
    "Bigint": int,
    "Boolean": bool,
    "dict": dict,
    "array": list,
    "any": str,
}
"""Python type that stands for each declared type of a JavaScript function."""

_INTEGER = re.compile(r"^-?\d+$")
_DECIMAL = r"^-?\d+(\.\d+)?"
_JAVA_DOUBLE = re.compile(_DECIMAL + r"([eE][+-]?\d+)?$")
_JAVA_FLOAT = re.compile(_DECIMAL + r"([eE][+-]?\d+)?[fF]$")
_JAVA_LONG = re.compile(r"^-?\d+[lL]$")
_JAVA_AS_LIST = re.compile(r"new\s+ArrayList<\w*>\(Arrays\.asList\((.+?)\)\)")
_JAVA_ADDED = re.compile(r"new\s+ArrayList<\w*>\(\)\s*\{\{\s*(.+?)\s*\}\}", re.DOTALL)
_JAVA_EMPTY_LIST = re.compile(r"new\s+ArrayList<\w*>\(\)")
_JAVA_ARRAY = re.compile(r"new\s+\w+\[\]\s*\{(.*?)\}")
_JAVA_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)\s*\{\s*\{?\s*(.*?)\s*\}?\s*\}", re.DOTALL)
_JAVA_EMPTY_MAP = re.compile(r"new\s+HashMap<.*?>\s*\(\)")
_JAVA_PUT = re.compile(r"put\(\"(.*?)\",\s*(.*?)\)")
_SCRIPT_FLOAT = re.compile(_DECIMAL + "$")
_SCRIPT_BIGINT = re.compile(r"^-?\d+n$")
_SCRIPT_NESTED_START = re.compile(r"\[\s*\[|new\s+Array\(\s*\[")
_SCRIPT_NEXT_ROW = re.compile(r"\s*,\s*\[")
_SCRIPT_ARRAY = re.compile(r"\[(.*?)\]|\bnew\s+Array\((.*?)\)")
_SCRIPT_DICT = re.compile(r"\{(.*?)\}")
MAX_VALUE_CHARACTERS = 10_000
"""Longer texts are not converted: the patterns here take quadratic time on hostile ones."""

_SCRIPT_PAIR = re.compile(r"([^:]+):\s*(.*?)(?:,\s*(?=[^,]+:)|$)")


def convert_java(text: str, type_name: str, item_type: str | None = None) -> Any:  # noqa: ANN401
    """Return the value of `text`, or `text` itself where it does not look like its type.

    Args:
        text: Java source of one value.
        type_name: Declared type, a key of `JAVA_TYPES`.
        item_type: Declared type of the items of an `Array` or `ArrayList`.

    Raises:
        KeyError: The type has no conversion; the official checker stops there.
        ValueError: Too many digits for an integer.
    """
    convert = _JAVA_CONVERTERS[type_name]
    return text if len(text) > MAX_VALUE_CHARACTERS else convert(text, item_type)


def convert_javascript(text: str, type_name: str, item_type: str | None = None) -> Any:  # noqa: ANN401
    """Return the value of `text`, or `text` itself where it does not look like its type.

    Args:
        text: JavaScript source of one value.
        type_name: Declared type, a key of `JAVASCRIPT_TYPES`.
        item_type: Declared type of the items of an `array`.

    Raises:
        KeyError: The type has no conversion; the official checker stops there.
        ValueError: Too many digits for an integer.
    """
    convert = _SCRIPT_CONVERTERS[type_name]
    return text if len(text) > MAX_VALUE_CHARACTERS else convert(text, item_type)


def _java_integer(text: str, _: str | None) -> int | str:
    return int(text) if _INTEGER.match(text) else text


def _java_float(text: str, _: str | None) -> float | str:
    return float(re.sub("[fF]$", "", text)) if _JAVA_FLOAT.match(text) else text


def _java_double(text: str, _: str | None) -> float | str:
    return float(text) if _JAVA_DOUBLE.match(text) else text


def _java_long(text: str, _: str | None) -> int | str:
    return int(re.sub("[lL]$", "", text)) if _JAVA_LONG.match(text) else text


def _boolean(text: str, _: str | None) -> bool | str:
    return text == "true" if text in ("true", "false") else text


def _text(text: str, _: str | None) -> str:
    return text


def _java_guess(text: str) -> Any:  # noqa: ANN401
    """Return a value whose type is not declared."""
    if text in ("true", "false"):
        return text == "true"
    if text.startswith('"') and text.endswith('"'):
        return text[1:-1]
    if _JAVA_LONG.match(text):
        return int(text[:-1])
    if _JAVA_FLOAT.match(text):
        return float(re.sub("[fF]$", "", text))
    return _number(text)


def _number(text: str) -> Any:  # noqa: ANN401
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return text


def _java_list(text: str, item_type: str | None) -> Any:  # noqa: ANN401
    match = _JAVA_AS_LIST.search(text)
    if match:
        return [_java_item(item.strip(), item_type) for item in match.group(1).split(",")]
    match = _JAVA_ADDED.search(text)
    if match:
        added = re.findall(r"add\((.+?)\)", match.group(1))
        return [_java_item(item.strip(), item_type) for item in added]
    return [] if _JAVA_EMPTY_LIST.search(text) else text


def _java_item(text: str, item_type: str | None) -> Any:  # noqa: ANN401
    if item_type in ("char", "String"):
        return text[1:-1]
    return convert_java(text, item_type) if item_type else _java_guess(text)


def _java_array(text: str, item_type: str | None) -> Any:  # noqa: ANN401
    match = _JAVA_ARRAY.search(text)
    if not match:
        return text
    # Unlike in lists, quotes stay: an array of texts only matches without them.
    items = [item.strip() for item in match.group(1).split(",") if item.strip()]
    return [convert_java(item, item_type) if item_type else _java_guess(item) for item in items]


def _java_map(text: str, _: str | None) -> Any:  # noqa: ANN401
    match = _JAVA_MAP.search(text)
    if match:
        puts = _JAVA_PUT.findall(match.group(1))
        return {key: _java_guess(value.strip()) for key, value in puts}
    return {} if _JAVA_EMPTY_MAP.search(text) else text


def _script_text(text: str, _: str | None) -> str:
    return text[1:-1] if _is_quoted(text) else text


def _is_quoted(text: str) -> bool:
    return text.startswith(("'", '"')) and text.endswith(text[0])


def _script_float(text: str, _: str | None) -> float | str:
    return float(text) if _SCRIPT_FLOAT.match(text) else text


def _script_bigint(text: str, _: str | None) -> int | str:
    return int(text[:-1]) if _SCRIPT_BIGINT.match(text) else text


def _script_guess(text: str) -> Any:  # noqa: ANN401
    text = text.strip()
    if text in ("true", "false"):
        return text == "true"
    return text[1:-1] if _is_quoted(text) else _number(text)


def _script_array(text: str, item_type: str | None) -> Any:  # noqa: ANN401
    text = text.strip()
    end = _end_of_nested_array(text)
    if end is not None:
        return _script_rows(text[:end])
    match = _SCRIPT_ARRAY.match(text)
    if not match:
        return text
    body = next((group for group in match.groups() if group is not None), "").strip()
    items = [item.strip() for item in body.split(",")] if body else []
    try:
        return [
            convert_javascript(item, item_type) if item_type else _script_guess(item)
            for item in items
        ]
    except (KeyError, ValueError):
        return text


def _end_of_nested_array(text: str) -> int | None:
    """Return where an array of arrays at the start of `text` ends; `None` if there is none.

    The official pattern (one bracketed row or more, within brackets or `new Array(`) takes
    exponential time. What it finds is the first `]` that the closing bracket follows, among those
    that stand on one line with the start of a row.
    """
    start = _SCRIPT_NESTED_START.match(text)
    if not start:
        return None
    closing = ")" if text.startswith("new") else "]"
    reach = _end_of_line(text, start.end())
    position = text.find("]", start.end())
    while position != -1 and position < reach:
        rest = len(text) - len(text[position + 1 :].lstrip())
        if text.startswith(closing, rest):
            return rest + 1
        row = _SCRIPT_NEXT_ROW.match(text, position + 1)
        if row:
            reach = max(reach, _end_of_line(text, row.end()))
        position = text.find("]", position + 1)
    return None


def _end_of_line(text: str, start: int) -> int:
    end = text.find("\n", start)
    return len(text) if end == -1 else end


def _script_rows(text: str) -> list[list[Any]]:
    """Return the rows of an array of arrays; the type of its items is not looked at."""
    rows = [row.strip() for row in re.findall(r"\[(.*?)\]", text)]
    if rows[0].startswith("["):
        rows[0] = rows[0][1:]
    return [[_script_guess(item) for item in row.split(",")] for row in rows]


def _script_dict(text: str, _: str | None) -> Any:  # noqa: ANN401
    text = text.strip()
    if text == "{}":
        return {}
    match = _SCRIPT_DICT.match(text)
    if not match:
        return text
    try:
        return {
            key.strip().strip("'\""): _script_dict_value(value.strip())
            for key, value in _SCRIPT_PAIR.findall(match.group(1))
        }
    except (KeyError, ValueError, RecursionError):
        return text


def _script_dict_value(text: str) -> Any:  # noqa: ANN401
    if text.startswith("[") and text.endswith("]"):
        return _script_array(text, None)
    if text.startswith("{") and text.endswith("}"):
        return _script_dict(text, None)
    return _script_guess(text.strip("'\""))


_Converter = Callable[[str, str | None], Any]

_JAVA_CONVERTERS: Mapping[str, _Converter] = {
    "byte": _java_integer,
    "short": _java_integer,
    "integer": _java_integer,
    "float": _java_float,
    "double": _java_double,
    "long": _java_long,
    "boolean": _boolean,
    "char": _text,
    "Array": _java_array,
    "ArrayList": _java_list,
    "HashMap": _java_map,
    "String": _text,
    "any": _text,
}
_SCRIPT_CONVERTERS: Mapping[str, _Converter] = {
    "String": _script_text,
    "integer": _java_integer,
    "float": _script_float,
    "Bigint": _script_bigint,
    "Boolean": _boolean,
    "dict": _script_dict,
    "array": _script_array,
    "any": _text,
}
