"""Learns the coefficients of a mixer of frozen adapters.

Objectives, each a mean over the answer tokens of every task, summed over tasks:

- `expert_kl`: `KL(p_t || p_c)` between the adapter of the task alone and the mixture, on answers
  that the adapter itself wrote. Needs no labels.
- `supervised`: cross-entropy of gold answers.
- `entropy`: entropy of the mixture over the choices, divided by `log K` (AdaMerging,
  arXiv:2310.02575). Where their first tokens differ these speak for them, in one pass; else every
  choice is read as a whole. Needs no labels either, but rewards confidence, right or wrong:
  fitting ends before the mixture gives one choice to all rows, see `MarginalGuard`.

    B rows, T tokens, N answer tokens, V vocabulary, K choices, L tokens of a choice
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

LEAST_MARGINAL_SHARE = 0.8
"""Fitting by entropy ends when answers over all rows are less varied than so much of the expert's.
"""
_STEPS_BETWEEN_CHECKS, _MAX_CHECKED_BATCHES = 10, 8


@dataclass(frozen=True, slots=True, kw_only=True)
class FitBatch:
    """Rows of one task."""

    input_ids: Tensor
    """`[B, T]`, padded on the right."""
    attention_mask: Tensor
    """`[B, T]`, 1 for tokens."""
    labels: Tensor
    """`[B, T]`, the answer's tokens at their own places, `IGNORE_INDEX` elsewhere."""
    choices: tuple[Tensor, ...] = ()
    """Tokens `[L]` of each choice, with the end of the answer; for `entropy`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FitSettings:
    """How coefficients are learned."""

    objective: Objective = "expert_kl"
    num_steps: int = 200
    learning_rate: float | None = None
    """Unset means 5e-3, and for `entropy` 1e-3 as in the paper."""

    @property
    def step_size(self) -> float:
        """The learning rate in use."""
        usual = 1e-3 if self.objective == "entropy" else 5e-3
        return usual if self.learning_rate is None else self.learning_rate


@dataclass(frozen=True, slots=True, kw_only=True)
class FitReport:
    """What fitting did."""

    curve: tuple[float, ...]
    """The objective, summed over tasks, before each step."""
    by_task: Mapping[str, float]
    """The objective of each task in the last step."""
    stopped_by: str | None = None
    """Task whose answers lost their variety, which ended fitting early; for `entropy`."""


def fit_coefficients(
    model: nn.Module,
    mixer: Mixer,
    batches: Mapping[str, Sequence[FitBatch]],
    settings: FitSettings,
    *,
    on_step: Callable[[float], None] | None = None,
) -> FitReport:
    """Learn the mixer's coefficients with Adam; nothing else changes.

    For `entropy`, coefficients stay within 0 and 1, and `MarginalGuard` may end fitting early.

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
    model.eval()
    parameters = list(mixer.coefficients.values())
    optimizer = torch.optim.Adam(parameters, lr=settings.step_size)
    is_entropy = settings.objective == "entropy"
    guard = MarginalGuard(model, mixer, batches) if is_entropy else None
    last_good = [parameter.detach().clone() for parameter in parameters]
    curve: list[float] = []
    by_task: dict[str, float] = {}
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
        if is_entropy:
            _assign(parameters, [parameter.detach().clamp(0, 1) for parameter in parameters])
        if on_step is not None:
            on_step(curve[-1])
        if guard is not None and (step + 1) % _STEPS_BETWEEN_CHECKS == 0:
            if (task := guard.find_collapsed()) is not None:
                _assign(parameters, last_good)
                return FitReport(curve=tuple(curve), by_task=by_task, stopped_by=task)
            last_good = [parameter.detach().clone() for parameter in parameters]
    return FitReport(curve=tuple(curve), by_task=by_task)


def choose_uniform(
    model: nn.Module,
    mixer: Mixer,
    batches: Mapping[str, Sequence[FitBatch]],
    objective: Objective,
    *,
    grid: Sequence[float],
    on_step: Callable[[float], None] | None = None,
) -> dict[float, dict[str, float]]:
    """Give all adapters the weight of a grid that serves the tasks best.

    Args:
        model: The wrapped model.
        mixer: Its coefficients; left at the weight with the least objective, summed over tasks.
        batches: Batches by adapter name.
        objective: What is compared, as a mean over the batches of a task.
        grid: Weights to try.
        on_step: Told the objective of each weight.

    Returns:
        The objective by weight, then by task.

    Raises:
        TrainingError: A task has no batch (TRN040), or no choices for `entropy` (TRN041).
    """
    for name, each in batches.items():
        if not each:
            raise TrainingError("TRN040", "no rows to fit coefficients on", where=name)
    model.eval()
    found: dict[float, dict[str, float]] = {}
    for weight in grid:
        _set_all(mixer, weight)
        with torch.no_grad():
            found[weight] = {
                name: sum(float(_OBJECTIVES[objective](model, mixer, name, b)) for b in each)
                / len(each)
                for name, each in batches.items()
            }
        if on_step is not None:
            on_step(sum(found[weight].values()))
    _set_all(mixer, min(grid, key=lambda weight: sum(found[weight].values())))
    return found


