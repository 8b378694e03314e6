"""Conversations as requests of the chat completions protocol, and its answers as text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from eval.backends.http_client import ServerFailure
from pipeline.types import Conversation, FunctionCall, Json, Message


def chat_body(conversation: Conversation, *, model: str, max_new_tokens: int) -> dict[str, Json]:
    """Return the request for a greedy answer to all turns but the last, the gold answer."""
    body: dict[str, Json] = {
        "model": model,
        "messages": _messages(conversation.messages[:-1]),
        "max_tokens": max_new_tokens,
        "temperature": 0,
        "seed": 0,
    }
    if conversation.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": {
                    "name": spec.name,
                    "description": spec.description,
                    "parameters": spec.parameters,
                },
            }
            for spec in conversation.tools
        ]
    return body


def read_chat_answer(answer: Mapping[str, Any]) -> tuple[str, Literal["stop", "length"]]:
    """Return text and end of an answer; calls become one JSON object per line.

    Arguments that are no JSON stay as they are, so that they fail to parse and are counted.

    Raises:
        ServerFailure: It is no chat completion.
    """
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        content, calls = message.get("content"), message.get("tool_calls")
        reason: Literal["stop", "length"] = (
            "length" if choice.get("finish_reason") == "length" else "stop"
        )
        if calls:
            return "\n".join(_call_text(call["function"]) for call in calls), reason
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise ServerFailure("server_garbage", "no chat completion") from error
    if content is None:
        content = ""
    if not isinstance(content, str):
        raise ServerFailure("server_garbage", "the answer is no text")
    return content, reason


def _call_text(function: Mapping[str, Any]) -> str:
    name, arguments = json.dumps(function["name"], ensure_ascii=False), function["arguments"]
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f'{{"name": {name}, "arguments": {arguments or "{}"}}}'


def _messages(messages: Sequence[Message]) -> list[Json]:
    written: list[Json] = []
    open_calls: list[str] = []
    num_calls = 0
    for message in messages:
        item: dict[str, Json] = {"role": message.role, "content": message.content}
        if message.role == "tool":
            item["tool_call_id"] = open_calls.pop(0) if open_calls else "call00000"
        if message.name is not None:
            item["name"] = message.name
        if message.tool_calls:
            open_calls = [
                f"call{num_calls + place:05d}" for place in range(len(message.tool_calls))
            ]
            num_calls += len(message.tool_calls)
            calls = zip(open_calls, message.tool_calls, strict=True)
            item["tool_calls"] = [_call(call_id, call) for call_id, call in calls]
        written.append(item)
    return written


def _call(call_id: str, call: FunctionCall) -> Json:
    arguments = json.dumps(cast("Json", call.arguments), ensure_ascii=False)
    return {
        "id": call_id,
        "type": "function",
        "function": {"name": call.name, "arguments": arguments},
    }
