"""Calls and function specs out of the running text that some corpora keep them in.

Everything here reads text as data: nothing is executed, every reader is linear in its input, and
what cannot be read is a `ParseError`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import cast

from pipeline.errors import ParseError
from pipeline.functions.calls import calls_from_json
from pipeline.functions.dialects import parse_calls, without_thinking
from pipeline.functions.json_text import MAX_DEPTH, excerpt, load_json, load_json_prefix
from pipeline.functions.python_calls import parse_python_calls
from pipeline.functions.specs import specs_from_json
from pipeline.functions.template_calls import BLOCK_OPEN, detect_form, tool_call_blocks
from pipeline.types import FunctionCall, FunctionSpec, Json

MAX_CHARACTERS = 1 << 20
"""Longest text of a row that is read."""
MAX_TRIES = 20
"""Brackets at which JSON is looked for before a text counts as one without."""

_BRACKET = re.compile(r"[\[{](?=\s*[\[{\"])")
_NUMBERED = re.compile(r"^\s*\d{1,4}\. Name: (.+)$", re.MULTILINE)
_DOCUMENTED = re.compile(r"^([\w.\-]+): (.*)\nParameters: (?={)", re.MULTILINE)
_FIELD = re.compile(r"^\s*(Description|Input|Parameters|Output):[ \t]*", re.MULTILINE)
_TOP_PIECE = re.compile(r"\[(IN|SL):([A-Z0-9_]+)|\]|[^\s\[\]]+|\[")
_SPACED_START = re.compile(r"\[[^\[\](){}\"'=,\n]{1,200}\(")
_STRING_OR_SIGN = re.compile(
    r""""[^"\\]*+(?:\\.[^"\\]*+)*+"|'[^'\\]*+(?:\\.[^'\\]*+)*+'|[\[\](){},]""", re.DOTALL
)


def specs_in_text(text: str) -> list[FunctionSpec]:
    """Return the function specs that a prompt lists, none when it lists none.

    Read are a JSON list of specs (ToolACE, Hammer), JSON specs one after the other (Glaive), the
    numbered list `1. Name: ... Description: ... Parameters: {...}` (ToolRL), and
    `name: description` with `Parameters: {...}` on the next line (ToolAlpaca).

    Raises:
        ParseError: `FUN601` too long, or one of `specs_from_json`.
    """
    _check_length(text)
    numbered = list(_NUMBERED.finditer(text))
    if numbered:
        ends = [match.start() for match in numbered[1:]] + [len(text)]
        items = [
            _numbered_spec(match.group(1), text[match.end() : end])
            for match, end in zip(numbered, ends, strict=True)
        ]
        return specs_from_json(cast("Json", items))
    documented = list(_DOCUMENTED.finditer(text))
    if documented:
        return specs_from_json([_documented_spec(match, text) for match in documented])
    for match in _first_brackets(text):
        try:
            values = list(_values_from(text, match.start()))
            return specs_from_json(values[0] if isinstance(values[0], list) else values)
        except ParseError:
            continue
    return []


def calls_in_text(text: str) -> list[FunctionCall]:
    """Return the calls of an answer in any dialect; prose gives none.

    One `<tool_call>` block may hold several objects, one per line (ToolRL).

    Raises:
        ParseError: The calls cannot be read.
    """
    _check_length(text)
    if BLOCK_OPEN in text and detect_form(text) is None:
        blocks = tool_call_blocks(without_thinking(text))
        lines = [line for block in blocks for line in block.splitlines() if line.strip()]
        return calls_from_json([load_json(line, max_bytes=None) for line in lines])
    if _SPACED_START.match(text.strip()):
        return _spaced_calls(text.strip())
    return parse_calls(text)


def _spaced_calls(text: str) -> list[FunctionCall]:
    """Read `[Some Name(a=1), Other(b="x")]`, whose names Python cannot write (ToolACE)."""
    pieces = _split_calls(text[1:-1] if text.endswith("]") else text[1:])
    calls: list[FunctionCall] = []
    for piece in pieces:
        name, bracket, arguments = piece.partition("(")
        if not bracket or not name.strip():
            raise ParseError("FUN301", f"no call: {excerpt(piece)}")
        read = parse_python_calls(f"[f({arguments}]")
        calls.extend(replace(call, name=name.strip()) for call in read)
    return calls


def _split_calls(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets and quotes."""
    pieces, depth, start = [], 0, 0
    for match in _STRING_OR_SIGN.finditer(text):
        sign = match.group()
        depth += (sign in "([{") - (sign in ")]}")
        if sign == "," and depth == 0:
            pieces.append(text[start : match.start()])
            start = match.end()
    return [piece.strip() for piece in [*pieces, text[start:]]]


def top_calls(text: str) -> list[FunctionCall]:
    """Return the intents of a TOP parse as calls, the inner ones first.

    `[IN:A x [SL:S [IN:B [SL:T y ] ] ] ]` is `B(T="y")`, then `A(S="$var1$")`. A slot that holds
    words and an intent keeps the words around the reference; a slot that stands twice becomes a
    list. Source: TOPv2 (arXiv:2010.03546); the order is that of API-BLEND (arXiv:2402.15491).

    Raises:
        ParseError: `FUN601` too long, `FUN602` no balanced parse.
    """
    _check_length(text)
    calls: list[FunctionCall] = []
    # One entry per open bracket: kind, name, and what stands inside: slots or words.
    stack: list[tuple[str, str, dict[str, Json], list[str]]] = []
    for match in _TOP_PIECE.finditer(text):
        piece, kind = match.group(), match.group(1)
        if kind is not None:
            is_intent = kind == "IN"
            if (
                len(stack) >= MAX_DEPTH
                or (stack and (stack[-1][0] == kind))
                or not (stack or is_intent)
            ):
                raise _no_parse(text)
            stack.append((kind, match.group(2), {}, []))
        elif piece == "[" or not stack:
            raise _no_parse(text)
        elif piece == "]":
            _close(stack, calls)
        else:
            stack[-1][3].append(piece)
        if not stack and text[match.end() :].strip():
            raise _no_parse(text)
    if stack or not calls:
        raise _no_parse(text)
    return _labelled(calls)


def _close(
    stack: list[tuple[str, str, dict[str, Json], list[str]]], calls: list[FunctionCall]
) -> None:
    kind, name, slots, words = stack.pop()
    if kind == "IN":
        calls.append(FunctionCall(name=name, arguments=slots))
        if stack:
            stack[-1][3].append(f"$var{len(calls)}$")
        return
    value = " ".join(words)
    arguments = stack[-1][2]
    if name not in arguments:
        arguments[name] = value
        return
    earlier = arguments[name]
    arguments[name] = [*(earlier if isinstance(earlier, list) else [earlier]), value]


def _labelled(calls: list[FunctionCall]) -> list[FunctionCall]:
    """Label all but the last call, which nothing refers to."""
    return [
        FunctionCall(name=call.name, arguments=call.arguments, label=f"var{number}")
        if number < len(calls)
        else call
        for number, call in enumerate(calls, start=1)
    ]


def _documented_spec(match: re.Match[str], text: str) -> Json:
    parameters, _ = load_json_prefix(text, match.end())
    return {"name": match.group(1), "description": match.group(2), "parameters": parameters}


def _numbered_spec(name: str, body: str) -> dict[str, Json]:
    spec: dict[str, Json] = {"name": name.strip()}
    fields = list(_FIELD.finditer(body))
    ends = [match.start() for match in fields[1:]] + [len(body)]
    for match, end in zip(fields, ends, strict=False):
        value = body[match.end() : end].strip()
        if match.group(1) == "Description":
            spec.setdefault("description", value)
        elif match.group(1) in {"Input", "Parameters"} and "parameters" not in spec:
            spec["parameters"] = load_json_prefix(value)[0] if value.startswith("{") else {}
    return spec


def _first_brackets(text: str) -> Iterator[re.Match[str]]:
    for number, match in enumerate(_BRACKET.finditer(text)):
        if number >= MAX_TRIES:
            return
        yield match


def _values_from(text: str, start: int) -> Iterator[Json]:
    """Yield the JSON values that follow each other from `start`, with blanks between them."""
    position = start
    while True:
        value, position = load_json_prefix(text, position)
        yield value
        while position < len(text) and text[position].isspace():
            position += 1
        if text[position : position + 1] not in {"{", "["}:
            return


def _check_length(text: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise ParseError("FUN601", f"text of {len(text)} characters, at most {MAX_CHARACTERS}")


def _no_parse(text: str) -> ParseError:
    return ParseError("FUN602", f"no balanced parse of intents and slots: {excerpt(text)}")
