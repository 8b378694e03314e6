"""Answers from a transformers model in this process, with or without a PEFT adapter.

The prompt is built by the code that builds training rows, so the model is asked in exactly the
form it was trained on. Decoding is greedy; a run repeats exactly on the same hardware.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from eval.backends.base import Prompt, Request
from eval.backends.decoding import choice_log_likelihoods, greedy_answers
from eval.backends.fingerprint import weights_sha256
from eval.backends.key_values import can_join
from eval.backends.prompting import PromptBuilder
from pipeline.chat.call_reading import find_call_format
from pipeline.chat.extension import plain_labels
from pipeline.chat.render import renderer_for
from pipeline.chat.tokenise import stop_token_ids
from pipeline.errors import ChatError, EvalError
from pipeline.types import Json, Prediction

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

DEFAULT_MAX_LENGTH = 4096
"""Tokens of prompt and answer together, where the model allows that many."""

_CPU_BATCH_TOKENS = 16_384
_GPU_BATCH_TOKENS = 65_536
_MAX_ROWS = 128
"""Rows answered together: what is lost at most when a run is killed, and what processes share."""


class TransformersBackend:
    """A `Backend` around a loaded model and its tokenizer."""

    neighbours_matter = True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        model_name: str,
        adapter_name: str | None = None,
        max_length: int | None = None,
        max_batch_tokens: int | None = None,
        is_transductive: bool = False,
    ) -> None:
        """Use `model` as it is: device, number format and adapters stay the caller's choice.

        Args:
            model: A causal language model, plain or wrapped by PEFT.
            tokenizer: Its tokenizer, with a chat template.
            model_name: Name for people to read.
            adapter_name: Name of the adapter on top of it, if any.
            max_length: Tokens of prompt and answer together; longer prompts lose context. `None`:
                what the model allows, at most `DEFAULT_MAX_LENGTH`.
            max_batch_tokens: Tokens of one batch, padding and answers included.
            is_transductive: Whether the adapter was fitted to test prompts; results then say so.
        """
        self._model = model
        self._is_transductive = is_transductive
        self._tokenizer = tokenizer
        self._model_name = model_name
        self._adapter_name = adapter_name
        self._max_length = max_length or _default_max_length(model)
        on_gpu = model.device.type == "cuda"
        self._max_batch_tokens = max_batch_tokens or (
            _GPU_BATCH_TOKENS if on_gpu else _CPU_BATCH_TOKENS
        )
        self._can_join = can_join(model.config)
        self._builder = PromptBuilder(tokenizer, max_length=self._max_length)
        self._stop_ids = _stop_ids(model, tokenizer)
        pad_id = tokenizer.pad_token_id
        self._pad_id = int(pad_id) if pad_id is not None else 0

    @property
    def model(self) -> PreTrainedModel:
        """The model that answers."""
        return self._model

    def describe(self) -> dict[str, Json]:
        """Return names, size, formats of numbers and calls, device, limits and a fingerprint."""
        parameters = list(self._model.parameters())
        return {
            "backend": "transformers",
            "model": self._model_name,
            "adapter": self._adapter_name,
            "num_parameters": sum(parameter.numel() for parameter in parameters),
            "dtype": str(self._model.dtype).removeprefix("torch."),
            "device": _device_name(self._model.device),
            "attention": getattr(self._model.config, "_attn_implementation", None),
            "decoding": "greedy",
            "max_length": self._max_length,
            "max_batch_tokens": self._max_batch_tokens,
            "stop_token_ids": [*sorted(self._stop_ids)],
            "weights_sha256": weights_sha256(self._model),
            "call_format": self._call_format(),
            **({"transductive": True} if self._is_transductive else {}),
        }

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return the tokens of the longest gold answer."""
        return self._builder.longest_gold_answer(requests)

    def prompts(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the requests as token ids."""
        return self._builder.build(requests, max_new_tokens=max_new_tokens)

    def batches(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[list[Prompt]]:
        """Return groups of similar length, longest first.

        A group is within the token budget, unless decoding takes up rows as others end.
        """
        ordered = sorted(prompts, key=lambda prompt: -len(prompt.input_ids))
        groups: list[list[Prompt]] = []
        room = 0
        for prompt in ordered:
            if room == 0 or _group(groups[-1][0]) != _group(prompt):
                room = _MAX_ROWS
                if not self._can_join:
                    extra = max_new_tokens if prompt.request.kind == "generate" else 0
                    width = len(prompt.input_ids) + extra
                    room = max(1, min(room, self._max_batch_tokens // max(1, width)))
                groups.append([])
            groups[-1].append(prompt)
            room -= 1
        return groups

    def generate(self, batch: Sequence[Prompt], *, max_new_tokens: int) -> list[Prediction]:
        """Return greedy answers as text; special tokens inside an answer stay visible."""

        def answer(part: Sequence[Prompt]) -> list[Prediction]:
            rooms = [self._max_length - len(prompt.input_ids) for prompt in part]
            found = greedy_answers(
                self._model,
                [prompt.input_ids for prompt in part],
                limits=[min(max_new_tokens, room) for room in rooms],
                stop_ids=self._stop_ids,
                pad_id=self._pad_id,
                max_batch_tokens=self._max_batch_tokens,
            )
            return [
                Prediction(
                    key=prompt.key,
                    text=self._decode(ids),
                    prompt_sha256=prompt.sha256,
                    finish_reason=reason,
                )
                for prompt, (ids, reason) in zip(part, found, strict=True)
            ]

        return self._run(answer, batch)

    def score_choices(self, batch: Sequence[Prompt]) -> list[Prediction]:
        """Return the choice of highest summed log-likelihood; ties go to the first."""

        def answer(part: Sequence[Prompt]) -> list[Prediction]:
            scores = choice_log_likelihoods(
                self._model,
                [prompt.input_ids for prompt in part],
                [prompt.choice_ids for prompt in part],
                pad_id=self._pad_id,
                max_batch_tokens=self._max_batch_tokens,
            )
            return [
                Prediction(
                    key=prompt.key,
                    text=prompt.request.choices[int(np.argmax(values))],
                    choice_log_likelihoods=tuple(values),
                    prompt_sha256=prompt.sha256,
                    finish_reason="choice",
                )
                for prompt, values in zip(part, scores, strict=True)
            ]

        return self._run(answer, batch)

    def _call_format(self) -> str | None:
        """Return the format of calls in the chat template, `None` where it has none."""
        try:
            return find_call_format(self._tokenizer)
        except ChatError:
            return None

    def _decode(self, ids: Sequence[int]) -> str:
        text = self._tokenizer.decode(
            list(ids), skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        # What the template has in front of every answer is no part of any.
        answer = str(text).removeprefix(renderer_for(self._tokenizer).answer_header)
        return plain_labels(answer, self._tokenizer)

    def _run(
        self, answer: Callable[[Sequence[Prompt]], list[Prediction]], batch: Sequence[Prompt]
    ) -> list[Prediction]:
        """Answer a batch; in halves where it does not fit into memory."""
        if batch[0].is_too_long:
            return [_no_answer(prompt) for prompt in batch]
        with _evaluation_mode(self._model, batch[0].request.conversation.task):
            try:
                return answer(batch)
            except torch.OutOfMemoryError as error:
                if len(batch) == 1:
                    raise EvalError(
                        "EVL031",
                        f"one prompt of {len(batch[0].input_ids)} tokens does not fit into memory",
                        where=batch[0].key,
                        hint="Lower max_length, or load the model in 4 bits",
                    ) from error
        torch.cuda.empty_cache()
        middle = len(batch) // 2
        return [*self._run(answer, batch[:middle]), *self._run(answer, batch[middle:])]


def _no_answer(prompt: Prompt) -> Prediction:
    return Prediction(key=prompt.key, text="", prompt_sha256=prompt.sha256, finish_reason="length")


def _group(prompt: Prompt) -> tuple[bool, str, str]:
    """Return what prompts of one batch have in common; adapters may differ by task."""
    return prompt.is_too_long, prompt.request.kind, prompt.request.conversation.task


def _stop_ids(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Return every token that ends an answer: the model's, the tokenizer's, the template's."""
    configured = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    known = [int(token) for token in listed if token is not None]
    return frozenset([*known, *stop_token_ids(tokenizer)])


def _default_max_length(model: PreTrainedModel) -> int:
    limit = getattr(model.config, "max_position_embeddings", None) or DEFAULT_MAX_LENGTH
    return min(int(limit), DEFAULT_MAX_LENGTH)


def _device_name(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


@contextlib.contextmanager
def _evaluation_mode(model: PreTrainedModel, task: str) -> Iterator[None]:
    """Switch dropout off, and back to what it was: the model may be in training.

    Adapters that know tasks are told `task`; for one they were not trained on they use only what
    their tasks share.
    """
    from pipeline.adapters.batch_tasks import active_task

    was_training = model.training
    model.eval()
    try:
        with active_task(model, task, or_none=True):
            yield
    finally:
        model.train(was_training)
