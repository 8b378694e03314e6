"""What a run would train on, told before it starts.

Nothing here is trained or printed; the command line draws the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal, cast

from pipeline.mixture.batches import WINDOW_LENGTH, Cursor, TrainingBatches
from pipeline.types import Json

_FEW_LOSS_TOKENS = 0.01
_MANY_TRUNCATED = 0.10
_UNEVEN_LENGTHS = 5.0
_MANY_PASSES = 10.0
"""Passes over a task that are worth a warning where no ceiling is set."""
_MOST_LINES = 5
"""Tasks that are named one by one; more of them share one line."""

Reduction = Literal["token", "example", "task"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskPlan:
    """One task's part of a run."""

    task: str
    num_rows: int
    """Rows read from the data."""
    num_examples: int
    """Rows that can be trained on."""
    num_skipped: int
    num_truncated: int
    """Examples whose context was cut."""
    truncation_rate: float
    """Their share of the examples, 0 to 1."""
    rate: float
    """Share of draws."""
    num_draws: int
    """Draws in the whole run."""
    epochs: float
    """Passes over the task in the whole run."""
    num_tokens: int
    """Tokens drawn in the whole run."""
    num_loss_tokens: int
    """Of those, tokens trained on."""
    loss_share: float
    """Expected share of the loss, 0 to 1, as the run's reduction weighs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixturePlan:
    """What a run would train on."""

    tasks: tuple[TaskPlan, ...]
    num_steps: int
    global_batch_size: int
    """Rows per optimizer step."""
    num_draws: int
    num_tokens: int
    """Tokens without padding."""
    fill_fraction: float
    """Share of row places that hold a token, measured on the first window."""
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Json]:
        """Return the plan as plain JSON."""
        return cast("dict[str, Json]", asdict(self))


def build_plan(
    batches: TrainingBatches,
    *,
    max_epochs: float | None = None,
    loss_reduction: Reduction = "token",
    update_steps: int | None = None,
) -> MixturePlan:
    """Return the plan of a run.

    Draws are counted to the end of the run where they are cheap to know, that is without
    packing; packed runs are counted from the rows of the first window.

    Args:
        batches: The batches of any rank.
        max_epochs: The ceiling on passes over one task; more are warned of, and more than 10
            where there is no ceiling.
        loss_reduction: How the loss of a step is averaged. Under `token`, long answers count for
            more: a share of draws becomes another share of the loss.
        update_steps: Steps between two changes of rates, where the run changes them.
    """
    plan = batches.plan
    num_rows = batches.num_steps * batches.shape.global_batch_size
    num_draws, fill = _draws_in_rows(batches, num_rows)
    counts = plan.schedule.counts(num_draws)
    loss_tokens = [
        int(count) * task.counts.num_loss_tokens / max(1, len(task))
        for task, count in zip(plan.tasks, counts, strict=True)
    ]
    shares = _loss_shares(batches, counts.tolist(), loss_tokens, loss_reduction)
    tasks = tuple(
        TaskPlan(
            task=task.name,
            num_rows=task.counts.num_rows,
            num_examples=len(task),
            num_skipped=task.counts.num_rows - len(task),
            num_truncated=task.counts.num_truncated_examples,
            truncation_rate=task.counts.num_truncated_examples / max(1, len(task)),
            rate=float(rate),
            num_draws=int(count),
            epochs=int(count) / max(1, len(task)),
            num_tokens=round(int(count) * task.counts.num_tokens / max(1, len(task))),
            num_loss_tokens=round(tokens),
            loss_share=share,
        )
        for task, rate, count, tokens, share in zip(
            plan.tasks, plan.schedule.rates, counts, loss_tokens, shares, strict=True
        )
    )
    return MixturePlan(
        tasks=tasks,
        num_steps=batches.num_steps,
        global_batch_size=batches.shape.global_batch_size,
        num_draws=num_draws,
        num_tokens=sum(task.num_tokens for task in tasks),
        fill_fraction=fill,
        warnings=(
            *_warnings(tasks, max_epochs, loss_reduction),
            *([] if update_steps is None else _late_changes(batches, update_steps)),
        ),
    )


def _draws_in_rows(batches: TrainingBatches, num_rows: int) -> tuple[int, float]:
    """Return how many draws the rows hold, and the share of places they fill."""
    plan = batches.plan
    sample = plan.keys(Cursor(), min(num_rows, plan.num_rows(0)))
    draws = [plan.draws(key) for key in sample]
    num_tokens = sum(len(plan.row(key)) for key in sample)
    fill = num_tokens / (len(sample) * plan.max_length)
    return round(num_rows * sum(len(row) for row in draws) / len(sample)), fill


def _loss_shares(
    batches: TrainingBatches, draws: list[int], loss_tokens: list[float], reduction: Reduction
) -> list[float]:
    """Return the expected share of each task in the loss of a step."""
    if reduction == "token":
        weights = loss_tokens
    elif reduction == "example":
        weights = [float(count) for count in draws]
    else:
        # Tasks of a step share its loss evenly; rare ones are in few steps.
        per_step = sum(draws) / batches.num_steps
        weights = [1.0 - (1.0 - rate) ** per_step for rate in batches.plan.schedule.rates.tolist()]
    total = sum(weights)
    return [weight / total if total else 0.0 for weight in weights]


def _late_changes(batches: TrainingBatches, update_steps: int) -> list[str]:
    """Return a warning when rates that follow the loss come too late to be drawn at."""
    # What is learned of the first steps holds after as many again: see `DynamicRates`.
    if batches.can_change_rates(2 * update_steps):
        return []
    return [
        "mixture.dynamic changes nothing: a change holds from the first "
        f"{WINDOW_LENGTH} draws on that begin after step {2 * update_steps}, "
        "and none begin before the end of the run"
    ]


def _warnings(
    tasks: tuple[TaskPlan, ...], max_epochs: float | None, reduction: Reduction
) -> list[str]:
    found = [
        f"{task.task}: none of {task.num_rows} rows can be trained on"
        for task in tasks
        if task.num_examples == 0
    ]
    drawn = [task for task in tasks if task.num_examples and task.rate > 0]
    most = _MANY_PASSES if max_epochs is None else max_epochs
    for task in drawn:
        if task.epochs > most * 1.05:
            found.append(
                f"{task.task}: its {task.num_examples} examples are seen {task.epochs:.1f} times, "
                f"more than {most:g}"
            )
        if task.truncation_rate > _MANY_TRUNCATED:
            found.append(
                f"{task.task}: the context of {task.num_truncated} of {task.num_examples} "
                "examples is cut"
            )
        if task.num_skipped:
            found.append(f"{task.task}: {task.num_skipped} of {task.num_rows} rows are left out")
    found += _small_shares(drawn)
    return found + (_uneven_lengths(tasks) if reduction == "token" else [])


def _small_shares(drawn: list[TaskPlan]) -> list[str]:
    small = sorted((t for t in drawn if t.loss_share < _FEW_LOSS_TOKENS), key=_loss_share)
    lines = [
        f"{task.task}: {100 * task.loss_share:.2g} % of the loss "
        f"at {100 * task.rate:.2g} % of the draws"
        for task in small
    ]
    if len(lines) <= _MOST_LINES:
        return lines
    return [f"{len(lines)} tasks have less than 1 % of the loss each; least has {lines[0]}"]


def _loss_share(task: TaskPlan) -> float:
    return task.loss_share


def _uneven_lengths(tasks: tuple[TaskPlan, ...]) -> list[str]:
    """Return a warning when answer lengths, not rates, decide over the loss."""
    lengths = {task.task: task.num_loss_tokens / task.num_draws for task in tasks if task.num_draws}
    if not lengths or max(lengths.values()) <= _UNEVEN_LENGTHS * max(1.0, min(lengths.values())):
        return []
    longest, shortest = max(lengths, key=lengths.__getitem__), min(lengths, key=lengths.__getitem__)
    return [
        f"answers of {longest} are {lengths[longest] / lengths[shortest]:.0f} times as long as "
        f"those of {shortest}; consider a loss averaged per task"
    ]
