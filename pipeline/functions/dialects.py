"""Text formats of function calls, each with a renderer and a parser that undo each other.

Parsing never casts a value and never executes anything. What a format means by "no call" parses
to an empty list; text that starts a call and does not finish it raises `ParseError`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.errors import ParseError, did_you_mean
from pipeline.functions.calls import call_from_json, call_to_json, calls_from_json, calls_to_json
from pipeline.functions.json_text import check_text, dump_json, excerpt, load_json, load_json_prefix
from pipeline.functions.python_calls import parse_python_calls, render_python_calls
from pipeline.functions.template_calls import (
    BLOCK_CLOSE,
    BLOCK_OPEN,
    FORMS,
    Functions,
    detect_form,
    tool_call_blocks,
)
from pipeline.types import FunctionCall, Json

NO_FUNCTION = "no_function"
"""Name that Granite calls to say that no function fits."""

NO_CALL = "None"
"""What stands for no call where a format has no sign of its own: the empty answer of all tasks."""

_GRANITE_OPEN = "<function_call>"
_END_OF_TEXT = "<|endoftext|>"
_THINKING_OPEN, _THINKING_CLOSE = "<think>", "</think>"
_FENCE = re.compile(r"\A```(?:json)?\s*\n?(.*?)\s*```\Z", re.DOTALL)
_JSON_START = re.compile(r'\A(?:\[\s*[\[{\]"]|\{\s*["}])')
# A blank before the bracket is usual in prose, so there an argument must have its name.
_PYTHON_START = re.compile(
    r"\A\[?\s*(?:[A-Za-z_]\w*\s*:=\s*)?[A-Za-z_][\w.]*"
    r"(?:\(|\s+\(\s*(?:\)|\*\*\s*\{|[A-Za-z_]\w*\s*=(?!=)))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One text format of function calls."""

    name: str
    description: str
    render: Callable[[Sequence[FunctionCall]], str]
    """Calls to text; no calls give what the format says for "no call"."""
    parse: Callable[[str], list[FunctionCall]]
    """Text to calls; raises `ParseError`."""


def without_thinking(text: str) -> str:
    """Return an answer without a first part of thinking.

    Its start may be missing, as some chat templates open it at the end of the prompt; a line then
    ends before or after its end, which tells it from an argument that holds the tag.
    """
    before, closing, answer = text.partition(_THINKING_CLOSE)
    if closing and before.lstrip().startswith(_THINKING_OPEN):
        return answer
    ends_line = before.endswith("\n") or answer[:1] in {"", "\n"}
    return answer if closing and ends_line and _THINKING_OPEN not in before else text


def parse_calls(
    text: str, dialect: str = "auto", *, functions: Functions = ()
) -> list[FunctionCall]:
    """Read the calls in a model's answer.

    Args:
        text: The answer.
        dialect: A name in `DIALECTS` or `FORMS`, or `auto`: see `detect_dialect`. With `auto`,
            text in no dialect is an answer without calls.
        functions: What the model was shown; forms without quotes tell a text from a number by it.

    Raises:
        ParseError: `FUN401` unknown dialect, else why the text is malformed.
    """
    if dialect == "auto":
        found = detect_dialect(text)
        return [] if found is None else parse_calls(text, found, functions=functions)
    if dialect in FORMS:
        return FORMS[dialect](without_thinking(text), functions)
    if dialect not in DIALECTS:
        raise ParseError(
            "FUN401",
            f"unknown dialect {excerpt(dialect)}",
            hint=did_you_mean(dialect, [*DIALECTS, "auto"]),
        )
    return DIALECTS[dialect].parse(text)


def detect_dialect(text: str) -> str | None:
    """Return the dialect that the signs of `text` point to, or `None` for plain prose.

    The order is fixed: a start like `f(` or `[f(` is `python`; a fence around JSON is `xlam`; a
    start like `[{` or `{"` is `json`, whatever tags stand in its texts; the tags of a form of
    `template_calls`; a `<tool_call>` tag is `hermes`; a `<function_call>` tag is `granite`; another
    start with `[` or `{` is `json`. Nothing is tried and taken back.
    """
    stripped = text.strip()
    if _PYTHON_START.match(stripped):
        return "python"
    if _FENCE.match(stripped):
        return "xlam"
    if _JSON_START.match(stripped):
        return "json"
    form = detect_form(text)
    if form is not None:
        return form
    if BLOCK_OPEN in text:
        return "hermes"
    if _GRANITE_OPEN in text:
        return "granite"
    return "json" if stripped.startswith(("[", "{")) else None


