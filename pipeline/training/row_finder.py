"""Which rows of a step had a loss that is not finite.

A accumulated micro-batches of B rows, W processes: row (a * B + b) * W + r of the global step
is row b of micro-batch a on process r
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from pipeline.mixture.batches import TrainingBatches

RowKeys = Callable[[int], Sequence[Sequence[str]]]
"""From a step, counted from 0, to the keys of the examples in each row of the global batch."""


class RowFinder:
    """Keeps one number per row of the step at hand, on the device, and reads it only on a fault."""

    def __init__(self, keys_of_step: RowKeys | None) -> None:
        """Look rows up with `keys_of_step`; without it no row is named."""
        self._keys_of_step = keys_of_step
        self._losses: list[Tensor] = []

    def add(self, token_loss_BS: Tensor) -> None:
        """Add the rows of one forward pass."""
        self._losses.append(token_loss_BS.detach().sum(dim=1))

    def count(self) -> int:
        """Return the number of passes of this step, for `forget`."""
        return len(self._losses)

    def forget(self, count: int = 0) -> None:
        """Keep only the first `count` passes: none for a new step, some to repeat a pass."""
        del self._losses[count:]

    def broken_rows(self) -> list[int]:
        """Return this process's rows whose loss is not finite, in the order they were added."""
        if not self._losses:
            return []
        return (~torch.isfinite(torch.cat(self._losses))).nonzero().flatten().tolist()

    def keys(self, step: int, broken: Sequence[Sequence[int]], tasks: Collection[str]) -> list[str]:
        """Return the keys of the rows to look at.

        Args:
            step: Counted from 0.
            broken: `broken_rows` of every process; if all are empty, every row of the step counts.
            tasks: Only rows of these tasks are named.
        """
        if self._keys_of_step is None:
            return []
        rows = self._keys_of_step(step)
        places = [
            local * len(broken) + process for process, found in enumerate(broken) for local in found
        ]
        # Where a batch is one long row, places do not tell rows apart.
        if places and sum(map(len, self._losses)) * len(broken) == len(rows):
            rows = [rows[place] for place in sorted(places)]
        return [key for row in rows for key in row if key.rsplit("/", 2)[0] in tasks]


def row_keys(batches: TrainingBatches, example_key: Callable[[str, int], str]) -> RowKeys:
    """Return the look-up of a run's rows: the key of every example.

    Args:
        batches: Of the run.
        example_key: From a task and the position of one of its examples to the example's key.
    """
    tasks = batches.plan.tasks

    def keys_of_step(step: int) -> list[list[str]]:
        return [
            [
                example_key(tasks[task].name, tasks[task].source_row(example))
                for task, example in batches.plan.draws(key)
            ]
            for key in batches.step_keys(step)
        ]

    return keys_of_step
