"""Conversations to token ids, many in one call of the fast tokenizer.

Texts are joined between control tokens before they are encoded, as the model's own tokenizer
does, so ordinary conversations get the ids of `apply_chat_template`. One border is added: the
start of an answer. The prompt is then encoded in training exactly as it is for generation.

What conversations of one shape share is laid out once: template text becomes ids there, and only
the runs of text that hold data are left to be encoded.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipeline.chat.dna import DNA_START, split_dna
from pipeline.chat.extension import label_token, task_token
from pipeline.chat.render import Skeleton, renderer_for
from pipeline.chat.slots import Occurrence
from pipeline.chat.vocabulary import TextEncoder, encoder_for
from pipeline.types import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True, slots=True)
class EncodedConversation:
    """Token ids of one conversation."""

    input_ids: list[int]
    loss_mask: list[bool]
    """True for answer tokens."""
    num_prompt_tokens: int
    """Tokens before the last trainable answer."""


@dataclass(frozen=True, slots=True)
class _Run:
    """Text between two control tokens or borders; some of it is data."""

    pieces: tuple[str | Occurrence, ...]
    has_prefix: bool
    trainable: bool


@dataclass(frozen=True, slots=True)
class _Fixed:
    """Ids that are the same in every conversation of a shape."""

    ids: list[int]
    trainable: bool


@dataclass(frozen=True, slots=True)
class _Layout:
    items: tuple[_Run | _Fixed, ...]
    num_prompt_items: int


_Text = tuple[str, bool]
"""A text that waits for its ids, and whether it may get a leading blank."""
_Parts = list[tuple[list[int] | _Text, bool]]
"""Ids, or texts that wait for theirs, each with whether it is trained on."""

_LAYOUTS: weakref.WeakKeyDictionary[Skeleton, _Layout] = weakref.WeakKeyDictionary()


def encode_conversations(
    conversations: Sequence[Conversation], tokenizer: PreTrainedTokenizerBase
) -> list[EncodedConversation]:
    """Return the ids of each conversation, whatever their number.

    Raises:
        ChatError: See `pipeline.chat.render.render_segments`; or content that is a control token
            in the model's own vocabulary (CHT008) or not Unicode (CHT012), or no way to end an
            answer (CHT011).
    """
    renderer, encoder = renderer_for(tokenizer), encoder_for(tokenizer)
    filled: list[tuple[_Parts, int]] = []
    waiting: dict[_Text, None] = {}
    for conversation in conversations:
        skeleton, texts = renderer.outline(conversation)
        layout = _LAYOUTS.get(skeleton)
        if layout is None:
            layout = _LAYOUTS[skeleton] = _lay_out(skeleton, encoder)
        parts, num_prompt_parts = _fill(layout, texts, encoder)
        task = encoder.token_id(task_token(conversation.task))
        if task is not None:
            parts.insert(num_prompt_parts, ([task], False))
            num_prompt_parts += 1
        filled.append((parts, num_prompt_parts))
        waiting.update((part, None) for part, _ in parts if isinstance(part, tuple))
    ids: dict[_Text, list[int]] = {}
    for has_prefix in (True, False):
        group = [text for text, prefix in waiting if prefix == has_prefix]
        if group:
            encoded = encoder.encode_texts(group, has_prefix=has_prefix)
            ids.update(zip(((text, has_prefix) for text in group), encoded, strict=True))
    return [_join(parts, num_prompt_parts, ids) for parts, num_prompt_parts in filled]


def _lay_out(skeleton: Skeleton, encoder: TextEncoder) -> _Layout:
    """Return control ids and runs of a skeleton, with runs of template text as ids."""
    items: list[_Run | _Fixed] = []
    pieces: list[str | Occurrence] = []
    trainable = False
    num_prompt_items: int | None = None

    def close_run() -> None:
        if not pieces:
            return
        follows_text = bool(items) and isinstance(items[-1], _Run)
        has_prefix = not follows_text and (not items or encoder.prefix_follows_controls)
        items.append(_Run(tuple(pieces), has_prefix, trainable))
        pieces.clear()

    for number, piece in enumerate(skeleton.pieces):
        is_prompt_end = number == skeleton.num_prompt_pieces
        if is_prompt_end or piece.trainable != trainable:
            close_run()
            trainable = piece.trainable
        if is_prompt_end:
            num_prompt_items = len(items)
        if piece.occurrence is not None:
            pieces.append(piece.occurrence)
            continue
        for part in encoder.split_template(piece.text):
            if isinstance(part, str):
                pieces.append(part)
            else:
                close_run()
                items.append(_Fixed([part], trainable))
    close_run()
    if skeleton.needs_eos:
        items.append(_Fixed([encoder.require_eos()], True))
    return _Layout(
        tuple(_fixed_if_possible(item, encoder) for item in items),
        len(items) if num_prompt_items is None else num_prompt_items,
    )


def _fixed_if_possible(item: _Run | _Fixed, encoder: TextEncoder) -> _Run | _Fixed:
    if isinstance(item, _Fixed):
        return item
    texts = [piece for piece in item.pieces if isinstance(piece, str)]
    if len(texts) < len(item.pieces):
        return item
    ids = encoder.encode_fixed("".join(texts), has_prefix=item.has_prefix)
    return _Fixed(ids, item.trainable)


def _fill(layout: _Layout, texts: Sequence[str], encoder: TextEncoder) -> tuple[_Parts, int]:
    """Return the parts of a conversation, and how many come before its last answer."""
    parts: _Parts = []
    num_prompt_parts = 0
    for number, item in enumerate(layout.items):
        if number == layout.num_prompt_items:
            num_prompt_parts = len(parts)
        if isinstance(item, _Fixed):
            parts.append((item.ids, item.trainable))
            continue
        pieces = [
            piece if isinstance(piece, str) else piece.fill(texts[piece.slot])
            for piece in item.pieces
        ]
        text = "".join(pieces)
        label = encoder.token_id(label_token(text.strip())) if item.trainable else None
        if label is not None:
            parts.append(([label], True))
        elif encoder.dna_unit is not None and DNA_START in text:
            found = _with_dna(item, pieces, encoder)
            parts.extend((part, item.trainable) for part in found)
        elif text:
            parts.append(((text, item.has_prefix), item.trainable))
    if layout.num_prompt_items >= len(layout.items):
        num_prompt_parts = len(parts)
    return parts, num_prompt_parts


def _with_dna(
    run: _Run, pieces: Sequence[str], encoder: TextEncoder
) -> Iterator[list[int] | _Text]:
    """Yield a run with the sequences in its data as unit tokens."""
    text, has_prefix = "", run.has_prefix
    for piece, source in zip(pieces, run.pieces, strict=True):
        is_data = isinstance(source, Occurrence)
        for part, is_dna in split_dna(piece) if is_data else [(piece, False)]:
            if not is_dna:
                text += part
                continue
            if text:
                yield text, has_prefix
            yield encoder.encode_sequence(part)
            text, has_prefix = "", encoder.prefix_follows_controls
    if text:
        yield text, has_prefix


def _join(parts: _Parts, num_prompt_parts: int, ids: dict[_Text, list[int]]) -> EncodedConversation:
    input_ids: list[int] = []
    loss_mask: list[bool] = []
    num_prompt_tokens = 0
    for number, (part, trainable) in enumerate(parts):
        if number == num_prompt_parts:
            num_prompt_tokens = len(input_ids)
        found = ids[part] if isinstance(part, tuple) else part
        input_ids += found
        loss_mask += [trainable] * len(found)
    if num_prompt_parts >= len(parts):
        num_prompt_tokens = len(input_ids)
    return EncodedConversation(input_ids, loss_mask, num_prompt_tokens)
