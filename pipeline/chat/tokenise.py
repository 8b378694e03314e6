"""Conversations to examples that fit a length, prompts for generation, and answers to score.

The loss mask comes from the segments, so it covers answers and the ends of their turns exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pipeline.chat.dna import unit_spans
from pipeline.chat.encode import EncodedConversation, encode_conversations
from pipeline.chat.render import renderer_for
from pipeline.chat.shorten import shorten
from pipeline.chat.vocabulary import encoder_for
from pipeline.errors import ChatError
from pipeline.types import Conversation, Message, TokenizedExample

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


class ExampleTooLong(ChatError):
    """A conversation whose answer, instruction and question alone exceed the length."""


def tokenise_conversation(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    task_index: int,
    max_length: int | None,
) -> TokenizedExample:
    """Return a conversation as ids, trained on its answers and the ends of their turns.

    Args:
        conversation: At least one message; `trainable` marks the answers.
        tokenizer: Has a chat template and a fast backend.
        task_index: Goes into the example.
        max_length: Most tokens; `None` for no limit. What is cut is told in `shorten`.

    Raises:
        ExampleTooLong: The conversation without its context is too long still (CHT007).
        ChatError: See `render_segments`.
    """
    result = tokenise_many(
        [conversation],
        tokenizer,
        task_index=task_index,
        max_length=max_length,
    )[0]
    if isinstance(result, ExampleTooLong):
        raise result
    return result


def tokenise_many(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    *,
    task_index: int,
    max_length: int | None,
) -> list[TokenizedExample | ExampleTooLong]:
    """Return what `tokenise_conversation` does for each, or the error for one too long.

    A few hundred conversations per call make good use of the tokenizer.

    Raises:
        ChatError: See `render_segments`.
    """
    examples: list[TokenizedExample | ExampleTooLong] = []
    encodings = encode_conversations(conversations, tokenizer)
    for conversation, encoded in zip(conversations, encodings, strict=True):
        length = len(encoded.input_ids)
        if max_length is not None and length > max_length:
            try:
                encoded = _fit(
                    conversation,
                    tokenizer,
                    encoded,
                    max_length=max_length,
                )
            except ExampleTooLong as error:
                examples.append(error)
                continue
        examples.append(
            TokenizedExample(
                key=conversation.key,
                task=conversation.task,
                task_index=task_index,
                input_ids=np.array(encoded.input_ids, dtype=np.int32),
                loss_mask=np.array(encoded.loss_mask, dtype=np.bool_),
                num_truncated=length - len(encoded.input_ids),
            )
        )
    return examples


def prompt_ids(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
) -> list[int]:
    """Return the ids before the last trainable answer, with the generation prompt.

    They are an exact prefix of the ids `tokenise_conversation` gives for the same conversation,
    unless one of the two had to be shortened.

    Args:
        conversation: Without a trainable message, the prompt is the whole conversation.
        tokenizer: Has a chat template and a fast backend.
        max_length: Most tokens of the prompt alone.

    Raises:
        ExampleTooLong: The prompt without its context is too long still (CHT007).
        ChatError: See `render_segments`.
    """
    prompts = prompt_ids_many([conversation], tokenizer, max_length)
    return prompts[0]


def prompt_ids_many(
    conversations: Sequence[Conversation],
    tokenizer: PreTrainedTokenizerBase,
    max_length: int | None = None,
) -> list[list[int]]:
    """Return `prompt_ids` of each conversation; one call encodes them all.

    Raises:
        ExampleTooLong: A prompt without its context is too long still (CHT007).
        ChatError: See `render_segments`.
    """
    prompts = []
    questions = [_with_answer(conversation, "") for conversation in conversations]
    for question, encoded in zip(
        questions, encode_conversations(questions, tokenizer), strict=True
    ):
        if max_length is not None and encoded.num_prompt_tokens > max_length:
            encoded = _fit(
                question,
                tokenizer,
                encoded,
                max_length=max_length,
                of_prompt=True,
            )
        prompts.append(encoded.input_ids[: encoded.num_prompt_tokens])
    return prompts


def answer_ids(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, text: str
) -> list[int]:
    """Return the ids of `text` as the answer: what follows `prompt_ids`, end of turn included.

    Raises:
        ChatError: See `render_segments`.
    """
    return choice_ids(conversation, tokenizer, [text])[0]


def choice_ids(
    conversation: Conversation, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
) -> list[list[int]]:
    """Return `answer_ids` of each candidate answer.

    Raises:
        ChatError: See `render_segments`.
    """
    candidates = [_with_answer(conversation, text) for text in texts]
    chosen = []
    for encoded in encode_conversations(candidates, tokenizer):
        answer = zip(
            encoded.input_ids[encoded.num_prompt_tokens :],
            encoded.loss_mask[encoded.num_prompt_tokens :],
            strict=True,
        )
        chosen.append([token_id for token_id, is_answer in answer if is_answer])
    return chosen


def stop_token_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """Return the ids that end an answer: the template's end of turn and EOS, without repeats.

    Raises:
        ChatError: See `render_segments`.
    """
    parts = encoder_for(tokenizer).split_template(renderer_for(tokenizer).end_of_turn)
    ids = [part for part in parts if isinstance(part, int)][-1:]
    if tokenizer.eos_token_id is not None:
        ids.append(tokenizer.eos_token_id)
    return list(dict.fromkeys(ids))


def _with_answer(conversation: Conversation, text: str) -> Conversation:
    """Return the conversation up to its last trainable message, which now reads `text`."""
    last = max(
        (i for i, message in enumerate(conversation.messages) if message.trainable),
        default=len(conversation.messages),
    )
    answer = Message(role="assistant", content=text, trainable=True)
    return replace(conversation, messages=(*conversation.messages[:last], answer))


def _fit(
    conversation: Conversation,
    tokenizer: PreTrainedTokenizerBase,
    encoded: EncodedConversation,
    *,
    max_length: int,
    of_prompt: bool = False,
) -> EncodedConversation:
    """Cut context until the conversation, or its prompt, has at most `max_length` tokens.

    Raises:
        ExampleTooLong: No context is left to cut.
    """
    encoder = encoder_for(tokenizer)

    def token_spans(text: str, is_sequence: bool) -> list[tuple[int, int]]:
        if is_sequence and encoder.dna_unit is not None:
            return unit_spans(text, encoder.dna_unit, encoder.dna_merges)
        return encoder.token_spans(text)

    shorter: Conversation | None = conversation
    length = encoded.num_prompt_tokens if of_prompt else len(encoded.input_ids)
    while length > max_length:
        assert shorter is not None
        shorter = shorten(shorter, length - max_length, token_spans=token_spans)
        if shorter is None:
            raise ExampleTooLong(
                "CHT007",
                f"{length} tokens without context, at most {max_length} fit",
                where=conversation.key,
                hint="Raise max_length",
            )
        encoded = encode_conversations([shorter], tokenizer)[0]
        length = encoded.num_prompt_tokens if of_prompt else len(encoded.input_ids)
    return encoded
