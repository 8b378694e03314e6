from __future__ import annotations

import pytest
import torch

from pipeline.training.loss_weights import LOSS_WEIGHTS, add_loss_weights

ROWS = (
    # (task, answer mask of each token); the first token of an example never carries loss
    [(0, [0, 0, 1]), (1, [0, 1, 1, 1])],
    [(1, [0, 1]), (0, [0, 0, 0, 1, 1])],
)


def batch_of(rows, length: int = 9) -> dict[str, torch.Tensor]:
    """Build a batch of packed rows, padded to `length`."""
    made = {"labels": [], "position_ids": [], "task_ids": []}
    for row in rows:
        labels, positions, tasks = [], [], []
        for task, mask in row:
            labels += [7 if answer else -100 for answer in mask]
            positions += range(len(mask))
            tasks += [task] * len(mask)
        padding = length - len(labels)
        made["labels"].append(labels + [-100] * padding)
        made["position_ids"].append(positions + list(range(padding)))
        made["task_ids"].append(tasks + [-1] * padding)
    return {name: torch.tensor(values) for name, values in made.items()}


def losses_like(batch) -> torch.Tensor:
    generator = torch.Generator().manual_seed(int(batch["position_ids"].sum()))
    return torch.rand(batch["labels"][:, 1:].shape, generator=generator, dtype=torch.float64)


def reference(batch, losses, reduction: str) -> float:
    """Average by plain loops."""
    by_example: dict[tuple[int, int], list[float]] = {}
    by_task: dict[int, list[float]] = {}
    for row in range(len(losses)):
        example = -1
        for place in range(losses.shape[1] + 1):
            example += int(batch["position_ids"][row, place] == 0)
            if place and batch["labels"][row, place] != -100:
                loss = float(losses[row, place - 1])
                by_example.setdefault((row, example), []).append(loss)
                by_task.setdefault(int(batch["task_ids"][row, place]), []).append(loss)
    groups = by_example if reduction == "example" else by_task
    means = [sum(values) / len(values) for values in groups.values()]
    return sum(means) / len(means)


@pytest.mark.parametrize("reduction", ["example", "task"])
def test_the_weighted_sum_is_the_mean_of_means(reduction):
    batch = batch_of(ROWS)
    losses = losses_like(batch)
    add_loss_weights([batch], reduction, num_tasks=2, reduce=lambda total: total)
    assert float((batch[LOSS_WEIGHTS] * losses).sum()) == pytest.approx(
        reference(batch, losses, reduction), rel=1e-6
    )


@pytest.mark.parametrize("reduction", ["example", "task"])
def test_accumulation_and_processes_give_the_same_loss(reduction):
    whole = batch_of(ROWS)
    losses = losses_like(whole)
    expected = reference(whole, losses, reduction)

    parts = [batch_of(ROWS[:1]), batch_of(ROWS[1:])]
    add_loss_weights(parts, reduction, num_tasks=2, reduce=lambda total: total)
    accumulated = sum(
        float((part[LOSS_WEIGHTS] * losses[index]).sum()) for index, part in enumerate(parts)
    )
    assert accumulated == pytest.approx(expected, rel=1e-6)

    # Two processes: each must see the other's counts, which `reduce` adds.
    totals: list[torch.Tensor] = []

    def remember(total):
        totals.append(total)
        return total

    for part in parts:
        add_loss_weights([part], reduction, num_tasks=2, reduce=remember)
    for index, part in enumerate(parts):
        add_loss_weights(
            [part], reduction, num_tasks=2, reduce=lambda own, i=index: own + totals[1 - i]
        )
    divided = sum(
        float((part[LOSS_WEIGHTS] * losses[index]).sum()) for index, part in enumerate(parts)
    )
    assert divided == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("reduction", ["example", "task"])
def test_rows_without_any_answer_weigh_nothing(reduction):
    batch = batch_of([[(0, [0, 0, 0])]])
    add_loss_weights([batch], reduction, num_tasks=2, reduce=lambda total: total)
    assert float(batch[LOSS_WEIGHTS].abs().sum()) == 0.0
