"""From tokenised tasks and mixture settings to the batches of a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import MixtureError
from pipeline.mixture.batches import WINDOW_LENGTH, BatchShape, RowPlan, TrainingBatches
from pipeline.mixture.packing import pack_lengths
from pipeline.mixture.rates import (
    FloatArray,
    RateRule,
    RateUnits,
    TaskGroup,
    group_rates,
    rates_in_examples,
    task_rates,
)
from pipeline.mixture.schedule import MixtureSchedule
from pipeline.mixture.tokens import TokenizedTask

_BISECTIONS = 50
_MOST_FILLINGS = 5
"""Times that rates are set anew because rows fill otherwise than assumed."""
_SAME_FILL = 0.005


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLength:
    """How much a run draws: so many examples, or so many tokens; one of the two is known."""

    num_draws: float | None = None
    num_tokens: float | None = None

    def draws_at(self, rates: Sequence[float] | FloatArray, mean_lengths: FloatArray) -> float:
        """Return the examples drawn at these rates of tasks with these tokens per example."""
        return self.draws_at_mean(float(np.dot(rates, mean_lengths)))

    def draws_at_mean(self, mean_length: float) -> float:
        """Return the examples drawn where they have so many tokens in the mean."""
        if self.num_draws is not None:
            return self.num_draws
        assert self.num_tokens is not None
        return self.num_tokens / mean_length

    def tokens_at(self, mean_length: float) -> float:
        """Return the tokens drawn where examples have so many in the mean."""
        if self.num_tokens is not None:
            return self.num_tokens
        assert self.num_draws is not None
        return self.num_draws * mean_length


@dataclass(frozen=True, slots=True, kw_only=True)
class MixtureSettings:
    """What a recipe says about the mixture and the length of the run."""

    max_length: int
    """Tokens per row."""
    rule: RateRule = field(default_factory=RateRule)
    group: TaskGroup | None = None
    """Nested rates in place of `rule`; must name every task."""
    units: RateUnits = "examples"
    """Whether sizes and rates count examples or tokens."""
    packing: bool = True
    seed: int = 0
    max_steps: int | None = None
    """Optimizer steps; in place of `num_epochs`."""
    num_epochs: float | None = None
    """As many draws as all drawn tasks have examples, times this."""


def build_batches(
    tasks: Sequence[TokenizedTask],
    settings: MixtureSettings,
    shape: BatchShape,
    *,
    pad_token_id: int,
    padding_free: bool = False,
) -> TrainingBatches:
    """Return the batches of one rank.

    Args:
        tasks: In the run's task order; their index becomes the task id of their tokens.
        settings: Rates, packing, seed and length of the run.
        shape: Batch size, ranks and accumulation.
        pad_token_id: Fills the ends of short rows.
        padding_free: See `TrainingBatches`.

    Raises:
        MixtureError: See `pipeline.mixture.rates`; or neither or both of `max_steps` and
            `num_epochs` are set (MIX004).
    """
    length = run_length(tasks, settings, shape)
    rates = mixture_rates(tasks, settings, length=length)
    schedule = _schedule(tasks, rates, settings.seed)
    plan = RowPlan(tasks, schedule, packing=settings.packing, max_length=settings.max_length)
    num_steps = settings.max_steps
    if num_steps is None:
        num_draws = length.draws_at(rates, _mean_lengths(tasks))
        num_rows = plan.num_rows_before(round(num_draws))
        num_steps = max(1, math.ceil(num_rows / shape.global_batch_size))
    return TrainingBatches(
        plan, shape, num_steps=num_steps, pad_token_id=pad_token_id, padding_free=padding_free
    )


def mixture_rates(
    tasks: Sequence[TokenizedTask], settings: MixtureSettings, *, length: RunLength | None
) -> list[float]:
    """Return the share of draws of each task.

    Rates decide over the mean length of what is drawn, and that over how much a run draws, on
    which the ceiling on passes depends again; the answer is the amount at which both agree.

    Args:
        tasks: In the run's task order.
        settings: Policy, ceiling and units.
        length: Of the run; without it there is no ceiling on passes.

    Raises:
        MixtureError: See `pipeline.mixture.rates`.
    """
    if length is None:
        return _rates_at(tasks, settings, None)
    in_tokens = settings.units == "tokens"
    amount = length.num_tokens if in_tokens else length.num_draws
    if amount is not None:
        return _rates_at(tasks, settings, amount)
    means = _mean_lengths(tasks)
    ends = means[means > 0] if len(means[means > 0]) else np.ones(1)

    def drawn_at(mean: float) -> float:
        return length.tokens_at(mean) if in_tokens else length.draws_at_mean(mean)

    low, high = sorted((drawn_at(float(ends.min())), drawn_at(float(ends.max()))))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        if drawn_at(float(np.dot(_rates_at(tasks, settings, middle), means))) > middle:
            low = middle
        else:
            high = middle
    return _rates_at(tasks, settings, high)


def _rates_at(
    tasks: Sequence[TokenizedTask], settings: MixtureSettings, amount: float | None
) -> list[float]:
    """Return the share of draws of each task in a run of so many draws, in the mixture's unit."""
    in_tokens = settings.units == "tokens"
    sizes: dict[str, float] = {
        task.name: task.counts.num_tokens if in_tokens else len(task) for task in tasks
    }
    if settings.group is None:
        rates = task_rates(sizes, settings.rule, num_draws=amount)
    else:
        rates = dict.fromkeys(sizes, 0.0)
        rates |= group_rates(settings.group, sizes, num_draws=amount)
    if in_tokens:
        means = _mean_lengths(tasks).tolist()
        rates = rates_in_examples(rates, dict(zip(sizes, means, strict=True)))
    return [rates[task.name] for task in tasks]


