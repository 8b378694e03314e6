"""Greedy answers and likelihoods of given answers, for a batch of prompts.

What all prompts begin with (the instruction, examples in the prompt) is read once. Prompts are
read in groups of similar length; while answers are written, rows that are done leave and waiting
rows take their place, so that neither padding nor one long answer holds up the others.

Dimensions in names: B rows at work, T columns, N rows of (prompt, choice), A answer tokens,
V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from eval.backends.key_values import can_join, chosen, empty_cache, joined, repeated

if TYPE_CHECKING:
    from transformers import PreTrainedModel
    from transformers.cache_utils import Cache

Ids = npt.NDArray[np.int32]
FinishReason = Literal["stop", "length"]

_CPU_GROUP_TOKENS, _GPU_GROUP_TOKENS = 1024, 16_384
"""Tokens read at once: enough to keep the device busy, few enough to need little padding."""

_MIN_TOKENS_SAVED = 256
"""A shared start is read apart where that saves so many tokens."""

_MAX_LOGITS = 1 << 28
"""Logits of tails computed at once (1 GiB in float32)."""


@dataclass(slots=True)
class _Rows:
    """Rows whose prompts are read; the last column is the newest token of each."""

    places: list[int]
    """Positions of the rows among the prompts."""
    cache: Cache
    attention_mask: Tensor
    """Shape `[B, T]`."""
    logits: Tensor
    """Of the token after the last column, shape `[B, V]`."""

    @property
    def num_columns(self) -> int:
        return self.attention_mask.shape[1]

    def with_rows(self, other: _Rows) -> _Rows:
        width = max(self.num_columns, other.num_columns)
        masks = [_padded(rows.attention_mask, width) for rows in (self, other)]
        return _Rows(
            places=self.places + other.places,
            cache=joined(self.cache, other.cache),
            attention_mask=torch.cat(masks),
            logits=torch.cat([self.logits, other.logits]),
        )

    def only(self, kept: Sequence[int], *, can_cut: bool) -> _Rows:
        """Return some of the rows, without the columns that only the others needed."""
        rows = torch.tensor(kept, device=self.attention_mask.device)
        mask_BT = self.attention_mask[rows]
        first = int(mask_BT.argmax(dim=1).min()) if can_cut else 0
        return _Rows(
            places=[self.places[row] for row in kept],
            cache=chosen(self.cache, rows, first_column=first),
            attention_mask=mask_BT[:, first:],
            logits=self.logits[rows],
        )


class _Reader:
    """Reads prompts of one batch, in groups."""

    def __init__(self, model: PreTrainedModel, prompts: Sequence[Ids], pad_id: int) -> None:
        self.model = model
        self.can_join = can_join(model.config)
        self._prompts = prompts
        self._pad_id = pad_id
        self._start: Cache | None = None
        num_shared = _num_shared(prompts) if self.can_join else 0
        if num_shared * (len(prompts) - 1) >= _MIN_TOKENS_SAVED:
            self._start = empty_cache()
            self._read([prompts[0][:num_shared]], self._start)
        self._num_read = 0 if self._start is None else num_shared

    def groups(self, max_tokens: int, *, num_new: int = 0) -> deque[list[int]]:
        """Return the prompts in groups, longest first.

        Args:
            max_tokens: Limit of a group, shared start and new tokens included.
            num_new: Tokens that may follow each prompt.
        """
        order = sorted(range(len(self._prompts)), key=lambda place: -len(self._prompts[place]))
        if not self.can_join:
            return deque([order])
        on_cpu = self.model.device.type == "cpu"
        most_read = _CPU_GROUP_TOKENS if on_cpu else _GPU_GROUP_TOKENS
        groups: deque[list[int]] = deque()
        room = 0
        for place in order:
            if room == 0:
                length = len(self._prompts[place])
                room = min(most_read // (length - self._num_read), max_tokens // (length + num_new))
                room = max(1, room)
                groups.append([])
            groups[-1].append(place)
            room -= 1
        return groups

    def read(self, places: list[int]) -> _Rows:
        """Return the rows of one group."""
        rests = [self._prompts[place][self._num_read :] for place in places]
        cache = empty_cache() if self.can_join else None
        if self._start is not None:
            cache = repeated(self._start, len(places), room=max(map(len, rests)))
        return self._read(rests, cache, places)

    def _read(
        self, prompts: Sequence[Ids], cache: Cache | None, places: list[int] | None = None
    ) -> _Rows:
        """Return the rows after reading prompts behind what the cache holds of all of them."""
        input_ids_BT, mask_BT = _to_device(self.model, *left_padded(prompts, self._pad_id))
        num_before = 0 if cache is None else cache.get_seq_length()
        positions_BT = (mask_BT.cumsum(dim=1) - 1).clamp(min=0) + num_before
        mask_BT = torch.nn.functional.pad(mask_BT, (num_before, 0), value=1)
        output = self.model(
            input_ids=input_ids_BT,
            attention_mask=mask_BT,
            position_ids=positions_BT,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
        return _Rows(
            places=places or [],
            cache=output.past_key_values,
            attention_mask=mask_BT,
            logits=output.logits[:, -1],
        )


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
    limits: Sequence[int],
    stop_ids: frozenset[int],
    pad_id: int,
    max_batch_tokens: int,
) -> list[tuple[list[int], FinishReason]]:
    """Return the most likely next tokens of each prompt, up to a stop token.

    Args:
        model: A causal language model in evaluation mode.
        prompts: Token ids, at least one prompt of at least one token.
        limits: Most tokens of each answer, at least 1.
        stop_ids: Tokens that end an answer; they are not part of it.
        pad_id: Fills the left side; it is masked.
        max_batch_tokens: Tokens at work at once, padding and answers included; one group of
            prompts is always read, however long.

    Returns:
        (answer ids, why it ended) per prompt.
    """
    reader = _Reader(model, prompts, pad_id)
    num_new = max(limits)
    # Small groups find room sooner.
    waiting = reader.groups(max_batch_tokens // 4, num_new=num_new)
    answers: list[list[int]] = [[] for _ in prompts]
    reasons: list[FinishReason | None] = [None for _ in prompts]
    lengths = [len(prompt) for prompt in prompts]
    rows: _Rows | None = None
    num_idle = 0
    while rows is not None or waiting:
        while waiting and (
            rows is None
            or (len(rows.places) + len(waiting[0]))
            * (max(rows.num_columns, lengths[waiting[0][0]]) + num_new)
            <= max_batch_tokens
        ):
            read = reader.read(waiting.popleft())
            rows = read if rows is None else rows.with_rows(read)
        assert rows is not None
        next_ids = rows.logits.argmax(dim=-1).tolist()
        for place, token in zip(rows.places, next_ids, strict=True):
            if reasons[place] is not None:
                continue
            if token in stop_ids:
                reasons[place] = "stop"
                continue
            answers[place].append(token)
            if len(answers[place]) == limits[place]:
                reasons[place] = "length"
        going = [row for row, place in enumerate(rows.places) if reasons[place] is None]
        if not going:
            rows, num_idle = None, 0
            continue
        # To take rows out copies the others: worth it once as much was computed for nothing.
        num_idle += len(rows.places) - len(going)
        if num_idle >= len(going):
            rows, num_idle = rows.only(going, can_cut=reader.can_join), 0
            next_ids = [next_ids[row] for row in going]
        # Rows that are done and still here stay at the position of their last token.
        positions = [lengths[place] + len(answers[place]) - 1 for place in rows.places]
        _add_tokens(model, rows, next_ids, positions)
    return [(answer, reason or "length") for answer, reason in zip(answers, reasons, strict=True)]


def _add_tokens(
    model: PreTrainedModel, rows: _Rows, token_ids: Sequence[int], positions: Sequence[int]
) -> None:
    """Read one more token of every row."""
    input_ids_B, positions_B = _to_device(model, torch.tensor(token_ids), torch.tensor(positions))
    rows.attention_mask = torch.nn.functional.pad(rows.attention_mask, (0, 1), value=1)
    rows.logits = model(
        input_ids=input_ids_B[:, None],
        attention_mask=rows.attention_mask,
        position_ids=positions_B[:, None],
        past_key_values=rows.cache,
        use_cache=True,
    ).logits[:, -1]


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
    reader = _Reader(model, prompts, pad_id)
    scores: list[list[float]] = [[] for _ in prompts]
    for group in reader.groups(max_batch_tokens):
        rows = reader.read(group)
        found = _scores_of(model, rows, [choices[place] for place in group], max_batch_tokens)
        for place, values in zip(group, found, strict=True):
            scores[place] = values
    return scores


def _scores_of(
    model: PreTrainedModel,
    rows: _Rows,
    choices: Sequence[Sequence[Sequence[int]]],
    max_batch_tokens: int,
) -> list[list[float]]:
    """Return the log-likelihood of each choice of each row."""
    first_BV = torch.log_softmax(rows.logits.float(), dim=-1)
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
    block = max_batch_tokens // (rows.num_columns + longest)
    block = max(1, min(block, _MAX_LOGITS // (longest * first_BV.shape[1])))
    for start in range(0, len(longer), block):
        part = longer[start : start + block]
        tails = [list(choices[row][option]) for row, option in part]
        added = _tail_log_likelihoods(model, rows, [row for row, _ in part], tails)
        for (row, option), value in zip(part, added, strict=True):
            scores[row][option] += value
    return scores


def _tail_log_likelihoods(
    model: PreTrainedModel, rows: _Rows, of: Sequence[int], tails: Sequence[Sequence[int]]
) -> list[float]:
    """Return the log-likelihood of each tail's tokens but the first, each tail after its row."""
    width = max(len(tail) for tail in tails)
    ids_NA = torch.zeros((len(tails), width), dtype=torch.int64)
    real_NA = torch.zeros_like(ids_NA)
    for row, tail in enumerate(tails):
        ids_NA[row, : len(tail)] = torch.tensor(tail)
        real_NA[row, : len(tail)] = 1
    ids_NA, real_NA, rows_N = _to_device(model, ids_NA, real_NA, torch.tensor(of))
    mask_NT = rows.attention_mask[rows_N]
    logits_NAV = model(
        input_ids=ids_NA[:, :-1],
        attention_mask=torch.cat([mask_NT, real_NA[:, :-1]], dim=1),
        position_ids=mask_NT.sum(dim=1, keepdim=True)
        + torch.arange(width - 1, device=ids_NA.device),
        past_key_values=chosen(rows.cache, rows_N, room=width - 1),
        use_cache=True,
    ).logits
    log_likelihood_NA = torch.log_softmax(logits_NAV.float(), dim=-1)
    picked_NA = log_likelihood_NA.gather(2, ids_NA[:, 1:, None])[:, :, 0]
    sums: list[float] = (picked_NA * real_NA[:, 1:]).sum(dim=1).tolist()
    return sums


def _num_shared(prompts: Sequence[Ids]) -> int:
    """Return how many tokens all prompts begin with, leaving at least one token of each."""
    shortest = min(len(prompt) for prompt in prompts) - 1
    start = prompts[0][:shortest]
    for prompt in prompts:
        differs = np.flatnonzero(prompt[: len(start)] != start)
        if len(differs):
            start = start[: differs[0]]
    return len(start)


def _padded(mask_BT: Tensor, width: int) -> Tensor:
    return torch.nn.functional.pad(mask_BT, (width - mask_BT.shape[1], 0))


def _to_device(model: PreTrainedModel, *tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(tensor.to(model.device) for tensor in tensors)
