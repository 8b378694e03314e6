"""How the losses of single tokens become the loss of a step.

    token    sum of l / number of answer tokens; long answers weigh more
    example  mean over examples of their mean token loss
    task     mean over the step's tasks of their mean token loss

The counts are those of the whole step: all processes and all accumulated micro-batches. So a step
has the same gradient however its rows are divided.

    B rows, T tokens, S = T - 1 predictions, K tasks
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from pipeline.types import IGNORE_INDEX

LossReduction = Literal["token", "example", "task"]

LOSS_WEIGHTS = "loss_weights"
"""Key of the weights in a batch, `[B, S]`; absent where every token weighs the same."""


def add_loss_weights(
    batches: Sequence[dict[str, Tensor]],
    reduction: Literal["example", "task"],
    *,
    num_tasks: int,
    reduce: Callable[[Tensor], Tensor],
) -> None:
    """Put into each micro-batch of a step the weight of every token.

    The weighted token losses of all micro-batches and processes add up to the step's loss.

    Args:
        batches: This process's micro-batches of one step.
        reduction: How losses are averaged.
        num_tasks: Number of tasks of the run.
        reduce: Adds a tensor up over processes; all of them call it once.
    """
    device = batches[0]["labels"].device
    if reduction == "example":
        weights = [_per_example(batch) for batch in batches]
        # The weights of an example add up to one.
        total = torch.stack([part.sum() for part in weights]).sum().round()
        total = reduce(total)
        weights = [part / total.clamp(min=1) for part in weights]
    else:
        counts_K = torch.zeros(num_tasks, dtype=torch.float64, device=device)
        for batch in batches:
            counts_K += torch.bincount(_answer_tasks(batch), minlength=num_tasks)
        counts_K = reduce(counts_K)
        num_seen = (counts_K > 0).sum().clamp(min=1)
        weights = [_per_task(batch, counts_K * num_seen) for batch in batches]
    for batch, part in zip(batches, weights, strict=True):
        batch[LOSS_WEIGHTS] = part.float()


def _answer_mask(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["labels"][:, 1:] != IGNORE_INDEX


def _answer_tasks(batch: Mapping[str, Tensor]) -> Tensor:
    return batch["task_ids"][:, 1:][_answer_mask(batch)]


def _per_example(batch: Mapping[str, Tensor]) -> Tensor:
    """Return one over the number of answer tokens of each token's own example, `[B, S]`."""
    mask_BS = _answer_mask(batch)
    positions_BT = batch["position_ids"]
    num_rows, num_positions = positions_BT.shape
    rows_B1 = torch.arange(num_rows, device=positions_BT.device).unsqueeze(1)
    # Examples of a row are told apart by where positions restart.
    example_BS = ((positions_BT == 0).cumsum(1) + rows_B1 * (num_positions + 1))[:, 1:]
    counts = torch.zeros(
        num_rows * (num_positions + 1), dtype=torch.float64, device=positions_BT.device
    )
    counts.index_add_(0, example_BS.flatten(), mask_BS.flatten().double())
    return mask_BS / counts[example_BS].clamp(min=1)


def _per_task(batch: Mapping[str, Tensor], divisors_K: Tensor) -> Tensor:
    mask_BS = _answer_mask(batch)
    tasks_BS = batch["task_ids"][:, 1:].clamp(min=0)
    return mask_BS / divisors_K[tasks_BS].clamp(min=1)