def run_length(
    tasks: Sequence[TokenizedTask], settings: MixtureSettings, shape: BatchShape
) -> RunLength:
    """Return how much the run draws.

    Packed rows of a number of steps are filled with tokens; how full they get is measured on
    the first window of draws.

    Raises:
        MixtureError: Neither or both of `max_steps` and `num_epochs` are set (MIX004).
    """
    if (settings.max_steps is None) == (settings.num_epochs is None):
        raise MixtureError(
            "MIX004",
            "the length of the run is not given, or given twice",
            where="mixture",
            hint="Set either max_steps or num_train_epochs",
        )
    if settings.num_epochs is not None:
        most = max(1, round(settings.num_epochs * sum(len(task) for task in tasks)))
        rates = mixture_rates(tasks, settings, length=RunLength(num_draws=most))
        drawn = sum(len(task) for task, rate in zip(tasks, rates, strict=True) if rate > 0)
        return RunLength(num_draws=max(1, round(settings.num_epochs * drawn)))
    assert settings.max_steps is not None
    num_rows = settings.max_steps * shape.global_batch_size
    if not settings.packing:
        return RunLength(num_draws=num_rows)
    tokens_per_row = float(settings.max_length)
    for _ in range(_MOST_FILLINGS):
        assumed = tokens_per_row
        rates = mixture_rates(tasks, settings, length=RunLength(num_tokens=num_rows * assumed))
        tokens_per_row = _tokens_per_row(tasks, rates, settings)
        if abs(tokens_per_row - assumed) <= _SAME_FILL * assumed:
            break
    return RunLength(num_tokens=num_rows * tokens_per_row)


def highest_rates(
    tasks: Sequence[TokenizedTask], length: RunLength, max_epochs: float
) -> Callable[[FloatArray], FloatArray]:
    """Return what says, of rates, how high each may be for no more than so many passes.

    Args:
        tasks: In the run's task order.
        length: Of the run.
        max_epochs: Most passes over one task.
    """
    most = max_epochs * np.array([len(task) for task in tasks], dtype=np.float64)
    means = _mean_lengths(tasks)

    def highest(rates: FloatArray) -> FloatArray:
        return most / length.draws_at(rates, means)

    return highest


def _tokens_per_row(
    tasks: Sequence[TokenizedTask], rates: Sequence[float], settings: MixtureSettings
) -> float:
    """Return the mean tokens of a packed row in the first window of draws."""
    drawn, examples = _schedule(tasks, rates, settings.seed).entries(0, WINDOW_LENGTH)
    lengths = np.zeros(WINDOW_LENGTH, dtype=np.int64)
    for number, task in enumerate(tasks):
        mine = drawn == number
        offsets, chosen = task.offsets, examples[mine]
        lengths[mine] = offsets[chosen + 1] - offsets[chosen]
    return float(lengths.sum()) / len(pack_lengths(lengths, settings.max_length))


def _schedule(tasks: Sequence[TokenizedTask], rates: Sequence[float], seed: int) -> MixtureSchedule:
    return MixtureSchedule(
        rates, [len(task) for task in tasks], seed, names=[task.name for task in tasks]
    )


def _mean_lengths(tasks: Sequence[TokenizedTask]) -> FloatArray:
    """Return the mean tokens per example of each task, 0 for one without examples."""
    return np.array([task.counts.num_tokens / max(1, len(task)) for task in tasks])
