"""From a recipe and its tokens to batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from pipeline.mixture.batches import BatchShape
from pipeline.mixture.build import MixtureSettings
from pipeline.mixture.packing import build_row, pack_lengths, pad_row
from pipeline.mixture.rates import RateRule, TaskGroup
from pipeline.mixture.tokens import TokenizedTask
from pipeline.recipe import Recipe
from pipeline.recipe.schema import GroupEntry, RateFields


def mixture_settings(recipe: Recipe) -> MixtureSettings:
    """Return what a recipe says about the mixture and the length of the run."""
    mixture = recipe.mixture
    weights = {entry.task: entry.weight for entry in recipe.tasks if entry.weight is not None}
    return MixtureSettings(
        max_length=recipe.max_length,
        rule=_rate_rule(mixture, weights, recipe),
        group=_all_groups(recipe, weights) if mixture.groups else None,
        units=mixture.units,
        packing=recipe.packing,
        seed=recipe.seed,
        max_steps=recipe.max_steps if recipe.max_steps > 0 else None,
        num_epochs=recipe.num_train_epochs if recipe.max_steps < 0 else None,
    )


def _all_groups(recipe: Recipe, weights: Mapping[str, float]) -> TaskGroup:
    """Return the groups of a recipe as one, with the tasks that stand in none beside them."""
    groups = recipe.mixture.groups
    grouped = {name for group in groups for name in _tasks_inside(group)}
    return _task_group(
        GroupEntry(
            name="mixture",
            groups=groups,
            tasks=tuple(entry.task for entry in recipe.tasks if entry.task not in grouped),
            **{name: getattr(recipe.mixture, name) for name in RateFields.model_fields},
        ),
        weights,
        recipe,
    )


def _task_group(entry: GroupEntry, weights: Mapping[str, float], recipe: Recipe) -> TaskGroup:
    member_weights = {task: weights[task] for task in entry.tasks if task in weights} | {
        group.name: group.weight for group in entry.groups if group.weight is not None
    }
    inner = tuple(_task_group(group, weights, recipe) for group in entry.groups)
    return TaskGroup(
        name=entry.name,
        members=(*entry.tasks, *inner),
        rule=_rate_rule(entry, member_weights, recipe),
    )


def _tasks_inside(entry: GroupEntry) -> list[str]:
    inner = [name for group in entry.groups for name in _tasks_inside(group)]
    return [*entry.tasks, *inner]


def _rate_rule(fields: RateFields, weights: Mapping[str, float], recipe: Recipe) -> RateRule:
    return RateRule(
        policy=fields.policy,
        temperature=fields.temperature,
        cap=fields.cap,
        weights=weights or None,
        max_epochs=recipe.mixture.max_epochs_per_task,
    )


def batch_shape(recipe: Recipe, *, world_size: int, rank: int) -> BatchShape:
    """Return how rows are divided over processes and accumulation steps."""
    return BatchShape(
        per_device_batch_size=recipe.per_device_train_batch_size,
        world_size=world_size,
        rank=rank,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
    )


def validation_batches(
    tasks: Sequence[TokenizedTask],
    task_names: Sequence[str],
    *,
    rows_per_batch: int,
    max_length: int,
    pad_token_id: int,
    packing: bool = True,
    padding_free: bool = False,
) -> list[dict[str, torch.Tensor]]:
    """Return all examples of the tasks in batches `[B, T]`, in a fixed order.

    Args:
        tasks: Validation examples; their names are in `task_names`.
        task_names: Names behind the task ids of the training batches.
        rows_per_batch: Rows of a batch; the last one may have fewer.
        max_length: Tokens per row.
        pad_token_id: Fills the ends of short rows.
        packing: Whether a row holds several examples.
        padding_free: Whether a batch is one long row `[1, T]`, see `TrainingBatches`.
    """
    examples = [
        (*task.ids_and_mask(index), task_names.index(task.name))
        for task in tasks
        for index in range(len(task))
    ]
    rows = [
        build_row([examples[index] for index in members])
        for members in (
            pack_lengths([len(ids) for ids, _, _ in examples], max_length)
            if packing
            else ([index] for index in range(len(examples)))
        )
    ]
    batches = []
    for first in range(0, len(rows), rows_per_batch):
        group = rows[first : first + rows_per_batch]
        if not padding_free:
            length = max(len(row) for row in group)
            group = [pad_row(row, length, pad_token_id=pad_token_id) for row in group]
        join = torch.hstack if padding_free else torch.vstack
        batches.append(
            {
                name: join([torch.from_numpy(getattr(row, name))[None] for row in group])
                for name in ("input_ids", "labels", "position_ids", "task_ids")
            }
        )
    return batches
