"""Calls in the forms that only chat templates write, read without executing anything.

| form    | families                | text                                                  |
|---------|-------------------------|-------------------------------------------------------|
| qwen    | Qwen3.5 on, Nemotron 3  | `<tool_call>`, `<function=f>`, `<parameter=a>`        |
| glm     | GLM-4                   | `<tool_call>f`, `<arg_key>a</arg_key>`, `<arg_value>` |
| gemma   | Gemma 4                 | `<|tool_call>call:f{a:<|"|>x<|"|>}<tool_call|>`       |
| lfm     | LFM2                    | `<|tool_call_start|>[f(a='x')]<|tool_call_end|>`      |
| gpt_oss | gpt-oss                 | `to=functions.f`, `<|message|>`, JSON arguments       |
| llama   | Llama 3.1               | `<|python_tag|>` and JSON or a Python call            |

`qwen` and `glm` write a text as it is, and everything else as JSON, so that `3` may be either: it
is a text where the function says so, and a number elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import cast

from pipeline.errors import ParseError
from pipeline.functions.calls import call_from_json, calls_from_json
from pipeline.functions.json_text import (
    MAX_DEPTH,
    check_text,
    excerpt,
    load_json,
    load_json_prefix,
)
from pipeline.functions.python_calls import parse_python_calls
from pipeline.types import FunctionCall, Json

Functions = Sequence[Mapping[str, Json]]
"""The functions that a row was shown, each with `name` and `parameters`, a JSON Schema."""

BLOCK_OPEN, BLOCK_CLOSE = "<tool_call>", "</tool_call>"
_FUNCTION_OPEN, _FUNCTION_CLOSE = "<function=", "</function>"
_GEMMA_OPEN, _GEMMA_CLOSE, _GEMMA_QUOTE = "<|tool_call>", "<tool_call|>", '<|"|>'
_GEMMA_RESPONSE = "<|tool_response>"
_LFM_OPEN, _LFM_CLOSE = "<|tool_call_start|>", "<|tool_call_end|>"
_LLAMA_TAG = "<|python_tag|>"
_GPT_OSS_MESSAGE, _GPT_OSS_END = "<|message|>", "<|call|>"
_GPT_OSS_NAME = re.compile(r"to=functions\.([^\s<]+)")
_GEMMA_SCALAR = re.compile(r"[^,{}\[\]<>:]+")
_PYTHON_CONSTANTS: dict[str, Json] = {"True": True, "False": False, "None": None}


def detect_form(text: str) -> str | None:
    """Return the form that the signs of `text` point to, or `None`."""
    if _GEMMA_OPEN in text:
        return "gemma"
    if _LFM_OPEN in text:
        return "lfm"
    if _LLAMA_TAG in text:
        return "llama"
    if _GPT_OSS_MESSAGE in text and _GPT_OSS_NAME.search(text):
        return "gpt_oss"
    _, opening, rest = text.partition(BLOCK_OPEN)
    body = rest.lstrip()
    if not opening or not body or body[0] in '{["':
        return None
    if body.startswith(_FUNCTION_OPEN):
        return "qwen"
    # Else the block of another format that was not finished.
    return "glm" if re.match(r"[\w.\-]+\s*(?:<arg_key>|</tool_call>)", body) else None


def tool_call_blocks(text: str) -> Iterator[str]:
    """Yield what stands in each `<tool_call>` block.

    Raises:
        ParseError: `FUN402`, a block is not closed, or not opened.
    """
    at = 0
    while True:
        start, end = text.find(BLOCK_OPEN, at), text.find(BLOCK_CLOSE, at)
        if start < 0 and end < 0:
            return
        body = text[start + len(BLOCK_OPEN) : end]
        if start < 0 or end < start or BLOCK_OPEN in body:
            raise _unclosed(BLOCK_OPEN, text[max(start, at) :])
        yield body
        at = end + len(BLOCK_CLOSE)


def parse_qwen(text: str, functions: Functions = ()) -> list[FunctionCall]:
    """Read `<function=f>` with `<parameter=a>` in every block."""
    calls = []
    for body in tool_call_blocks(check_text(text)):
        name, end, rest = body.strip().removeprefix(_FUNCTION_OPEN).partition(">")
        inner, closing, after = rest.rpartition(_FUNCTION_CLOSE)
        if not body.strip().startswith(_FUNCTION_OPEN) or not end or not closing or after.strip():
            raise _unclosed(_FUNCTION_OPEN, body)
        pairs = _tagged_pairs(inner, "<parameter=", ">", "</parameter>")
        texts = [(key, value.removeprefix("\n").removesuffix("\n")) for key, value in pairs]
        calls.append(_typed_call(name, texts, functions))
    return calls


def parse_glm(text: str, functions: Functions = ()) -> list[FunctionCall]:
    """Read a name with `<arg_key>` and `<arg_value>` in every block."""
    calls = []
    for body in tool_call_blocks(check_text(text)):
        name, opening, rest = body.strip().partition("<arg_key>")
        pairs = _tagged_pairs(opening + rest, "<arg_key>", "</arg_key>", "</arg_value>")
        texts = []
        for key, value in pairs:
            blank, value_opening, shown = value.partition("<arg_value>")
            if blank.strip() or not value_opening:
                raise _unclosed("<arg_value>", value)
            texts.append((key, shown))
        calls.append(_typed_call(name.strip(), texts, functions))
    return calls


def parse_gemma(text: str, _functions: Functions = ()) -> list[FunctionCall]:
    """Read `call:f{...}` between Gemma's tags, up to where results would stand."""
    rest = check_text(text)
    calls = []
    while _GEMMA_OPEN in rest and _GEMMA_RESPONSE not in rest.partition(_GEMMA_OPEN)[0]:
        body = rest.partition(_GEMMA_OPEN)[2].lstrip()
        name, opening, arguments = body.removeprefix("call:").partition("{")
        if not body.startswith("call:") or not opening:
            raise _unclosed(_GEMMA_OPEN, body)
        value, end = _gemma_value("{" + arguments, 0, 1)
        rest = arguments[end - 1 :].lstrip()
        if not rest.startswith(_GEMMA_CLOSE):
            raise _unclosed(_GEMMA_OPEN, body)
        rest = rest.removeprefix(_GEMMA_CLOSE)
        calls.append(call_from_json({"name": name.strip(), "arguments": value}))
    return calls


