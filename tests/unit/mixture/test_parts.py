"""Rows cut into parts, and parts dealt to shards."""

from __future__ import annotations

import random

import pytest

from pipeline.mixture.parts import cut_into_parts, deal_parts


def test_large_tasks_are_cut_evenly_and_small_ones_stay_whole() -> None:
    parts = cut_into_parts([10, 0, 25], part_rows=10)
    assert [(part.task, part.number, part.num_parts, part.num_rows) for part in parts] == [
        (0, 0, 1, 10),
        (1, 0, 1, 0),
        (2, 0, 3, 8),
        (2, 1, 3, 8),
        (2, 2, 3, 9),
    ]


@pytest.mark.parametrize("num_shards", [1, 2, 7, 16, 100])
def test_every_part_goes_to_exactly_one_shard_and_shards_are_even(num_shards: int) -> None:
    rng = random.Random(num_shards)
    sizes = [int(rng.paretovariate(0.6) * 50) for _ in range(60)]
    parts = cut_into_parts(sizes, part_rows=200)
    shards = deal_parts(parts, num_shards)
    assert len(shards) == num_shards
    assert sorted(part for shard in shards for part in shard) == sorted(parts)
    loads = [sum(part.num_rows for part in shard) for shard in shards]
    assert max(loads) - min(loads) <= 200
    assert deal_parts(list(reversed(parts)), num_shards) == shards


def test_parts_without_rows_are_spread_too() -> None:
    shards = deal_parts(cut_into_parts([0] * 6), 3)
    assert [len(shard) for shard in shards] == [2, 2, 2]


def test_no_shard_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="0 shards cannot hold anything"):
        deal_parts([], 0)
