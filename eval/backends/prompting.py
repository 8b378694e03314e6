"""Requests as token ids, by the code that builds training rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from eval.backends.base import Prompt, Request
from pipeline.chat.call_reading import find_call_format
from pipeline.chat.encode import encode_conversations
from pipeline.chat.tokenise import ExampleTooLong, choice_ids, prompt_ids_many
from pipeline.errors import EvalError
from pipeline.types import Conversation

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_BLOCK = 512
"""Conversations per call of the tokenizer."""

_NUM_MEASURED = 64
"""Gold answers that are tokenised to find the longest: those with the most characters."""

ChoiceIds = tuple[tuple[int, ...], ...]


class PromptBuilder:
    """Builds prompts with one tokenizer; ids of repeated choices are kept."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, *, max_length: int) -> None:
        """Leave room for the answer within `max_length` tokens."""
        self._tokenizer = tokenizer
        self._max_length = max_length
        self._choice_ids: dict[tuple[object, ...], ChoiceIds] = {}

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return the tokens of the longest gold answer, its end of turn included."""
        conversations = [request.conversation for request in requests]
        conversations.sort(key=_answer_characters, reverse=True)
        encoded = encode_conversations(conversations[:_NUM_MEASURED], self._tokenizer)
        return max(len(item.input_ids) - item.num_prompt_tokens for item in encoded)

    def build(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the prompts in the order of the requests.

        Raises:
            ChatError: The chat template cannot show a conversation, or writes calls, which are
                asked for, in a format that cannot be read (CHT013).
            EvalError: The template gives a prompt without tokens (EVL030).
        """
        if any(request.conversation.messages[-1].tool_calls for request in requests):
            find_call_format(self._tokenizer)
        # A long limit must not starve the prompt; answers rarely need it.
        budget = max(self._max_length - max_new_tokens, self._max_length // 2)
        prompts: list[Prompt] = []
        for start in range(0, len(requests), _BLOCK):
            block = requests[start : start + _BLOCK]
            ids = self._prompt_ids([request.conversation for request in block], budget)
            prompts.extend(
                self._prompt(request, part, max_new_tokens)
                for request, part in zip(block, ids, strict=True)
            )
        return prompts

    def _prompt_ids(
        self, conversations: Sequence[Conversation], budget: int
    ) -> list[list[int] | None]:
        """Return the ids of each prompt, `None` for one that is too long without its context."""
        try:
            return [*prompt_ids_many(conversations, self._tokenizer, budget)]
        except ExampleTooLong:
            if len(conversations) == 1:
                return [None]
        middle = len(conversations) // 2
        return [
            *self._prompt_ids(conversations[:middle], budget),
            *self._prompt_ids(conversations[middle:], budget),
        ]

    def _prompt(self, request: Request, ids: list[int] | None, max_new_tokens: int) -> Prompt:
        input_ids = np.asarray(ids or [], dtype=np.int32)
        if ids is not None and not ids:
            raise EvalError(
                "EVL030",
                "the prompt has no tokens",
                where=request.conversation.key,
                hint="Check the tokenizer's chat template",
            )
        choices = self._choices(request) if request.choices else ()
        digest = hashlib.sha256(input_ids.tobytes())
        digest.update(json.dumps(choices).encode())
        if request.kind == "generate":
            # An answer that another limit cut off must not be taken for one of this limit.
            digest.update(json.dumps({"max_new_tokens": max_new_tokens}).encode())
        return Prompt(
            request=request,
            sha256=digest.hexdigest(),
            input_ids=input_ids,
            choice_ids=choices,
            is_too_long=ids is None,
        )

    def _choices(self, request: Request) -> ChoiceIds:
        conversation = request.conversation
        # An answer is encoded from its own start, so rows of one shape share the ids.
        roles = tuple(message.role for message in conversation.messages)
        key = (request.choices, roles, bool(conversation.tools))
        if key not in self._choice_ids:
            ids = choice_ids(conversation, self._tokenizer, request.choices)
            self._choice_ids[key] = _without_needless_ends(ids)
        return self._choice_ids[key]


def _answer_characters(conversation: Conversation) -> int:
    answer = conversation.messages[-1]
    calls = sum(len(call.name) + len(str(call.arguments)) for call in answer.tool_calls)
    return len(answer.content) + calls


def _without_needless_ends(choices: Sequence[Sequence[int]]) -> ChoiceIds:
    """Return the choices without their end token where they can be told apart without it.

    Choices of which one begins another (`yes`, `yes, often`) keep it: else the shorter one would
    always be the likelier.
    """
    bare = [tuple(ids[:-1]) for ids in choices]
    begins_another = any(
        first == second[: len(first)]
        for place, first in enumerate(bare)
        for other, second in enumerate(bare)
        if place != other
    )
    if begins_another or not all(bare):
        return tuple(tuple(ids) for ids in choices)
    return tuple(bare)
