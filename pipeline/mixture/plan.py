"""What a run would train on, told before it starts.

Nothing here is trained or printed; the command line draws the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import cast

from pipeline.mixture.batches import Cursor, TrainingBatches
from pipeline.types import Json

_FEW_LOSS_TOKENS = 0.01
_MANY_TRUNCATED = 0.10
_UNEVEN_LENGTHS = 5.0


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
    """Share of the loss under the token mean, 0 to 1: `rate` times answer length."""


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
    batches: TrainingBatches, *, max_epochs: float | None = None, task_loss: bool = False
) -> MixturePlan:
    """Return the plan of a run.

    Draws are counted to the end of the run where they are cheap to know, that is without
    packing; packed runs are counted from the rows of the first window.

    Args:
        batches: The batches of any rank.
        max_epochs: Passes over one task beyond which a warning is due; `None` for none.
        task_loss: Whether the loss is averaged per task, so that uneven answer lengths do no
            harm and deserve no warning.
    """
    plan = batches.plan
    num_rows = batches.num_steps * batches.shape.global_batch_size
    num_draws, fill = _draws_in_rows(batches, num_rows)
    counts = plan.schedule.counts(num_draws)
    loss_tokens = [
        int(count) * task.counts.num_loss_tokens / max(1, len(task))
        for task, count in zip(plan.tasks, counts, strict=True)
    ]
    total_loss_tokens = max(1.0, sum(loss_tokens))
    tasks = tuple(
        TaskPlan(
            task=task.name,
            num_rows=task.counts.num_rows,
            num_examples=len(task),
            num_skipped=task.counts.num_rows - len(task),
            num_truncated=task.counts.num_truncated_examples,
            rate=float(rate),
            num_draws=int(count),
            epochs=int(count) / max(1, len(task)),
            num_tokens=round(int(count) * task.counts.num_tokens / max(1, len(task))),
            num_loss_tokens=round(tokens),
            loss_share=tokens / total_loss_tokens,
        )
        for task, rate, count, tokens in zip(
            plan.tasks, plan.schedule.rates, counts, loss_tokens, strict=True
        )
    )
    return MixturePlan(
        tasks=tasks,
        num_steps=batches.num_steps,
        global_batch_size=batches.shape.global_batch_size,
        num_draws=num_draws,
        num_tokens=sum(task.num_tokens for task in tasks),
        fill_fraction=fill,
        warnings=tuple(_warnings(tasks, max_epochs, task_loss)),
    )


def _draws_in_rows(batches: TrainingBatches, num_rows: int) -> tuple[int, float]:
    """Return how many draws the rows hold, and the share of places they fill."""
    plan = batches.plan
    sample = plan.keys(Cursor(), min(num_rows, plan.num_rows(0)))
    draws = [plan.draws(key) for key in sample]
    num_tokens = sum(len(plan.row(key)) for key in sample)
    fill = num_tokens / (len(sample) * plan.max_length)
    return round(num_rows * sum(len(row) for row in draws) / len(sample)), fill


def _warnings(tasks: tuple[TaskPlan, ...], max_epochs: float | None, task_loss: bool) -> list[str]:
    found: list[str] = []
    for task in tasks:
        if task.num_examples == 0:
            found.append(f"{task.task}: none of {task.num_rows} rows can be trained on")
            continue
        if task.rate == 0:
            continue
        if max_epochs is not None and task.epochs > max_epochs * 1.05:
            found.append(
                f"{task.task}: its {task.num_examples} examples are seen {task.epochs:.1f} times, "
                f"more than {max_epochs:g}"
            )
        if task.loss_share < _FEW_LOSS_TOKENS and not task_loss:
            found.append(
                f"{task.task}: {100 * task.loss_share:.2g} % of the loss "
                f"at {100 * task.rate:.2g} % of the draws"
            )
        if task.num_truncated > _MANY_TRUNCATED * task.num_examples:
            found.append(
                f"{task.task}: the context of {task.num_truncated} of {task.num_examples} "
                "examples is cut"
            )
        if task.num_skipped:
            found.append(f"{task.task}: {task.num_skipped} of {task.num_rows} rows are left out")
    return found + ([] if task_loss else _uneven_lengths(tasks))


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