class MarginalGuard:
    """Notices when low entropy means that all rows get the same choice.

    Compared is the entropy of the mean over rows of the choices' probabilities, with that of the
    task's own adapter on the same rows.
    """

    def __init__(
        self, model: nn.Module, mixer: Mixer, batches: Mapping[str, Sequence[FitBatch]]
    ) -> None:
        """Measure the adapters themselves.

        Raises:
            TrainingError: A task has no two choices (TRN041).
        """
        self._model = model
        self._batches = {name: each[:_MAX_CHECKED_BATCHES] for name, each in batches.items()}
        self._of_expert: dict[str, float] = {}
        for name in batches:
            with mixer.only(name):
                self._of_expert[name] = self._marginal_entropy(name)

    def find_collapsed(self) -> str | None:
        """Return a task whose answers have lost their variety."""
        for name, expected in self._of_expert.items():
            if self._marginal_entropy(name) < LEAST_MARGINAL_SHARE * expected:
                return name
        return None

    @torch.no_grad()
    def _marginal_entropy(self, name: str) -> float:
        rows = [_choice_log_probs(self._model, name, batch).exp() for batch in self._batches[name]]
        mean_K = torch.cat(rows).mean(dim=0)
        return float(torch.special.entr(mean_K).sum())


def _assign(parameters: Sequence[nn.Parameter], values: Sequence[Tensor]) -> None:
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(value)


def _set_all(mixer: Mixer, weight: float) -> None:
    parameters = list(mixer.coefficients.values())
    _assign(parameters, [torch.full_like(parameter, weight) for parameter in parameters])


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
    log_probs_BK = _choice_log_probs(model, name, batch)
    entropy_B = -(log_probs_BK.exp() * log_probs_BK).sum(-1)
    return entropy_B.mean() / math.log(log_probs_BK.shape[1])


def _choice_log_probs(model: nn.Module, name: str, batch: FitBatch) -> Tensor:
    """Return log-probabilities `[B, K]` of the choices among themselves."""
    if len(batch.choices) < 2:
        raise TrainingError(
            "TRN041",
            "the task has no two choices",
            where=name,
            hint="Use the objective expert_kl",
        )
    firsts_K = torch.stack([choice_L[0] for choice_L in batch.choices])
    if len(set(firsts_K.tolist())) == len(firsts_K):
        is_answer_BT = batch.labels != IGNORE_INDEX
        is_first_BT = is_answer_BT & (is_answer_BT.cumsum(dim=1) == 1)
        scores_BK = _logits_before(model, batch, is_first_BT)[:, firsts_K].float()
    else:
        scores_BK = torch.stack(
            [_choice_score(model, batch, choice_L) for choice_L in batch.choices], dim=1
        )
    return functional.log_softmax(scores_BK, dim=-1)


def _choice_score(model: nn.Module, batch: FitBatch, choice_L: Tensor) -> Tensor:
    """Return the log-probability `[B]` of a choice after each prompt."""
    start_B = (batch.labels != IGNORE_INDEX).int().argmax(dim=1)
    size = len(choice_L)
    places_T = torch.arange(int(start_B.max()) + size, device=start_B.device)
    places_BL = start_B[:, None] + torch.arange(size, device=start_B.device)
    choice_BL = choice_L.expand(len(start_B), size)
    prompts_BT = functional.pad(batch.input_ids, (0, size))[:, : len(places_T)]
    asked = FitBatch(
        input_ids=prompts_BT.scatter(1, places_BL, choice_BL),
        attention_mask=(places_T < start_B[:, None] + size).long(),
        labels=torch.full_like(prompts_BT, IGNORE_INDEX).scatter(1, places_BL, choice_BL),
    )
    log_probs_NV = _answer_log_probs(model, asked)
    return log_probs_NV.gather(1, choice_BL.reshape(-1, 1)).view(-1, size).sum(dim=1)


_OBJECTIVES: Mapping[Objective, Callable[[nn.Module, Mixer, str, FitBatch], Tensor]] = {
    "expert_kl": _expert_kl,
    "supervised": _supervised,
    "entropy": _entropy,
}


def _answer_log_probs(model: nn.Module, batch: FitBatch) -> Tensor:
    """Return log-probabilities `[N, V]` at the places that predict answer tokens."""
    logits_NV = _logits_before(model, batch, batch.labels != IGNORE_INDEX)
    return functional.log_softmax(logits_NV.float(), dim=-1)


def _logits_before(model: nn.Module, batch: FitBatch, is_wanted_BT: Tensor) -> Tensor:
    """Return the logits `[N, V]` that predict the marked tokens.

    The head, the largest part of a pass where the vocabulary is large, skips places at which no
    row has a marked token.
    """
    is_wanted_BS = is_wanted_BT[:, 1:]
    places_P = is_wanted_BS.any(dim=0).nonzero().flatten()
    outputs = model(
        input_ids=batch.input_ids,
        attention_mask=batch.attention_mask,
        use_cache=False,
        logits_to_keep=places_P,
    )
    logits_BPV: Tensor = outputs.logits
    return logits_BPV[is_wanted_BS[:, places_P]]
