"""Greedy answers and likelihoods of given answers, for a batch of prompts.

Dimensions in names: B prompts, T prompt tokens, N rows of (prompt, choice), A answer tokens,
V vocabulary. Prompts are padded on the left, so that every answer starts at the same column.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Ids = npt.NDArray[np.int32]
FinishReason = Literal["stop", "length"]


def left_padded(prompts: Sequence[Ids], pad_id: int) -> tuple[Tensor, Tensor]:
    """Return `input_ids` and `attention_mask`, int64 of shape `[B, T]`."""
    longest = max(len(prompt) for prompt in prompts)
    input_ids_BT = torch.full((len(prompts), longest), pad_id, dtype=torch.int64)
    attention_mask_BT = torch.zeros_like(input_ids_BT)
    for row, prompt in enumerate(prompts):
        input_ids_BT[row, longest - len(prompt) :] = torch.from_numpy(prompt.astype(np.int64))
        attention_mask_BT[row, longest - len(prompt) :] = 1
    return input_ids_BT, attention_mask_BT


@torch.inference_mode()
def greedy_answers(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    *,
    max_new_tokens: int,
    stop_ids: frozenset[int],
    pad_id: int,
) -> list[tuple[list[int], FinishReason]]:
    """Return the most likely next tokens of each prompt, up to a stop token.

    Rows that are done leave the batch, so a long answer does not hold up short ones.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids, at least one prompt of at least one token.
        max_new_tokens: Limit per answer.
        stop_ids: Tokens that end an answer; they are not part of it.
        pad_id: Fills the left side; it is masked.

    Returns:
        (answer ids, why it ended) per prompt.
    """
    input_ids, attention_mask = _to_device(model, *left_padded(prompts, pad_id))
    logits_BV, cache = _prefill(model, input_ids, attention_mask)
    answers: list[list[int]] = [[] for _ in prompts]
    reasons: list[FinishReason] = ["length" for _ in prompts]
    rows = list(range(len(prompts)))
    lengths_B = attention_mask.sum(dim=1)
    for step in range(max_new_tokens):
        next_B = logits_BV.argmax(dim=-1)
        going = []
        for place, token in enumerate(next_B.tolist()):
            if token in stop_ids:
                reasons[rows[place]] = "stop"
            else:
                answers[rows[place]].append(token)
                going.append(place)
        if not going or step + 1 == max_new_tokens:
            break
        if len(going) < len(rows):
            kept = torch.tensor(going, device=next_B.device)
            cache.reorder_cache(kept)
            next_B, attention_mask = next_B[kept], attention_mask[kept]
            lengths_B = lengths_B[kept]
            rows = [rows[place] for place in going]
        attention_mask = torch.nn.functional.pad(attention_mask, (0, 1), value=1)
        logits_BV = model(
            input_ids=next_B[:, None],
            attention_mask=attention_mask,
            position_ids=(lengths_B + step)[:, None],
            past_key_values=cache,
            use_cache=True,
        ).logits[:, -1]
    return list(zip(answers, reasons, strict=True))


@torch.inference_mode()
def choice_log_likelihoods(
    model: PreTrainedModel,
    prompts: Sequence[Ids],
    choices: Sequence[Sequence[Sequence[int]]],
    *,
    pad_id: int,
    max_batch_tokens: int,
) -> list[list[float]]:
    """Return the summed log-likelihood (nats) of each choice after its prompt.

    Each prompt is read once. Its last logits give the first token of every choice; further
    tokens are read against copies of the prompt's keys and values.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids, at least one prompt of at least one token.
        choices: Token ids of each choice of each prompt; no choice is empty.
        pad_id: Fills rows; it is masked.
        max_batch_tokens: Bounds the copies of keys and values, in tokens.
    """
    input_ids, attention_mask = _to_device(model, *left_padded(prompts, pad_id))
    logits_BV, cache = _prefill(model, input_ids, attention_mask)
    first_BV = torch.log_softmax(logits_BV.float(), dim=-1)
    scores = [
        first_BV[row, torch.tensor([ids[0] for ids in options], device=first_BV.device)].tolist()
        for row, options in enumerate(choices)
    ]
    longer = [
        (row, option)
        for row, options in enumerate(choices)
        for option, ids in enumerate(options)
        if len(ids) > 1
    ]
    longest = max((len(choices[row][option]) for row, option in longer), default=1)
    block = max(1, max_batch_tokens // (input_ids.shape[1] + longest))
    for start in range(0, len(longer), block):
        part = longer[start : start + block]
        tails = [list(choices[row][option]) for row, option in part]
        rows_N = torch.tensor([row for row, _ in part], device=attention_mask.device)
        own = copy.deepcopy(cache)
        own.reorder_cache(rows_N)
        added = _tail_log_likelihoods(model, own, attention_mask[rows_N], tails)
        for (row, option), value in zip(part, added, strict=True):
            scores[row][option] += value
    return scores


def _tail_log_likelihoods(
    model: PreTrainedModel,
    cache: Any,  # noqa: ANN401 - one of transformers' cache classes, all handled alike
    attention_mask_NT: Tensor,
    tails: Sequence[Sequence[int]],
) -> list[float]:
    """Return the log-likelihood of each tail's tokens but the first; the cache is used up."""
    width = max(len(tail) for tail in tails)
    ids_NA = torch.zeros((len(tails), width), dtype=torch.int64)
    real_NA = torch.zeros_like(ids_NA)
    for row, tail in enumerate(tails):
        ids_NA[row, : len(tail)] = torch.tensor(tail)
        real_NA[row, : len(tail)] = 1
    ids_NA, real_NA = _to_device(model, ids_NA, real_NA)
    position_ids = attention_mask_NT.sum(dim=1, keepdim=True) + torch.arange(
        width - 1, device=ids_NA.device
    )
    logits_NAV = model(
        input_ids=ids_NA[:, :-1],
        attention_mask=torch.cat([attention_mask_NT, real_NA[:, :-1]], dim=1),
        position_ids=position_ids,
        past_key_values=cache,
        use_cache=True,
    ).logits
    log_likelihood_NA = torch.log_softmax(logits_NAV.float(), dim=-1)
    picked_NA = log_likelihood_NA.gather(2, ids_NA[:, 1:, None])[:, :, 0]
    sums: list[float] = (picked_NA * real_NA[:, 1:]).sum(dim=1).tolist()
    return sums


def _prefill(
    model: PreTrainedModel, input_ids: Tensor, attention_mask: Tensor
) -> tuple[Tensor, Any]:
    """Return the logits after the prompts, shape `[B, V]`, and the prompts' keys and values."""
    position_ids = (attention_mask.cumsum(dim=1) - 1).clamp(min=0)
    output = model(
        input_ids=input_ids,
        attention_mask=attention_mask,
        position_ids=position_ids,
        use_cache=True,
        logits_to_keep=1,
    )
    return output.logits[:, -1], output.past_key_values


def _to_device(model: PreTrainedModel, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(model.device) for tensor in tensors)
