"""Function calls from the spellings that public corpora use.

Arguments are kept as they are written: `"7"` stays a string, nothing is cast to a schema, and
nothing is ever executed. The readers of function specs are offered here as well, so that one
import serves a dataset.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from pipeline.errors import ParseError
from pipeline.functions.json_text import check_depth_of, excerpt, load_json
from pipeline.functions.references import (
    check_references,
    resolve_placeholders,
    resolve_response_names,
)
from pipeline.functions.specs import spec_from_json, specs_from_json, specs_to_json
from pipeline.types import FunctionCall, Json

__all__ = [
    "RESULT_CALL",
    "call_from_json",
    "calls_from_json",
    "calls_to_json",
    "spec_from_json",
    "specs_from_json",
    "specs_to_json",
]

RESULT_CALL = "var_result"
"""NESTFUL's last pseudo call, which names the outputs to return; no function of the library."""

_SPELLINGS: tuple[tuple[str, str], ...] = (
    ("name", "arguments"),  # Glaive, Hammer, NESTFUL, xLAM, OpenAI
    ("name", "parameters"),  # Llama 3
    ("tool", "parameters"),  # Hammer's copy of Seal-Tools
    ("api", "parameters"),  # Seal-Tools
    ("api_name", "param_dict"),  # API-Bank
    ("Action", "Action_Input"),  # ToolAlpaca
    ("API", "Parameters"),  # API-BLEND
)

# ToolAlpaca refers to an earlier result by a name without quotes, sometimes with the closing one.
_BARE_PLACEHOLDER = re.compile(r'(?<!")(\$\{[^{}"]*\})"?')

_OPTIONAL_ACTION = "[Optional]"
"""What ToolAlpaca writes before the name in a call that need not be made."""

# Glaive puts the arguments, as JSON text, between single quotes: not JSON as a whole.
_GLAIVE_CALL = re.compile(
    r"""\A\{\s*"name"\s*:\s*("(?:[^"\\]|\\.)*")\s*,\s*"arguments"\s*:\s*'(.*)'\s*\}\Z""", re.DOTALL
)


def call_from_json(value: Json) -> FunctionCall:
    """Read one call from any of the spellings, or from JSON text of one.

    Args:
        value: `{name, arguments}`, `{name, parameters}`, `{tool, parameters}`,
            `{api, parameters}`, `{api_name, param_dict}`, `{Action, Action_Input}`,
            `{API, Parameters}`, or OpenAI's `{"type": "function", "function": {...}}`. Arguments
            are an object or JSON text of one. API-BLEND's lists of one value become that value.

    Raises:
        ParseError: `FUN301` no known spelling, `FUN302` name, `FUN303` arguments, or one of
            `load_json`.
    """
    if isinstance(value, str):
        value = _load_call_text(value)
    check_depth_of(value)
    if not isinstance(value, dict):
        raise ParseError("FUN301", f"a call must be an object, got {excerpt(value)}")
    inner = value.get("function")
    if isinstance(inner, dict):
        return call_from_json(inner)
    for name_key, arguments_key in _SPELLINGS:
        if name_key in value and arguments_key in value:
            return _build_call(value, name_key, arguments_key)
    raise ParseError(
        "FUN301",
        f"no known spelling of a call: {excerpt(value)}",
        hint="Allowed: " + ", ".join(f"{{{name}, {args}}}" for name, args in _SPELLINGS),
    )


def calls_from_json(value: Json) -> list[FunctionCall]:
    """Read the calls of one answer, with references between them in one form.

    Args:
        value: A list of calls, one call, an OpenAI assistant message with `tool_calls`, JSON
            text of any of these, or `None` for no call.

    Returns:
        The calls in order. Those that later calls refer to have a label; see
        `pipeline.functions.references`.

    Raises:
        ParseError: As `call_from_json`; `FUN304` for a reference to no earlier call.
    """
    if isinstance(value, str):
        value = _load_call_text(value)
    if value is None:
        return []
    if isinstance(value, dict) and "tool_calls" in value:
        return calls_from_json(value["tool_calls"])
    items = value if isinstance(value, list) else [value]
    calls = [call_from_json(item) for item in items]
    responses = [_response_names(item) for item in items]
    if any(responses):
        calls = resolve_response_names(calls, responses)
    if any(isinstance(item, dict) and "Action_Input" in item for item in items):
        calls = resolve_placeholders(calls)
    check_references(calls)
    return calls


def calls_to_json(calls: Iterable[FunctionCall]) -> list[Json]:
    """Return `{name, arguments[, label]}` per call, the form of `TaskExample.target`."""
    return [call_to_json(call) for call in calls]


def call_to_json(call: FunctionCall) -> dict[str, Json]:
    """Return `{name, arguments[, label]}`."""
    result: dict[str, Json] = {"name": call.name, "arguments": call.arguments}
    if call.label is not None:
        result["label"] = call.label
    return result


def _build_call(value: Mapping[str, Json], name_key: str, arguments_key: str) -> FunctionCall:
    name, label = value[name_key], value.get("label")
    if not isinstance(name, str) or not name.strip():
        raise ParseError("FUN302", f"{name_key} must be a text, got {excerpt(name)}")
    if label is not None and (not isinstance(label, str) or not label.isidentifier()):
        raise ParseError("FUN302", f"label must be a word, got {excerpt(label)}")
    arguments = value[arguments_key]
    if isinstance(arguments, str):
        if name_key == "Action":
            arguments = _BARE_PLACEHOLDER.sub(r'"\1"', arguments)
        arguments = load_json(arguments, max_bytes=None) if arguments.strip() else {}
    if arguments is None:
        arguments = {}
    if not isinstance(arguments, dict) or not all(isinstance(key, str) for key in arguments):
        raise ParseError(
            "FUN303", f"{arguments_key} of {excerpt(name)} must be an object: {excerpt(arguments)}"
        )
    if name_key == "API":
        arguments = {key: _only_value(item) for key, item in arguments.items()}
    if name_key == "Action":
        name = name.removeprefix(_OPTIONAL_ACTION)
    return FunctionCall(name=name, arguments=dict(arguments), label=label)


def _only_value(value: Json) -> Json:
    return value[0] if isinstance(value, list) and len(value) == 1 else value


def _response_names(value: Json) -> list[str]:
    names = value.get("responses") if isinstance(value, dict) and "api" in value else None
    return [name for name in names if isinstance(name, str)] if isinstance(names, list) else []


def _load_call_text(text: str) -> Json:
    match = _GLAIVE_CALL.match(text.strip())
    if match is None:
        return load_json(text, max_bytes=None)
    name = load_json(match.group(1), max_bytes=None)
    # Inside the single quotes Glaive escapes only the quote itself.
    arguments = cast("Json", match.group(2).replace("\\'", "'"))
    return {"name": name, "arguments": arguments}
