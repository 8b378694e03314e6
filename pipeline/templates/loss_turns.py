"""Which turns of a conversation are learned.

answers        the last assistant turn, where it is text
tool_calls     the last assistant turn, where it calls functions, in whatever format
earlier_turns  assistant turns of the history a row brings
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Literal

from pipeline.types import Conversation, Message, TaskExample, TaskSpec

LossTurns = Literal["answers", "tool_calls", "earlier_turns"]


def select_loss(
    conversation: Conversation,
    example: TaskExample,
    spec: TaskSpec,
    loss_on: Collection[LossTurns],
) -> Conversation:
    """Return the conversation with `trainable` set on the chosen turns and on no other.

    Args:
        conversation: As `render_conversation` made it: the answer is its last turn.
        example: What it was made of.
        spec: Its task.
        loss_on: Kinds of turns to learn.
    """
    last = len(conversation.messages) - 1

    def is_learned(position: int, message: Message) -> bool:
        if message.role != "assistant":
            return False
        if position < last:
            return "earlier_turns" in loss_on
        kind: LossTurns = "tool_calls" if _is_call(message, example, spec) else "answers"
        return message.trainable and kind in loss_on

    learned = [is_learned(*turn) for turn in enumerate(conversation.messages)]
    if learned == [message.trainable for message in conversation.messages]:
        return conversation
    messages = tuple(
        replace(message, trainable=is_trained)
        for message, is_trained in zip(conversation.messages, learned, strict=True)
    )
    return replace(conversation, messages=messages)


def _is_call(message: Message, example: TaskExample, spec: TaskSpec) -> bool:
    """Return whether a turn calls functions; in a dialect, calls are written as text."""
    are_calls_asked = (
        spec.kind == "function_calling" and spec.settings.get("granular", "calls") == "calls"
    )
    return bool(message.tool_calls) or (are_calls_asked and bool(example.target))
