"""Whole examples into rows of a fixed length, with little left empty.

Best-fit-decreasing: examples of one window, longest first, each into the fullest row that still
has room. Rows keep their examples apart: `position_ids` restart at 0, which attention reads as a
border, and `task_ids` tell the task of every token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.types import IGNORE_INDEX, NO_TASK

Int64Array = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a batch; every array has shape `[T]`."""

    input_ids: Int64Array
    labels: Int64Array
    """`input_ids` where trained on, else `IGNORE_INDEX`."""
    position_ids: Int64Array
    task_ids: Int64Array

    def __len__(self) -> int:
        """Return the number of tokens."""
        return len(self.input_ids)


def pack_lengths(lengths: Sequence[int] | Int64Array, capacity: int) -> list[list[int]]:
    """Return rows of example indices whose lengths sum to at most `capacity` each.

    Every index stands in exactly one row. The same lengths give the same rows. Time grows
    with the number of examples, not with its square: row fill levels are the bits of one integer.

    Raises:
        ValueError: A length is below 1 or above `capacity`.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if len(sizes) and (sizes.min() < 1 or sizes.max() > capacity):
        raise ValueError(f"lengths must lie between 1 and {capacity}")
    rows: list[list[int]] = []
    rows_with_room: list[list[int]] = [[] for _ in range(capacity + 1)]
    rooms = 0
    order = np.argsort(-sizes, kind="stable")
    for index, length in zip(order.tolist(), sizes[order].tolist(), strict=True):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                rooms ^= 1 << room
        else:
            room, row = capacity, len(rows)
            rows.append([])
        rows[row].append(index)
        left = room - length
        if left:
            rows_with_room[left].append(row)
            rooms |= 1 << left
    return rows


def packing_efficiency(lengths: Sequence[int] | Int64Array, num_rows: int, capacity: int) -> float:
    """Return the share of row places that hold a token, between 0 and 1."""
    return float(np.sum(np.asarray(lengths, dtype=np.int64))) / (num_rows * capacity)


def build_row(examples: Sequence[tuple[npt.NDArray[np.int32], npt.NDArray[np.bool_], int]]) -> Row:
    """Return examples one after the other as a row.

    The first token of an example never carries a label: nothing before it predicts it.

    Args:
        examples: Input ids, loss mask and task index of each; at least one.
    """
    input_ids = np.concatenate([ids for ids, _, _ in examples]).astype(np.int64)
    loss_mask = np.concatenate([mask for _, mask, _ in examples])
    lengths = np.array([len(ids) for ids, _, _ in examples])
    starts = np.cumsum(lengths) - lengths
    labels = np.where(loss_mask, input_ids, IGNORE_INDEX)
    labels[starts] = IGNORE_INDEX
    position_ids = np.arange(len(input_ids)) - np.repeat(starts, lengths)
    task_ids = np.repeat(np.array([task for _, _, task in examples]), lengths)
    return Row(input_ids, labels, position_ids, task_ids)


def pad_row(row: Row, length: int, *, pad_token_id: int) -> Row:
    """Return the row filled up to `length`; the padding is an example of its own, without loss."""
    missing = length - len(row)
    if missing == 0:
        return row
    return Row(
        np.concatenate([row.input_ids, np.full(missing, pad_token_id)]),
        np.concatenate([row.labels, np.full(missing, IGNORE_INDEX)]),
        np.concatenate([row.position_ids, np.arange(missing)]),
        np.concatenate([row.task_ids, np.full(missing, NO_TASK)]),
    )
