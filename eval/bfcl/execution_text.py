"""From a model's text to the calls that run in a conversation of several turns.

The official handlers write the calls of an answer as Python text, which the official evaluator
then evaluates. These are the same texts; `eval.bfcl.simulator_server` reads them without
evaluating. They follow other rules than the decoding for categories of one turn: an argument may
be a call, arguments may be a JSON text, and a Granite answer in words is a call that fails.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from eval.bfcl.constant_text import Value
from eval.bfcl.decode import (
    NO_CALL_NOTE,
    UNREADABLE,
    granite_chunks,
    hermes_blocks,
    load_block,
    load_xlam_calls,
    reading_fails_typed,
)
from eval.bfcl.python_text import decode_python_calls


def decode_for_execution(text: str, output_format: str) -> list[str]:
    """Return the calls of an answer as Python text; empty where the official code runs nothing.

    Args:
        text: What the model wrote.
        output_format: A name in `eval.bfcl.decode.FORMATS`.

    Raises:
        DecodeError: The handler would raise, which ends the turn as an answer without calls does.
        EvalError: `BFC103`, unknown format.
    """
    with reading_fails_typed(text, output_format):
        calls = [*_WRITERS[output_format](text)]
    return [] if calls == [""] else calls


def call_text(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a call as Python text."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in arguments.items())})"


def _python_calls(text: str) -> Iterator[str]:
    for decoded in decode_python_calls(text):
        for name, arguments in decoded.items():
            yield f"{name}({_argument_list(arguments)})"


def _argument_list(arguments: Mapping[Any, Value]) -> str:
    return ", ".join(f"{name}={_argument(value)}" for name, value in arguments.items())


def _argument(value: Value) -> str:
    """Return an argument; a dict of nothing but dicts counts as a call, as officially."""
    if not isinstance(value, dict):
        return repr(value)
    if all(isinstance(item, dict) for item in value.values()):
        name = next(iter(value), None)
        if name is None:
            raise ValueError("the official code looks for a name in the empty dict")
        return f"{name}({_argument_list(value[name])})"
    return "{" + ", ".join(f"'{key}': {_argument(item)}" for key, item in value.items()) + "}"


def _hermes_calls(text: str) -> Iterator[str]:
    for call in hermes_blocks(text):
        arguments = call["arguments"]
        yield call_text(
            call["name"], json.loads(arguments) if isinstance(arguments, str) else arguments
        )


def _json_list_calls(text: str) -> Iterator[str]:
    value = load_block(text.replace("```", ""))
    calls = value.get("tool_calls", []) if isinstance(value, dict) else value
    for call in calls if isinstance(calls, list) else [calls]:
        if isinstance(call, dict):
            yield call_text(call.get("name", ""), call.get("arguments", {}))


def _xlam_calls(text: str) -> Iterator[str]:
    for call in load_xlam_calls(text):
        yield call_text(call["name"], call["arguments"])


def _granite_calls(text: str) -> Iterator[str]:
    for chunk in granite_chunks(text):
        value = load_block(chunk)
        if value is UNREADABLE:
            yield chunk
            continue
        name = value.get("name", "").strip()
        yield (
            NO_CALL_NOTE if name == "no_function" else call_text(name, value.get("arguments", {}))
        )


_WRITERS: dict[str, Callable[[str], Iterator[str]]] = {
    "python_call": _python_calls,
    "hermes": _hermes_calls,
    "json_list": _json_list_calls,
    "xlam_json": _xlam_calls,
    "granite": _granite_calls,
}
