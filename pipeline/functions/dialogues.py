"""Dialogues with calls and results, from the forms of public corpora to one form.

A turn is `{role, content, tool_calls}` as in the messages of chat templates; `tool_calls` is null
where nobody calls. Nothing is executed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import cast

from pipeline.errors import ParseError, did_you_mean
from pipeline.functions.calls import calls_from_json, calls_to_json
from pipeline.functions.corpus_text import MAX_CHARACTERS, calls_in_text
from pipeline.functions.json_text import dump_json, excerpt
from pipeline.types import Json

Turn = dict[str, Json]

_GLAIVE_TURN = re.compile(r"^(USER|ASSISTANT|FUNCTION RESPONSE|SYSTEM):[ \t]*", re.MULTILINE)
_FENCED = re.compile(r"\A```.*```\Z", re.DOTALL)
_HAMMER_REQUEST = "Generate API Request:"
"""API-Bank's last line, after whoever spoke last; it asks for the calls."""
_GLAIVE_CALL = "<functioncall>"
_GLAIVE_ROLES = {"USER": "user", "ASSISTANT": "assistant", "SYSTEM": "system"}
_SHARE_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}


def read_dialogue(value: Json, form: str) -> list[Turn]:
    """Return the turns of one dialogue.

    Args:
        value: The dialogue as its corpus has it.
        form: A name in `FORMS`.

    Raises:
        ParseError: `FUN603` unknown form, `FUN604` a turn that the form does not have, or what
            reading its calls raises.
    """
    if form not in FORMS:
        raise ParseError("FUN603", f"unknown form {form!r}", hint=did_you_mean(form, FORMS))
    return [{"tool_calls": None, **turn} for turn in FORMS[form](value)]


def _glaive(value: Json) -> Iterator[Turn]:
    if not isinstance(value, str) or len(value) > MAX_CHARACTERS:
        raise _bad_turn(value)
    starts = list(_GLAIVE_TURN.finditer(value))
    if not starts:
        raise _bad_turn(value)
    ends = [match.start() for match in starts[1:]] + [len(value)]
    for match, end in zip(starts, ends, strict=True):
        text = value[match.end() : end].replace("<|endoftext|>", "").strip()
        speaker = match.group(1)
        if speaker == "FUNCTION RESPONSE":
            yield {"role": "tool", "content": text}
            continue
        said, marker, call = text.partition(_GLAIVE_CALL)
        turn: Turn = {"role": _GLAIVE_ROLES[speaker], "content": said.strip()}
        if marker:
            turn["tool_calls"] = calls_to_json(calls_from_json(call.strip()))
        yield turn


def _share(value: Json) -> Iterator[Turn]:
    for turn in _items(value):
        speaker, text = turn.get("from"), turn.get("value")
        if not isinstance(text, str) or not isinstance(speaker, str):
            raise _bad_turn(turn)
        if speaker == "function_call":
            yield {"role": "assistant", "content": "", **_called(text)}
        elif speaker in {"observation", "tool"}:
            yield {"role": "tool", "content": text}
        elif speaker in _SHARE_ROLES:
            yield {"role": _SHARE_ROLES[speaker], "content": text}
        else:
            raise _bad_turn(turn)


def _tool_ace(value: Json) -> Iterator[Turn]:
    for turn in _share(value):
        content = str(turn["content"])
        if turn["role"] == "assistant" and content.startswith("[") and content.endswith("]"):
            calls = calls_to_json(calls_in_text(content))
            yield {"role": "assistant", "content": "", "tool_calls": calls}
        else:
            yield turn


def _api_bank(value: Json) -> Iterator[Turn]:
    roles = {"User": "user", "AI": "assistant"}
    for turn in _items(value):
        role = str(turn.get("role"))
        if role == "API":
            result = turn.get("result")
            output = result.get("output") if isinstance(result, dict) else result
            yield {"role": "assistant", "content": "", **_called(turn)}
            yield {"role": "tool", "content": _text(output)}
        elif role in roles:
            yield {"role": roles[role], "content": _text(turn.get("text"))}
        else:
            raise _bad_turn(turn)


def _sgd(value: Json) -> Iterator[Turn]:
    for turn in _items(value):
        role = {"USER": "user", "SYSTEM": "assistant"}.get(str(turn.get("speaker")))
        if role is None:
            raise _bad_turn(turn)
        for frame in _items(turn.get("frames") or []):
            call = frame.get("service_call")
            if isinstance(call, dict):
                spelled = {"name": call.get("method"), "arguments": call.get("parameters")}
                yield {"role": "assistant", "content": "", **_called(cast("Json", spelled))}
                yield {"role": "tool", "content": _text(frame.get("service_results"))}
        yield {"role": role, "content": _text(turn.get("utterance"))}


def _messages(value: Json) -> Iterator[Turn]:
    roles = {"function": "tool", "agent": "assistant"}
    for turn in _items(value):
        role = str(turn.get("role"))
        role = roles.get(role, role)
        if role not in {"system", "user", "assistant", "tool"}:
            raise _bad_turn(turn)
        made: Turn = {"role": role, "content": _text(turn.get("content"))}
        calls = turn.get("tool_calls") or turn.get("function_call")
        if calls is not None:
            made.update(_called(calls))
        yield made


def _hammer(value: Json) -> Iterator[Turn]:
    """Yield chat messages whose calls are fenced text, and the request for calls as a user's."""
    turns: list[Turn] = []
    for turn in _messages(value):
        text = str(turn["content"])
        said = text.removesuffix(_HAMMER_REQUEST).rstrip()
        if turn["role"] == "assistant" and _FENCED.match(text):
            calls = calls_to_json(calls_in_text(text))
            turn = {"role": "assistant", "content": "", "tool_calls": calls}
        if said != text and turn["role"] != "user":
            _add(turns, {**turn, "content": said})
            turn = {"role": "user", "content": _HAMMER_REQUEST}
        _add(turns, turn)
    yield from turns


def _add(turns: list[Turn], turn: Turn) -> None:
    """Add a turn; what the assistant says and then calls is one turn."""
    last = turns[-1] if turns else {}
    is_one = last.get("role") == turn["role"] == "assistant" and not last.get("tool_calls")
    if not is_one:
        turns.append(turn)
        return
    texts = [str(part["content"]) for part in (last, turn) if part["content"]]
    turns[-1] = {**turn, "content": "\n".join(texts)}


FORMS: dict[str, Callable[[Json], Iterator[Turn]]] = {
    "glaive": _glaive,
    "share": _share,
    "toolace": _tool_ace,
    "api_bank": _api_bank,
    "sgd": _sgd,
    "messages": _messages,
    "hammer": _hammer,
}
"""Glaive's chat text, `from`/`value` turns, those of ToolACE, whose calls are Python text,
API-Bank, the turns of SGD, chat messages, and Hammer's, whose calls are fenced text."""


def _items(value: Json) -> list[dict[str, Json]]:
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise _bad_turn(value)
    return cast("list[dict[str, Json]]", value)


def _called(value: Json) -> dict[str, Json]:
    return {"tool_calls": calls_to_json(calls_from_json(value))}


def _text(value: Json) -> str:
    if isinstance(value, str):
        return value.strip()
    return "" if value is None else dump_json(value)


def _bad_turn(value: Json) -> ParseError:
    return ParseError("FUN604", f"no turn of this form: {excerpt(value)}")
