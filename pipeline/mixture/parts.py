"""How the rows of all tasks are cut into parts, and which shard makes which part.

Cutting depends on the rows of a task alone, so any number of shards, processes or jobs makes the
same parts; only who makes them differs.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass

PART_ROWS = 16_384
"""Most rows of a part: seconds of work, so that shards of any number are even."""


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One stretch of the rows of one task."""

    task: int
    """Position of the task in the list that was cut."""
    number: int
    """Which part of the task, 0-based."""
    num_parts: int
    """Parts of that task."""
    num_rows: int


def cut_into_parts(task_rows: Sequence[int], *, part_rows: int = PART_ROWS) -> list[Part]:
    """Return the parts of all tasks, task by task.

    Args:
        task_rows: Source rows of each task. A task without rows is one empty part.
        part_rows: Most rows of a part.
    """
    parts = []
    for task, num_rows in enumerate(task_rows):
        num_parts = max(1, -(-num_rows // part_rows))
        borders = [num_rows * number // num_parts for number in range(num_parts + 1)]
        parts += [
            Part(task, number, num_parts, borders[number + 1] - borders[number])
            for number in range(num_parts)
        ]
    return parts


def deal_parts(parts: Sequence[Part], num_shards: int) -> list[list[Part]]:
    """Return the parts of every shard, such that shards have about equally many rows.

    The longest part goes first, always to the shard with the fewest rows so far (Graham 1969: at
    most 4/3 of the best division). The result depends on nothing but the arguments.

    Raises:
        ValueError: `num_shards` is below 1.
    """
    if num_shards < 1:
        raise ValueError(f"{num_shards} shards cannot hold anything")
    shards: list[list[Part]] = [[] for _ in range(num_shards)]
    loads = [(0, 0, shard) for shard in range(num_shards)]
    for part in sorted(parts, key=lambda part: (-part.num_rows, part)):
        num_rows, num_dealt, shard = heapq.heappop(loads)
        shards[shard].append(part)
        heapq.heappush(loads, (num_rows + part.num_rows, num_dealt + 1, shard))
    return [sorted(shard) for shard in shards]