def parse_lfm(text: str, _functions: Functions = ()) -> list[FunctionCall]:
    """Read Python calls, or JSON, between LFM's tags; constants may be written as in JSON."""
    rest = check_text(text)
    calls: list[FunctionCall] = []
    while _LFM_OPEN in rest:
        body, closing, after = rest.partition(_LFM_OPEN)[2].partition(_LFM_CLOSE)
        if not closing:
            raise _unclosed(_LFM_OPEN, body)
        calls += _json_or_python(body.strip())
        rest = after
    return calls


def parse_llama(text: str, _functions: Functions = ()) -> list[FunctionCall]:
    """Read JSON or a Python call behind `<|python_tag|>`."""
    body = check_text(text).partition(_LLAMA_TAG)[2]
    return _json_or_python(re.split(r"<\|(?:eot|eom)_id\|>", body)[0].strip())


def parse_gpt_oss(text: str, _functions: Functions = ()) -> list[FunctionCall]:
    """Read the calls before the end of the turn, each with its name in a header."""
    shown = check_text(text).partition(_GPT_OSS_END)[0]
    calls = []
    for match in _GPT_OSS_NAME.finditer(shown):
        at = shown.find(_GPT_OSS_MESSAGE, match.end())
        if at < 0:
            raise _unclosed(match.group(), shown)
        at += len(_GPT_OSS_MESSAGE)
        at += len(shown[at:]) - len(shown[at:].lstrip())
        arguments, _ = load_json_prefix(shown, at)
        calls.append(call_from_json({"name": match.group(1), "arguments": arguments}))
    return calls


FORMS: dict[str, Callable[[str, Functions], list[FunctionCall]]] = {
    "qwen": parse_qwen,
    "glm": parse_glm,
    "gemma": parse_gemma,
    "lfm": parse_lfm,
    "llama": parse_llama,
    "gpt_oss": parse_gpt_oss,
}
"""Readers by form; each takes a text and the functions that were shown."""


def _json_or_python(text: str) -> list[FunctionCall]:
    if re.match(r"\[?\s*\{", text):
        value = load_json(text)
        return calls_from_json(value if isinstance(value, list) else [value])
    return parse_python_calls(text, has_json_constants=True)