def render_json(calls: Sequence[FunctionCall]) -> str:
    """Return one object per line, or `[]`."""
    return "\n".join(dump_json(call_to_json(call)) for call in calls) or "[]"


def parse_json(text: str) -> list[FunctionCall]:
    """Read objects that follow each other, or one list; text without brackets holds no call."""
    stripped = check_text(text)
    if not re.search(r"[\[{]", stripped):
        return []
    if stripped.startswith("["):
        return calls_from_json(load_json(stripped))
    items: list[Json] = []
    position = 0
    while position < len(stripped):
        if stripped[position] != "{":
            raise _stray_text(stripped[position:])
        value, position = load_json_prefix(stripped, position)
        items.append(value)
        while position < len(stripped) and stripped[position].isspace():
            position += 1
    return calls_from_json(items)


def render_hermes(calls: Sequence[FunctionCall]) -> str:
    """Return one `<tool_call>` block per call, or a word that says that there is none."""
    blocks = "\n".join(
        f"{BLOCK_OPEN}\n{_escape_tags(dump_json(call_to_json(call)))}\n{BLOCK_CLOSE}"
        for call in calls
    )
    return blocks or NO_CALL


def parse_hermes(text: str) -> list[FunctionCall]:
    """Read every `<tool_call>` block; prose around them and a first `<think>` part are allowed."""
    items = [load_json(body) for body in tool_call_blocks(without_thinking(check_text(text)))]
    return calls_from_json([_only_object(item) for item in items])


def render_granite(calls: Sequence[FunctionCall]) -> str:
    """Return one tagged object per line, or a call of `no_function`."""
    shown = calls or [FunctionCall(name=NO_FUNCTION, arguments={})]
    return "\n".join(
        f"{_GRANITE_OPEN} {_escape_tags(dump_json(call_to_json(call)))}" for call in shown
    )


def parse_granite(text: str) -> list[FunctionCall]:
    """Read what follows each `<function_call>` tag; prose before the first is allowed."""
    chunks = check_text(text).removesuffix(_END_OF_TEXT).split(_GRANITE_OPEN)
    calls = calls_from_json([_only_object(load_json(chunk)) for chunk in chunks[1:]])
    return [call for call in calls if call.name != NO_FUNCTION]


def render_xlam(calls: Sequence[FunctionCall]) -> str:
    """Return one JSON list."""
    return dump_json(calls_to_json(calls))


def parse_xlam(text: str) -> list[FunctionCall]:
    """Read one JSON list or object, with or without a fence; without brackets there is no call."""
    stripped = check_text(text)
    fenced = _FENCE.match(stripped)
    body = fenced.group(1) if fenced else stripped
    if not re.search(r"[\[{]", body):
        return []
    read = load_json(body)
    value = [read] if isinstance(read, dict) else read
    if not isinstance(value, list):
        raise ParseError("FUN301", f"the calls must be a JSON list: {excerpt(body)}")
    return calls_from_json([_only_object(item) for item in value])


def _escape_tags(text: str) -> str:
    """Write `<` in JSON so that no argument can open or close a block."""
    return text.replace("<", "\\u003c")


def _only_object(value: Json) -> Json:
    if not isinstance(value, dict):
        raise ParseError("FUN301", f"a call must be an object, got {excerpt(value)}")
    call_from_json(value)
    return value


def _stray_text(text: str) -> ParseError:
    return ParseError("FUN403", f"text outside of the calls: {excerpt(text)}")


DIALECTS: dict[str, Dialect] = {
    "json": Dialect(
        name="json",
        description="One JSON object per line, or one JSON list",
        render=render_json,
        parse=parse_json,
    ),
    "hermes": Dialect(
        name="hermes",
        description="<tool_call> blocks, as Hermes and Qwen write them",
        render=render_hermes,
        parse=parse_hermes,
    ),
    "granite": Dialect(
        name="granite",
        description="<function_call> in front of each JSON object",
        render=render_granite,
        parse=parse_granite,
    ),
    "xlam": Dialect(
        name="xlam",
        description="One JSON list, as xLAM and Hammer write it",
        render=render_xlam,
        parse=parse_xlam,
    ),
    "python": Dialect(
        name="python",
        description="A list of Python calls with keyword arguments",
        render=render_python_calls,
        parse=parse_python_calls,
    ),
}
"""All formats by name."""
