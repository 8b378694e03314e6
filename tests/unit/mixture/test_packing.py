"""Rows of whole examples."""

from __future__ import annotations

import random

import numpy as np
import pytest

from pipeline.mixture.packing import build_row, pack_lengths, packing_efficiency, pad_row
from pipeline.types import IGNORE_INDEX, NO_TASK


def plain_best_fit(lengths: list[int], capacity: int) -> list[int]:
    """Return the room left in each row, by the textbook algorithm in quadratic time."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms[rooms.index(min(fitting))] -= length
        else:
            rooms.append(capacity - length)
    return sorted(rooms)


@pytest.mark.parametrize("seed", range(20))
def test_rows_are_those_of_best_fit_decreasing(seed: int) -> None:
    rng = random.Random(seed)
    capacity = rng.choice([1, 7, 64, 500])
    lengths = [rng.randint(1, capacity) for _ in range(rng.randint(0, 200))]
    rows = pack_lengths(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    rooms = sorted(capacity - sum(lengths[index] for index in row) for row in rows)
    assert rooms == plain_best_fit(lengths, capacity)


def test_same_lengths_give_the_same_rows() -> None:
    assert pack_lengths([3, 5, 2, 5, 4, 1], 7) == [[1, 5], [3, 2], [4, 0]]


def test_no_example_at_all_gives_no_row() -> None:
    assert pack_lengths([], 8) == []


@pytest.mark.parametrize("lengths", [[9], [0], [4, -1]])
def test_length_outside_the_row_is_refused(lengths: list[int]) -> None:
    with pytest.raises(ValueError, match="lengths must lie between 1 and 8"):
        pack_lengths(lengths, 8)


def test_mixed_lengths_leave_less_than_two_percent_empty() -> None:
    rng = np.random.default_rng(0)
    lengths = np.clip(rng.lognormal(4.5, 1.0, 4096), 8, 2048).astype(np.int64)
    rows = pack_lengths(lengths, 2048)
    assert packing_efficiency(lengths, len(rows), 2048) > 0.98


def example(start: int, length: int, task: int):
    ids = np.arange(start, start + length, dtype=np.int32)
    mask = np.arange(length) >= length - 2
    return ids, mask, task


def test_row_restarts_positions_and_keeps_tasks_and_labels_apart() -> None:
    row = build_row([example(10, 4, 0), example(50, 2, 3)])
    assert row.input_ids.tolist() == [10, 11, 12, 13, 50, 51]
    # The first token of the second example is an answer token, but nothing before it says so.
    assert row.labels.tolist() == [-100, -100, 12, 13, -100, 51]
    assert row.position_ids.tolist() == [0, 1, 2, 3, 0, 1]
    assert row.task_ids.tolist() == [0, 0, 0, 0, 3, 3]
    arrays = (row.input_ids, row.labels, row.position_ids, row.task_ids)
    assert {array.dtype for array in arrays} == {np.dtype(np.int64)}


def test_padding_is_an_example_of_its_own_without_loss() -> None:
    row = pad_row(build_row([example(10, 3, 1)]), 6, pad_token_id=7)
    assert row.input_ids.tolist() == [10, 11, 12, 7, 7, 7]
    assert row.labels.tolist() == [-100, 11, 12, IGNORE_INDEX, IGNORE_INDEX, IGNORE_INDEX]
    assert row.position_ids.tolist() == [0, 1, 2, 0, 1, 2]
    assert row.task_ids.tolist() == [1, 1, 1, NO_TASK, NO_TASK, NO_TASK]
