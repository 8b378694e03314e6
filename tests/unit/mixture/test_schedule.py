"""The schedule: quotas, permutations, random access and independence."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.mixture.schedule import BLOCK_LENGTH, MixtureSchedule, permute, shuffled_order

RATES, SIZES = [0.5, 0.3, 0.1995, 0.0005], [1000, 7, 1, 3]


def test_every_block_has_every_quota_within_one() -> None:
    tasks, _ = MixtureSchedule(RATES, SIZES, 0).entries(0, 500 * BLOCK_LENGTH)
    counts = np.stack([np.bincount(block, minlength=4) for block in tasks.reshape(500, -1)])
    quotas = np.array(RATES) * BLOCK_LENGTH
    assert np.abs(counts - quotas).max() < 1.0
    whole = np.cumsum(counts, axis=0) - quotas * np.arange(1, 501)[:, None]
    assert np.abs(whole).max() < 4.0


def test_every_stretch_of_a_block_is_mixed() -> None:
    # A shuffled block would leave 32 draws of rate 0.5 with a deviation of 2.8.
    tasks, _ = MixtureSchedule(RATES, SIZES, 0).entries(0, 200 * BLOCK_LENGTH)
    counts = (tasks.reshape(-1, 32) == 0).sum(axis=1)
    assert counts.std() < 1.0
    assert np.abs(counts - 16).max() <= 2


def test_every_epoch_of_a_task_is_a_permutation_of_its_own() -> None:
    tasks, examples = MixtureSchedule(RATES, SIZES, 0).entries(0, 20 * BLOCK_LENGTH)
    drawn = examples[tasks == 1]
    epochs = drawn[: len(drawn) // 7 * 7].reshape(-1, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()
    assert len({tuple(epoch) for epoch in epochs}) > 0.8 * len(epochs)
    assert (examples[tasks == 2] == 0).all()


def test_any_range_is_a_slice_of_the_whole() -> None:
    schedule = MixtureSchedule(RATES, SIZES, 7)
    tasks, examples = schedule.entries(0, 300 * BLOCK_LENGTH)
    for start, stop in [(0, 1), (5, 5), (1000, 1100), (1024, 2048), (200_001, 207_777)]:
        fresh = MixtureSchedule(RATES, SIZES, 7)
        part_tasks, part_examples = fresh.entries(start, stop)
        assert (part_tasks == tasks[start:stop]).all()
        assert (part_examples == examples[start:stop]).all()
        assert (fresh.counts(stop) == np.bincount(tasks[:stop], minlength=4)).all()


def test_task_of_rate_zero_changes_nothing() -> None:
    without = MixtureSchedule([0.6, 0.4], [50, 60], 3, names=["a", "b"])
    within = MixtureSchedule([0.6, 0.0, 0.4], [50, 0, 60], 3, names=["a", "new", "b"])
    tasks, examples = without.entries(0, 5000)
    other_tasks, other_examples = within.entries(0, 5000)
    assert (np.array([0, 2])[tasks] == other_tasks).all()
    assert (examples == other_examples).all()


def test_seed_decides_over_order_and_not_over_counts() -> None:
    first, second = MixtureSchedule(RATES, SIZES, 0), MixtureSchedule(RATES, SIZES, 1)
    assert (first.entries(0, 1024)[0] != second.entries(0, 1024)[0]).any()
    assert np.abs(first.counts(10_240) - second.counts(10_240)).max() <= 4


def test_rates_need_not_sum_to_one() -> None:
    assert MixtureSchedule([3, 1], [5, 5], 0).rates.tolist() == [0.75, 0.25]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 63, 64, 65, 1000])
def test_permute_is_a_bijection(size: int) -> None:
    for key in range(20):
        keys = np.full(size, key * 7919, dtype=np.uint64)
        sent = permute(np.arange(size), np.full(size, size), keys)
        assert sorted(sent.tolist()) == list(range(size))


def test_permutations_spread_every_index_evenly() -> None:
    # 3 elements have 6 orders; 200 of each are expected, with a deviation of 13.
    orders: dict[tuple[int, ...], int] = {}
    for key in range(1200):
        sent = permute(np.arange(3), np.full(3, 3), np.full(3, key * 7919 + 5, dtype=np.uint64))
        orders[tuple(sent.tolist())] = orders.get(tuple(sent.tolist()), 0) + 1
    assert len(orders) == 6
    assert 150 < min(orders.values()) <= max(orders.values()) < 250


def test_shuffled_order_depends_on_seed_and_name_only() -> None:
    order = shuffled_order(100, 0, "x").tolist()
    assert sorted(order) == list(range(100))
    assert order == shuffled_order(100, 0, "x").tolist()
    assert order != shuffled_order(100, 1, "x").tolist()
    assert order != shuffled_order(100, 0, "y").tolist()


@pytest.mark.parametrize(
    ("rates", "sizes", "message"),
    [
        ([1.0], [0], "a task that is drawn needs at least one example"),
        ([0.0], [1], "rates must not be negative, and one must be above 0"),
        ([-1.0, 2.0], [1, 1], "rates must not be negative, and one must be above 0"),
        ([1.0], [1, 1], "rates, sizes and names must have one entry per task"),
    ],
)
def test_rates_that_cannot_be_drawn_are_refused(rates, sizes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MixtureSchedule(rates, sizes, 0)


def test_range_must_be_in_order() -> None:
    with pytest.raises(ValueError, match="positions 5 to 4 are no range"):
        MixtureSchedule([1.0], [1], 0).entries(5, 4)


def test_changed_rates_hold_from_their_block_on_and_leave_the_past_alone() -> None:
    plain, changed = MixtureSchedule(RATES, SIZES, 0), MixtureSchedule(RATES, SIZES, 0)
    changed.change_rates(100, [0.25, 0.55, 0.1995, 0.0005])
    before = 100 * BLOCK_LENGTH
    assert (changed.entries(0, before)[0] == plain.entries(0, before)[0]).all()
    assert (changed.entries(0, before)[1] == plain.entries(0, before)[1]).all()
    drawn = changed.counts(300 * BLOCK_LENGTH) - changed.counts(before)
    assert np.abs(drawn / (200 * BLOCK_LENGTH) - [0.25, 0.55, 0.1995, 0.0005]).max() < 1e-4


def test_epochs_go_on_across_a_change_of_rates() -> None:
    schedule = MixtureSchedule(RATES, SIZES, 0)
    schedule.change_rates(3, [0.4, 0.4, 0.1995, 0.0005])
    schedule.change_rates(7, [0.6, 0.2, 0.1995, 0.0005])
    tasks, examples = schedule.entries(0, 12 * BLOCK_LENGTH)
    drawn = examples[tasks == 1]
    epochs = drawn[: len(drawn) // 7 * 7].reshape(-1, 7)
    assert (np.sort(epochs, axis=1) == np.arange(7)).all()


def test_any_range_follows_from_the_recorded_phases() -> None:
    schedule = MixtureSchedule(RATES, SIZES, 7)
    for block, rates in [(20, [0.3, 0.5, 0.15, 0.05]), (21, [0.7, 0.1, 0.1, 0.1])]:
        schedule.change_rates(block, rates)
    tasks, examples = schedule.entries(0, 200 * BLOCK_LENGTH)
    for block in (0, 20, 21, 150):
        fresh = MixtureSchedule(RATES, SIZES, 7)
        fresh.restore_phases(schedule.phases_from(block))
        start, stop = block * BLOCK_LENGTH + 5, 200 * BLOCK_LENGTH
        part_tasks, part_examples = fresh.entries(start, stop)
        assert (part_tasks == tasks[start:stop]).all()
        assert (part_examples == examples[start:stop]).all()
        assert (fresh.counts(stop) == schedule.counts(stop)).all()


def test_later_change_at_the_same_block_replaces_the_first() -> None:
    once, twice = MixtureSchedule(RATES, SIZES, 0), MixtureSchedule(RATES, SIZES, 0)
    twice.change_rates(5, [0.1, 0.7, 0.1, 0.1])
    for schedule in (once, twice):
        schedule.change_rates(5, [0.4, 0.4, 0.15, 0.05])
    assert once.phases_from(0) == twice.phases_from(0)


def test_what_lies_before_restored_phases_is_refused() -> None:
    schedule = MixtureSchedule(RATES, SIZES, 0)
    schedule.change_rates(5, [0.4, 0.4, 0.15, 0.05])
    schedule.restore_phases(schedule.phases_from(9))
    with pytest.raises(ValueError, match="the rates of block 4 are not known, only from 5 on"):
        schedule.entries(4 * BLOCK_LENGTH, 5 * BLOCK_LENGTH)


@pytest.mark.parametrize(
    ("block", "rates", "message"),
    [
        (4, [0.4, 0.4, 0.15, 0.05], "no rates can start at block 4 after block 5"),
        (6, [0.5, 0.5], "no rates can start at block 6 after block 5"),
        (6, [0.5, 0.5, 0, 0], "rates must be above 0 where they were at the start"),
    ],
)
def test_changes_that_do_not_fit_are_refused(block: int, rates, message: str) -> None:
    schedule = MixtureSchedule(RATES, SIZES, 0)
    schedule.change_rates(5, [0.4, 0.4, 0.15, 0.05])
    with pytest.raises(ValueError, match=message):
        schedule.change_rates(block, rates)
