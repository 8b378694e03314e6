"""What a chat template has no place for, told in another message."""

from __future__ import annotations

from dataclasses import replace

from pipeline.errors import ChatError
from pipeline.functions.json_text import dump_json
from pipeline.functions.specs import specs_to_json
from pipeline.types import Conversation, Message

_FUNCTIONS_HEAD = "These functions can be called, one per line:"


def fold_system(conversation: Conversation) -> Conversation:
    """Return the conversation with its system message in front of the first user message.

    Raises:
        ChatError: There is no user message (CHT006).
    """
    system, *messages = conversation.messages
    for index, message in enumerate(messages):
        if message.role == "user":
            folded = replace(message, content=f"{system.content}\n\n{message.content}")
            return replace(
                conversation, messages=(*messages[:index], folded, *messages[index + 1 :])
            )
    raise ChatError(
        "CHT006",
        "a system message without a user message, and a chat template without system messages",
        where=conversation.key,
    )


def fold_tools(conversation: Conversation) -> Conversation:
    """Return the conversation with its functions as JSON lines in the system message."""
    lines = [dump_json(spec) for spec in specs_to_json(conversation.tools)]
    text = "\n".join([_FUNCTIONS_HEAD, *lines])
    first, *rest = conversation.messages
    if first.role != "system":
        first, rest = Message(role="system"), [first, *rest]
    content = f"{first.content}\n\n{text}" if first.content else text
    return replace(conversation, tools=(), messages=(replace(first, content=content), *rest))
