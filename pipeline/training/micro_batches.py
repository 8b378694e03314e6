"""Micro-batches in pieces: half the rows in one pass, twice as many passes, the same step.

The loss of a step is a sum over tokens divided by a count that is known before the first pass, so
its gradient does not depend on how the rows are divided.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, cast

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pipeline.errors import TrainingError
from pipeline.mixture.packing import build_row, pad_row
from pipeline.training.processes import OneProcessError
from pipeline.types import Json

if TYPE_CHECKING:
    from pipeline.mixture.batches import TrainingBatches

_CPU_MESSAGE = "DefaultCPUAllocator"


class MicroBatchPieces:
    """In how many passes a micro-batch is run; a part of each checkpoint."""

    def __init__(self) -> None:
        """Start with one pass."""
        self.count = 1

    def split(self, batch: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """Return the rows of a batch `[B, ...]` in at most `count` batches of nearly equal size."""
        rows = len(batch["input_ids"])
        size = -(-rows // self.count)
        return [
            {name: tensor[first : first + size] for name, tensor in batch.items()}
            for first in range(0, rows, size)
        ]

    def halve(self, num_rows: int) -> None:
        """Run half as many rows in one pass as before.

        Args:
            num_rows: Rows of the micro-batch that did not fit.

        Raises:
            TrainingError: It was one row already.
        """
        if -(-num_rows // self.count) <= 1:
            raise TrainingError(
                "TRN010",
                "out of memory with a single row in one pass",
                where="per_device_train_batch_size",
                hint="Lower max_length or, where flash attention makes one row of a batch, "
                "per_device_train_batch_size; or set `gradient_checkpointing: true` or "
                "`load_in_4bit: true`",
            )
        self.count *= 2

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the number of passes."""
        return {"count": self.count}

    def load_state(self, state: dict[str, Json], /) -> None:
        """Go on with as many passes as before the stop."""
        self.count = max(self.count, cast("int", state["count"]))


class GradientSnapshot:
    """The gradients before a pass, to go back to if the pass runs out of memory half way."""

    def __init__(self, model: nn.Module) -> None:
        """Copy what is there; before the first pass of a step that is nothing."""
        self._gradients = {
            parameter: parameter.grad.clone()
            for parameter in model.parameters()
            if parameter.requires_grad and parameter.grad is not None
        }
        self._model = model

    def restore(self) -> None:
        """Put the gradients back."""
        for parameter in self._model.parameters():
            parameter.grad = self._gradients.get(parameter)


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error says that memory ran out, and nothing else."""
    if isinstance(error, torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and _CPU_MESSAGE in str(error)


def must_stop(*, rows: int, accumulation: int, step: int) -> TrainingError:
    """Return the error for memory that ran out where processes wait for each other.

    Args:
        rows: `per_device_train_batch_size`.
        accumulation: `gradient_accumulation_steps`.
        step: Number of the step, counted from 1.
    """
    hint = "Set `gradient_checkpointing: true`, or lower max_length"
    if rows % 2 == 0:
        hint = (
            f"Resume with `--per_device_train_batch_size {rows // 2} "
            f"--gradient_accumulation_steps {accumulation * 2}`: the same batch in smaller passes"
        )
    return OneProcessError(
        "TRN010",
        f"out of memory with {rows} rows in one pass",
        where=f"step {step}",
        hint=hint,
    )


@contextlib.contextmanager
def memory_told(where: str, what: str, hint: str) -> Iterator[None]:
    """Turn memory that runs out in the work inside into a line that says what to set.

    Raises:
        TrainingError: Memory ran out in this process; the others may wait for it.
    """
    try:
        yield
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        raise OneProcessError("TRN010", f"out of memory {what}", where=where, hint=hint) from error


def longest_micro_batch(batches: TrainingBatches) -> dict[str, Tensor]:
    """Return a micro-batch as long as any of the run can be, made of its own examples."""
    tasks, limit = batches.plan.tasks, batches.plan.max_length
    places = [(task, i) for task, data in enumerate(tasks) for i in _longest_examples(data.offsets)]
    lengths = {place: int(np.diff(tasks[place[0]].offsets)[place[1]]) for place in places}
    places.sort(key=lambda place: -lengths[place])
    chosen: list[tuple[int, int]] = places[:1]
    room = limit - lengths[places[0]]
    while batches.plan.packing:
        fitting = next((place for place in places if lengths[place] <= room), None)
        if fitting is None:
            break
        chosen.append(fitting)
        room -= lengths[fitting]
    row = build_row([(*tasks[task].ids_and_mask(example), task) for task, example in chosen])
    if batches.plan.packing:
        row = pad_row(row, limit, pad_token_id=batches.pad_token_id)
    return batches.collate([row] * batches.shape.per_device_batch_size)


def _longest_examples(offsets: npt.NDArray[np.int64]) -> list[int]:
    """Return the longest example, and one of each of some shorter lengths to fill rows with."""
    lengths = np.diff(offsets)
    if len(lengths) == 0:
        return []
    order = np.argsort(-lengths, kind="stable")
    return [int(order[i]) for i in sorted({0, *range(0, len(order), max(len(order) // 64, 1))})]
