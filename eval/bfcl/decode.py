"""From a model's text to calls, as the official handlers decode it.

| format        | official handler           | text                                             |
|---------------|----------------------------|--------------------------------------------------|
| `python_call` | Qwen3 prompting (default)  | `[f(a=1), g(b="x")]`; Java and JavaScript alike  |
| `hermes`      | Qwen3 FC                   | `<tool_call>` blocks, newlines inside required   |
| `json_list`   | Hammer 2.1                 | JSON list; anything else is no call              |
| `xlam_json`   | xLAM-2 FC                  | JSON list or object, or objects between `;`      |
| `granite`     | Granite-20B FC             | JSON after each `<function_call>`                |

These are laxer in places, and stricter in others, than the project's own dialects, which is why
both exist. Nothing is executed: where the official code runs `eval` on an arithmetic argument,
`eval.bfcl.constant_text` computes it from constants.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any, cast

from eval.bfcl.categories import Language
from eval.bfcl.constant_text import Value
from eval.bfcl.foreign_text import decode_java_calls, decode_javascript_calls
from eval.bfcl.python_text import decode_python_calls
from pipeline.errors import EvalError, did_you_mean

MAX_TEXT_CHARACTERS = 200_000
"""Longer texts fail to decode; 4096 generated tokens give about 20,000 characters."""

NO_CALL_NOTE = "No function is called"
"""What the Granite handler puts in place of `no_function`; not a call, so the format is wrong."""

_BY_LANGUAGE: dict[Language, Callable[[str], Any]] = {
    "python": decode_python_calls,
    "java": decode_java_calls,
    "javascript": decode_javascript_calls,
}

UNREADABLE: Any = object()
"""Stands for a JSON text that cannot be read; any JSON value may itself be meant."""


class DecodeError(Exception):
    """The official handler would raise: the row counts as not decoded."""


def decode_output(output: object, output_format: str, language: Language = "python") -> Value:
    """Return what the official handler makes of a model's output.

    Args:
        output: The generated text; any other value fails to decode.
        output_format: A name in `FORMATS`.
        language: Of the category. Only prompting-mode calls are written in it; the values in
            JSON formats are texts of source code either way.

    Returns:
        Usually a list of `{name: {argument: value}}`; other values when the handler lets them
        through, see `is_call_list`.

    Raises:
        DecodeError: The handler would raise.
        EvalError: `BFC103`, unknown format.
    """
    with reading_fails_typed(output, output_format):
        text = cast("str", output)
        by_format = FORMATS[output_format]
        return by_format(text) if output_format != "python_call" else _BY_LANGUAGE[language](text)


@contextlib.contextmanager
def reading_fails_typed(output: object, output_format: str) -> Iterator[None]:
    """Turn what a reader raises into `DecodeError`, as the official runner catches everything.

    Raises:
        DecodeError: `output` is no text or too long, or the reader within raised.
        EvalError: `BFC103`, unknown format.
    """
    if output_format not in FORMATS:
        raise EvalError(
            "BFC103",
            f"unknown BFCL output format {output_format!r}",
            hint=did_you_mean(output_format, FORMATS),
        )
    if not isinstance(output, str) or len(output) > MAX_TEXT_CHARACTERS:
        raise DecodeError("not a text, or too long")
    try:
        yield
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        RecursionError,
        SyntaxError,
        TypeError,
        ValueError,
    ) as error:
        raise DecodeError(str(error)) from error


def is_call_list(decoded: object) -> bool:
    """Return whether a decoded value is a list of `{name: {argument: value}}`, maybe empty."""
    return type(decoded) is list and all(
        type(item) is dict and len(item) == 1 and type(next(iter(item.values()))) is dict
        for item in decoded
    )


def hermes_blocks(text: str) -> list[dict[str, Any]]:
    """Return the objects in `<tool_call>` blocks; blocks that are not JSON are left out."""
    blocks = [load_block(block) for block in _between(text, "<tool_call>\n", "\n</tool_call>")]
    calls = [block for block in blocks if block is not UNREADABLE]
    if any(type(call) is not dict for call in calls):
        raise ValueError("a block is not an object")
    return calls


def _between(text: str, opening: str, closing: str) -> Iterator[str]:
    """Yield the parts between two tags, as a shortest match would; in linear time."""
    end = 0
    while (start := text.find(opening, end)) >= 0:
        start += len(opening)
        stop = text.find(closing, start)
        if stop < 0:
            return
        yield text[start:stop]
        end = stop + len(closing)


def load_block(text: str) -> Value:
    """Return the value of a JSON text, or `UNREADABLE`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return UNREADABLE


def load_xlam_calls(text: str) -> list[Any]:
    """Return the items of a JSON list, one JSON value, or those between `;`."""
    try:
        value = json.loads(text)
        return value if isinstance(value, list) else [value]
    except json.JSONDecodeError:
        return [json.loads(part.strip()) for part in text.split(";")]


def granite_chunks(text: str) -> list[str]:
    """Return what stands before, between and after the `<function_call>` tags."""
    chunks = (chunk.strip() for chunk in text.split("<function_call>"))
    return [chunk for chunk in chunks if chunk]


def _decode_hermes(text: str) -> list[dict[Any, Any]]:
    return [{call["name"]: dict(call["arguments"].items())} for call in hermes_blocks(text)]


def _decode_json_list(text: str) -> list[dict[Any, Any]]:
    value = load_block(text.replace("```", ""))
    calls = [] if value is UNREADABLE else value
    return [{call["name"]: call["arguments"]} for call in calls]


def _decode_xlam(text: str) -> list[dict[Any, Any]]:
    return [{call["name"]: call["arguments"]} for call in load_xlam_calls(text)]


def _decode_granite(text: str) -> list[Any]:
    return [_read_granite_chunk(chunk) for chunk in granite_chunks(text)]


def _read_granite_chunk(chunk: str) -> Value:
    value = load_block(chunk)
    if value is UNREADABLE:
        return chunk
    name = value.get("name", "").strip()
    return NO_CALL_NOTE if name == "no_function" else {name: value.get("arguments", {})}


FORMATS: dict[str, Callable[[str], Any]] = {
    "python_call": decode_python_calls,
    "hermes": _decode_hermes,
    "json_list": _decode_json_list,
    "xlam_json": _decode_xlam,
    "granite": _decode_granite,
}
"""All formats by name."""
