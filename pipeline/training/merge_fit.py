"""Learns the coefficients of a mixer of frozen adapters.

Objectives, each a mean over the answer tokens of every task, summed over tasks:

- `expert_kl`: `KL(p_t || p_c)` between the adapter of the task alone and the mixture, on answers
  that the adapter itself wrote. Needs no labels.
- `supervised`: cross-entropy of gold answers.
- `entropy`: entropy of the mixture over the first tokens of the choices, divided by `log K`
  (AdaMerging, arXiv:2310.02575). Needs no labels either, but rewards confidence, right or wrong.

    B rows, T tokens, N answer tokens, V vocabulary, K choices
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from pipeline.adapters.merging.mixer import Mixer
from pipeline.errors import TrainingError
from pipeline.types import IGNORE_INDEX

Objective = Literal["expert_kl", "supervised", "entropy"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitBatch:
    """Rows of one task."""

    input_ids: Tensor
    """`[B, T]`, padded on the right."""
    attention_mask: Tensor
    """`[B, T]`, 1 for tokens."""
    labels: Tensor
    """`[B, T]`, the answer's tokens at their own places, `IGNORE_INDEX` elsewhere."""
    choice_ids: Tensor | None = None
    """`[K]`, the first token of each choice; for `entropy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How coefficients are learned."""

    objective: Objective = "expert_kl"
    num_steps: int = 200
    learning_rate: float = 5e-3
    clamp: bool | None = None
    """Keep coefficients within 0 and 1; unset means for `entropy` only, as in the paper."""

    @property
    def is_clamped(self) -> bool:
        """Whether coefficients are kept within 0 and 1."""
        return self.objective == "entropy" if self.clamp is None else self.clamp


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What fitting did."""

    curve: tuple[float, ...]
    """The objective, summed over tasks, before each step."""
    by_task: Mapping[str, float]
    """The objective of each task in the last step."""


def fit_coefficients(
    model: nn.Module,
    mixer: Mixer,
    batches: Mapping[str, Sequence[FitBatch]],
    settings: FitSettings,
    *,
    on_step: Callable[[float], None] | None = None,
) -> FitReport:
    """Learn the mixer's coefficients with Adam; nothing else changes.

    Args:
        model: The wrapped model.
        mixer: Its coefficients.
        batches: Batches by adapter name; every step takes the next one of each.
        settings: Objective and length.
        on_step: Told the objective of each step.

    Raises:
        TrainingError: A task has no batch (TRN040), no choices for `entropy` (TRN041), or the
            objective is not finite (TRN042).
    """
    for name, each in batches.items():
        if not each:
            raise TrainingError("TRN040", "no rows to fit coefficients on", where=name)
    parameters = list(mixer.coefficients.values())
    optimizer = torch.optim.Adam(parameters, lr=settings.learning_rate)
    curve: list[float] = []
    by_task: dict[str, float] = {}
    model.eval()
    for step in range(settings.num_steps):
        optimizer.zero_grad()
        by_task = {}
        for name, each in batches.items():
            loss = _OBJECTIVES[settings.objective](model, mixer, name, each[step % len(each)])
            loss.backward()  # type: ignore[no-untyped-call]  # one task's activations at a time
            by_task[name] = float(loss.detach())
        curve.append(sum(by_task.values()))
        if not math.isfinite(curve[-1]):
            raise TrainingError(
                "TRN042",
                f"the objective is {curve[-1]} in step {step + 1}",
                where=max(by_task, key=lambda name: not math.isfinite(by_task[name])),
                hint="Lower the learning rate, or start closer to 1 / number of adapters",
            )
        optimizer.step()
        if settings.is_clamped:
            with torch.no_grad():
                for parameter in parameters:
                    parameter.clamp_(0, 1)
        if on_step is not None:
            on_step(curve[-1])
    return FitReport(curve=tuple(curve), by_task=by_task)


def _expert_kl(model: nn.Module, mixer: Mixer, name: str, batch: FitBatch) -> Tensor:
    with torch.no_grad(), mixer.only(name):
        expert_NV = _answer_log_probs(model, batch)
    mixed_NV = _answer_log_probs(model, batch)
    return functional.kl_div(mixed_NV, expert_NV, reduction="batchmean", log_target=True)


def _supervised(model: nn.Module, _mixer: Mixer, _name: str, batch: FitBatch) -> Tensor:
    log_probs_NV = _answer_log_probs(model, batch)
    labels = batch.labels[:, 1:]
    return functional.nll_loss(log_probs_NV, labels[labels != IGNORE_INDEX])


def _entropy(model: nn.Module, _mixer: Mixer, name: str, batch: FitBatch) -> Tensor:
    if batch.choice_ids is None or batch.choice_ids.numel() < 2:
        raise TrainingError(
            "TRN041",
            "no two choices that differ in their first token",
            where=name,
            hint="Use the objective expert_kl",
        )
    rows, places = _first_answer_places(batch)
    logits_BTV = _logits(model, batch)
    choice_logits_BK = logits_BTV[rows, places - 1][:, batch.choice_ids].float()
    log_probs_BK = functional.log_softmax(choice_logits_BK, dim=-1)
    entropy_B = -(log_probs_BK.exp() * log_probs_BK).sum(-1)
    return entropy_B.mean() / math.log(batch.choice_ids.numel())


_OBJECTIVES: Mapping[Objective, Callable[[nn.Module, Mixer, str, FitBatch], Tensor]] = {
    "expert_kl": _expert_kl,
    "supervised": _supervised,
    "entropy": _entropy,
}


def _logits(model: nn.Module, batch: FitBatch) -> Tensor:
    outputs = model(input_ids=batch.input_ids, attention_mask=batch.attention_mask, use_cache=False)
    logits: Tensor = outputs.logits
    return logits


def _answer_log_probs(model: nn.Module, batch: FitBatch) -> Tensor:
    """Return log-probabilities `[N, V]` at the places that predict answer tokens."""
    logits_BSV = _logits(model, batch)[:, :-1]
    is_answer_BS = batch.labels[:, 1:] != IGNORE_INDEX
    return functional.log_softmax(logits_BSV[is_answer_BS].float(), dim=-1)


def _first_answer_places(batch: FitBatch) -> tuple[Tensor, Tensor]:
    is_answer_BT = batch.labels != IGNORE_INDEX
    return torch.arange(len(batch.labels)), is_answer_BT.float().argmax(dim=1)