def _tagged_pairs(text: str, opening: str, name_end: str, closing: str) -> list[tuple[str, str]]:
    """Return the names and texts of tags that follow each other with blanks between them."""
    pairs = []
    at = 0
    while text[at:].strip():
        start = text.find(opening, at)
        middle = text.find(name_end, start + len(opening))
        end = text.find(closing, middle + len(name_end))
        if start < 0 or middle < 0 or end < 0 or text[at:start].strip():
            raise _unclosed(opening, text[at:])
        name = text[start + len(opening) : middle]
        pairs.append((name, text[middle + len(name_end) : end]))
        at = end + len(closing)
    return pairs


def _typed_call(name: str, texts: Sequence[tuple[str, str]], functions: Functions) -> FunctionCall:
    """Return a call whose arguments are texts or JSON, as the function declares them."""
    declared: Mapping[str, Json] = {}
    for function in functions:
        parameters = function.get("parameters")
        if function.get("name") == name and isinstance(parameters, Mapping):
            properties = parameters.get("properties")
            declared = properties if isinstance(properties, Mapping) else {}
    arguments: dict[str, Json] = {}
    for key, text in texts:
        if key in arguments:
            raise ParseError("FUN104", f"argument {excerpt(key)} of {excerpt(name)} twice")
        arguments[key] = text if _is_text(declared.get(key)) else _literal(text)
    return call_from_json({"name": name, "arguments": arguments})


def _is_text(schema: Json) -> bool:
    """Return whether a schema allows nothing but texts."""
    if not isinstance(schema, Mapping):
        return False
    options = schema.get("enum")
    if "type" not in schema and isinstance(options, list):
        return all(isinstance(option, str) for option in options)
    return schema.get("type") == "string"


def _literal(text: str) -> Json:
    """Return the JSON value that `text` is; text in quotes, and any other, as it stands."""
    if text in _PYTHON_CONSTANTS:
        return _PYTHON_CONSTANTS[text]
    try:
        value = load_json(text)
    except ParseError:
        return text
    return text if isinstance(value, str) else value


def _gemma_value(text: str, at: int, depth: int) -> tuple[Json, int]:
    """Return the value that starts at `at`, and where it ends."""
    if depth > MAX_DEPTH:
        raise ParseError("FUN102", f"nested deeper than {MAX_DEPTH} levels")
    if text.startswith(_GEMMA_QUOTE, at):
        return _gemma_text(text, at)
    if text.startswith("{", at):
        return _gemma_members(text, at, "}", depth)
    if text.startswith("[", at):
        return _gemma_members(text, at, "]", depth)
    found = _GEMMA_SCALAR.match(text, at)
    if found is None:
        raise _unclosed(_GEMMA_OPEN, text[at:])
    return _literal(found.group().strip()), found.end()


def _gemma_members(text: str, at: int, closing: str, depth: int) -> tuple[Json, int]:
    members: list[Json] = []
    keys: dict[str, None] = {}
    at += 1
    while not text.startswith(closing, at):
        if members:
            if not text.startswith(",", at):
                raise _unclosed(_GEMMA_OPEN, text[at:])
            at += 1
        if closing == "}":
            key, at = _gemma_key(text, at)
            if key in keys:
                raise ParseError("FUN104", f"key {excerpt(key)} stands twice")
            keys[key] = None
        value, at = _gemma_value(text, at, depth + 1)
        members.append(value)
    is_object = closing == "}"
    value = cast("Json", dict(zip(keys, members, strict=True))) if is_object else members
    return value, at + 1


def _gemma_key(text: str, at: int) -> tuple[str, int]:
    if text.startswith(_GEMMA_QUOTE, at):
        key, at = _gemma_text(text, at)
        end = at
    else:
        end = text.find(":", at)
        key = text[at:end]
    if not text.startswith(":", end):
        raise _unclosed(_GEMMA_OPEN, text[at:])
    return key, end + 1


def _gemma_text(text: str, at: int) -> tuple[str, int]:
    start = at + len(_GEMMA_QUOTE)
    end = text.find(_GEMMA_QUOTE, start)
    if end < 0:
        raise _unclosed(_GEMMA_QUOTE, text[at:])
    return text[start:end], end + len(_GEMMA_QUOTE)


def _unclosed(tag: str, text: str) -> ParseError:
    return ParseError("FUN402", f"{tag} without its end: {excerpt(text)}")
