"""Full-parameter training of the embedded base on exercises: batches, schedule, one loop."""

# B rows, T tokens, V vocabulary, H hidden size.

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain, islice

import torch
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from pipeline.models.embedded.settings import BaseSettings
from pipeline.models.embedded.text import Exercise, exercises
from pipeline.models.embedded.tokenizer import ASSISTANT, END, USER
from pipeline.types import IGNORE_INDEX

CHUNK_SIZE = 768
"""Exercises that are sorted by length together, so that batches hold little padding."""
SHORT_LISTS, LONG_LISTS = 2, 4
"""Largest number of things in a list in the first and in the later part of the training."""

_DNA_SEGMENT = re.compile("<dna>([ACGT]+)</dna>")


@dataclass(frozen=True, slots=True)
class EncodedExercise:
    """Token ids of a prompt with its answer."""

    input_ids: list[int]
    num_prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded rows; all tensors have shape `[B, T]`."""

    input_ids: Tensor
    labels: Tensor
    weights: Tensor
    """Loss weight of each token, 0 on padding."""


def train_base(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    settings: BaseSettings,
    *,
    on_step: Callable[[int, float], None],
) -> None:
    """Train `model` in place for `settings.num_steps` steps.

    Args:
        model: Model after the structured start, in float32.
        tokenizer: The embedded tokenizer.
        settings: Schedule and batch size.
        on_step: Called after every step with its number, counted from 1, and its loss.
    """
    train_on(model, exercise_batches(tokenizer, settings), settings, on_step=on_step)


def train_on(
    model: LlamaForCausalLM,
    batches: Iterator[Batch],
    settings: BaseSettings,
    *,
    on_step: Callable[[int, float], None],
    in_bfloat16: bool = False,
) -> None:
    """Train `model` in place on the first `settings.num_steps` of `batches`.

    Args:
        model: Model in float32.
        batches: What each step reads.
        settings: Number of steps and learning rates.
        on_step: Called after every step with its number, counted from 1, and its loss.
        in_bfloat16: Compute the forward pass in bfloat16; weights and optimizer stay float32.
    """
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98), weight_decay=0.0
    )
    model.train()
    for step, batch in enumerate(islice(batches, settings.num_steps)):
        for group in optimizer.param_groups:
            group["lr"] = settings.learning_rate * rate_factor(step, settings)
        # Left after each pass, because autocast keeps its casts of the weights until then.
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=in_bfloat16):
            loss = _weighted_loss(model, batch)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it unannotated
        _keep_absent_rows(model, batch)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        on_step(step + 1, float(loss.detach()))
    model.eval()


def rate_factor(step: int, settings: BaseSettings) -> float:
    """Return the learning rate at 0-based `step` as a fraction of its peak."""
    if step < settings.num_warmup_steps:
        return (step + 1) / settings.num_warmup_steps
    start = settings.num_steps * settings.flat_fraction
    if step < start:
        return 1.0
    done = (step - start) / max(1.0, settings.num_steps - start)
    return 1.0 - done * (1.0 - settings.final_rate_fraction)


def encode_exercise(tokenizer: PreTrainedTokenizerFast, exercise: Exercise) -> EncodedExercise:
    """Return the ids of one exercise as the chat template renders it, up to the end token."""
    prompt = _with_units(f"{USER}\n{exercise.prompt}{END}\n{ASSISTANT}\n")
    answer = _with_units(f"{exercise.answer}{END}")
    encode = tokenizer.backend_tokenizer.encode
    prompt_ids = encode(prompt).ids
    return EncodedExercise(prompt_ids + encode(answer).ids, len(prompt_ids))


def collate(group: list[EncodedExercise], *, pad_token_id: int, prompt_weight: float) -> Batch:
    """Return `group` as one right-padded batch."""
    shape = (len(group), max(len(item.input_ids) for item in group))
    batch = Batch(
        torch.full(shape, pad_token_id), torch.full(shape, IGNORE_INDEX), torch.zeros(shape)
    )
    for row, item in enumerate(group):
        length = len(item.input_ids)
        batch.input_ids[row, :length] = torch.tensor(item.input_ids)
        batch.labels[row, :length] = batch.input_ids[row, :length]
        batch.weights[row, : item.num_prompt_tokens] = prompt_weight
        batch.weights[row, item.num_prompt_tokens : length] = 1.0
    return batch


def collate_texts(texts: list[list[int]], *, pad_token_id: int) -> Batch:
    """Return token ids of texts as one right-padded batch in which every token is learned."""
    return collate(
        [EncodedExercise(ids, 0) for ids in texts], pad_token_id=pad_token_id, prompt_weight=1.0
    )


def _with_units(text: str) -> str:
    """Write every base of a DNA segment as the 3-mer that starts there; the last two alone."""

    def units(match: re.Match[str]) -> str:
        bases = match[1]
        kmers = [
            bases[index : index + 3] if index + 3 <= len(bases) else bases[index]
            for index in range(len(bases))
        ]
        return "<dna>" + "".join(f"<dna_{kmer}>" for kmer in kmers) + "</dna>"

    return _DNA_SEGMENT.sub(units, text)


def exercise_batches(tokenizer: PreTrainedTokenizerFast, settings: BaseSettings) -> Iterator[Batch]:
    """Yield batches of exercises without end: short lists first, longer ones after."""
    num_short_steps = int(settings.num_steps * settings.short_list_fraction)
    short, long = (
        _batches(tokenizer, settings, exercises(settings.seed + index, longest=longest))
        for index, longest in enumerate((SHORT_LISTS, LONG_LISTS))
    )
    return chain(islice(short, num_short_steps), long)


def _batches(
    tokenizer: PreTrainedTokenizerFast, settings: BaseSettings, stream: Iterator[Exercise]
) -> Iterator[Batch]:
    generator = random.Random(settings.seed)
    pad_token_id = int(tokenizer.pad_token_id)
    while True:
        items = [encode_exercise(tokenizer, exercise) for exercise in islice(stream, CHUNK_SIZE)]
        items.sort(key=lambda item: len(item.input_ids))
        groups: list[list[EncodedExercise]] = [[]]
        for item in items:
            # Items come in rising length, so the last one decides the width.
            if (len(groups[-1]) + 1) * len(item.input_ids) > settings.tokens_per_step:
                groups.append([])
            groups[-1].append(item)
        generator.shuffle(groups)
        for group in groups:
            if group:
                yield collate(
                    group, pad_token_id=pad_token_id, prompt_weight=settings.prompt_weight
                )


def _keep_absent_rows(model: LlamaForCausalLM, batch: Batch) -> None:
    """Take the gradient off the embeddings of all tokens that the batch does not hold.

    As wrong answers they all get the same tiny gradient, which Adam would scale up to full steps:
    rare tokens would end as one and the same vector.
    """
    gradient_VH = model.get_input_embeddings().weight.grad
    is_absent = torch.ones(len(gradient_VH), dtype=torch.bool)
    is_absent[batch.input_ids.flatten()] = False
    gradient_VH[is_absent] = 0.0


def _weighted_loss(model: LlamaForCausalLM, batch: Batch) -> Tensor:
    logits_BTV = model(input_ids=batch.input_ids).logits
    losses = functional.cross_entropy(
        logits_BTV[:, :-1].flatten(0, 1),
        batch.labels[:, 1:].flatten(),
        reduction="none",
        ignore_index=IGNORE_INDEX,
    )
    weights = batch.weights[:, 1:].flatten()
    return (losses * weights).sum() / weights.sum()
