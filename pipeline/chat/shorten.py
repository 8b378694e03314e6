"""What may be cut from a conversation that is too long, and nothing else.

The context of a prompt is its longest field: lines that start `Name: value`, or the longest
line where there are no fields. Never cut are what a style marks as kept (the instruction), the
first line of several where nothing is marked, the fields `Question` and `Options` beside others,
lettered options, and every assistant and system message. Cuts fall between words; in a DNA
sequence between bases, inside its markers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.chat.dna import DNA_SPAN
from pipeline.types import ContextSide, Conversation, Message

_FIELD = re.compile(r"(?P<name>[A-Z][A-Za-z0-9 _-]{0,40}):(?: |$)")
_OPTION = re.compile(r"[A-Z][.)] ")
_KEPT_FIELDS = frozenset(("question", "options", "answer", "instruction", "task"))
_SNAP_CHARACTERS = 24


@dataclass(frozen=True, slots=True)
class ContextSpan:
    """A stretch of a message that may be cut."""

    message: int
    start: int
    end: int
    is_sequence: bool
    """Whether it is a DNA sequence, to be cut at any base."""


def find_contexts(conversation: Conversation) -> list[ContextSpan]:
    """Return the cuttable stretches of user and tool messages, longest first."""
    spans = [
        span
        for index, message in enumerate(conversation.messages)
        if message.role in ("user", "tool")
        for span in _find_in_message(message, index)
    ]
    return sorted(spans, key=lambda span: span.start - span.end)


def shorten(
    conversation: Conversation,
    num_tokens: int,
    *,
    token_spans: Callable[[str, bool], list[tuple[int, int]]],
) -> Conversation | None:
    """Return the conversation with about `num_tokens` tokens of its longest context cut.

    Args:
        conversation: Not changed.
        num_tokens: How many tokens should go; fewer go when the context holds fewer.
        token_spans: Returns the character range of each token of a text; the flag tells
            whether the text is a DNA sequence.

    Returns:
        A conversation with less context, or `None` when nothing is left to cut.
    """
    side = conversation.context_side
    for span in find_contexts(conversation) if side != "none" else ():
        message = conversation.messages[span.message]
        text = message.content[span.start : span.end]
        kept = _cut(
            text,
            token_spans(text, span.is_sequence),
            num_tokens=num_tokens,
            side=side,
            is_sequence=span.is_sequence,
        )
        if len(kept) < len(text):
            content = message.content[: span.start] + kept + message.content[span.end :]
            messages = list(conversation.messages)
            messages[span.message] = replace(message, content=content)
            return replace(conversation, messages=tuple(messages))
    return None


def _find_in_message(message: Message, index: int) -> list[ContextSpan]:
    spans = []
    for start, end in _blocks(message.content[message.num_kept :]):
        start, end = start + message.num_kept, end + message.num_kept
        text = message.content[start:end]
        start += len(text) - len(text.lstrip("\n"))
        sequence = DNA_SPAN.fullmatch(message.content, start, end)
        if sequence:
            spans.append(ContextSpan(index, sequence.start(1), sequence.end(1), True))
        elif text.strip():
            spans.append(ContextSpan(index, start, end, False))
    return spans


def _blocks(content: str) -> list[tuple[int, int]]:
    """Return the ranges of what may be cut of one message."""
    lines: list[tuple[int, int]] = []
    start = 0
    for line in content.split("\n"):
        lines.append((start, start + len(line)))
        start += len(line) + 1
    if len(lines) == 1:
        field = _FIELD.match(content)
        return [(field.end() if field else 0, len(content))]
    return _field_values(content, lines) or [_main_stretch(_without_options(content, lines))]


def _field_values(content: str, lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    blocks: list[tuple[int, int]] = []
    is_open = False
    for start, end in lines:
        line = content[start:end]
        field = _FIELD.match(line)
        if field:
            is_open = field["name"].lower() not in _KEPT_FIELDS
            if is_open:
                blocks.append((start + field.end(), end))
        elif _OPTION.match(line):
            is_open = False
        elif is_open:
            blocks[-1] = (blocks[-1][0], end)
    return blocks


def _without_options(content: str, lines: list[tuple[int, int]]) -> list[tuple[int, int]]:
    options = (_OPTION.match(content[start:end]) for start, end in lines)
    kept = [line for line, option in zip(lines, options, strict=True) if not option]
    return kept or lines


def _main_stretch(lines: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the longest line, or all between the first and the last where they are short."""
    longest = max(lines, key=lambda line: line[1] - line[0])
    is_most = 2 * (longest[1] - longest[0]) > lines[-1][1]
    return longest if is_most or len(lines) == 2 else (lines[1][0], lines[-2][1])


def _cut(
    text: str,
    spans: list[tuple[int, int]],
    *,
    num_tokens: int,
    side: ContextSide,
    is_sequence: bool,
) -> str:
    """Return `text` without `num_tokens` of its tokens, given the range of each."""
    num_kept = max(0, len(spans) - num_tokens)
    if num_kept == 0:
        return ""
    skipped = {"left": num_tokens, "both": num_tokens // 2}.get(side, 0)
    start, end = spans[skipped][0], spans[skipped + num_kept - 1][1]
    if not is_sequence:
        start, end = _snap_start(text, start), _snap_end(text, end)
    return text[start:end]


def _snap_start(text: str, start: int) -> int:
    """Move the start of the kept text behind the next blank, if one is near."""
    if start == 0 or text[start - 1].isspace():
        return start
    for position in range(start, min(start + _SNAP_CHARACTERS, len(text))):
        if text[position].isspace():
            return position + 1
    return start


def _snap_end(text: str, end: int) -> int:
    """Move the end of the kept text before the last blank, if one is near."""
    if end == len(text) or text[end].isspace():
        return end
    for position in range(end, max(end - _SNAP_CHARACTERS, 0), -1):
        if text[position - 1].isspace():
            return position - 1
    return end
