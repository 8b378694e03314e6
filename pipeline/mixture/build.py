"""From tokenised tasks and mixture settings to the batches of a run."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.errors import MixtureError
from pipeline.mixture.batches import BatchShape, RowPlan, TrainingBatches
from pipeline.mixture.rates import (
    RateRule,
    RateUnits,
    TaskGroup,
    group_rates,
    rates_in_examples,
    task_rates,
)
from pipeline.mixture.schedule import MixtureSchedule
from pipeline.mixture.tokens import TokenizedTask

_EXPECTED_FILL = 0.98
"""Share of row places that packing fills, for the number of draws before they are known."""


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
    num_draws = expected_draws(tasks, settings, shape)
    schedule = MixtureSchedule(
        mixture_rates(tasks, settings, num_draws=num_draws),
        [len(task) for task in tasks],
        settings.seed,
        names=[task.name for task in tasks],
    )
    plan = RowPlan(tasks, schedule, packing=settings.packing, max_length=settings.max_length)
    num_steps = settings.max_steps
    if num_steps is None:
        num_steps = max(1, math.ceil(plan.num_rows_before(num_draws) / shape.global_batch_size))
    return TrainingBatches(
        plan, shape, num_steps=num_steps, pad_token_id=pad_token_id, padding_free=padding_free
    )


def mixture_rates(
    tasks: Sequence[TokenizedTask], settings: MixtureSettings, *, num_draws: int | None
) -> list[float]:
    """Return the share of draws of each task.

    Raises:
        MixtureError: See `pipeline.mixture.rates`.
    """
    means = {task.name: _mean_length(task) for task in tasks}
    sizes: dict[str, float] = {task.name: len(task) for task in tasks}
    draws: float | None = num_draws
    if settings.units == "tokens":
        sizes = {task.name: task.counts.num_tokens for task in tasks}
        if num_draws is not None:
            draws = num_draws * sum(sizes.values()) / max(1, sum(len(task) for task in tasks))
    if settings.group is None:
        rates = task_rates(sizes, settings.rule, num_draws=draws)
    else:
        rates = dict.fromkeys(sizes, 0.0)
        rates |= group_rates(settings.group, sizes, num_draws=draws)
    if settings.units == "tokens":
        rates = rates_in_examples(rates, means)
    return [rates[task.name] for task in tasks]


def expected_draws(
    tasks: Sequence[TokenizedTask], settings: MixtureSettings, shape: BatchShape
) -> int:
    """Return how many examples the run draws; an estimate for packed rows and `max_steps`.

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
        rates = mixture_rates(tasks, settings, num_draws=most)
        drawn = sum(len(task) for task, rate in zip(tasks, rates, strict=True) if rate > 0)
        return max(1, round(settings.num_epochs * drawn))
    assert settings.max_steps is not None
    num_rows = settings.max_steps * shape.global_batch_size
    if not settings.packing:
        return num_rows
    rates = mixture_rates(tasks, settings, num_draws=num_rows)
    mean = float(np.dot(rates, [_mean_length(task) for task in tasks]))
    return max(1, round(num_rows * settings.max_length * _EXPECTED_FILL / mean))


def _mean_length(task: TokenizedTask) -> float:
    return task.counts.num_tokens / max(1, len(task))
