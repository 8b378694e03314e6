import numpy as np
import pytest

from pipeline.annotations.source import Take
from pipeline.errors import SourceError
from pipeline.sources.selection import choose_rows, hash_numbers, partition_rows


def take(amount, seed=0):
    return Take.model_validate({"take": amount, "from": "train", "seed": seed})


def reference_hash(number, seed):
    """SplitMix64 in plain integers."""
    mask = (1 << 64) - 1
    start = (seed * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & mask
    mixed = (number * 0x9E3779B97F4A7C15 + start) & mask
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & mask
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & mask
    return mixed ^ (mixed >> 31)


def test_hashes_equal_those_of_plain_integers():
    numbers = np.array([0, 1, 2, 10**6, 2**40], dtype=np.int64)
    for seed in (0, 1, 13):
        expected = [reference_hash(int(number), seed) for number in numbers]
        assert hash_numbers(numbers, seed).tolist() == expected


def test_a_partition_is_disjoint_complete_and_in_order():
    parts = partition_rows(1000, {"validation": take(0.1), "test": take(50, seed=4)}, where="x")
    assert {name: len(rows) for name, rows in parts.items()} == {
        "validation": 100,
        "test": 50,
        None: 850,
    }
    together = np.concatenate(list(parts.values()))
    assert sorted(together.tolist()) == list(range(1000))
    assert all((np.diff(rows) > 0).all() for rows in parts.values())


def test_a_partition_depends_on_the_seed_alone():
    first = partition_rows(100, {"test": take(0.2)}, where="x")["test"]
    again = partition_rows(100, {"test": take(0.2)}, where="x")["test"]
    other = partition_rows(100, {"test": take(0.2, seed=1)}, where="x")["test"]
    assert first.tolist() == again.tolist()
    assert first.tolist() != other.tolist()


def test_taking_everything_is_an_error():
    with pytest.raises(SourceError) as caught:
        partition_rows(10, {"test": take(10)}, where="glue/rte (train)")
    assert str(caught.value) == (
        "glue/rte (train): split 'test' takes 10 of 10 rows, which leaves none. "
        "Take fewer rows. [SRC120]"
    )


def test_chosen_rows_are_sorted_nested_and_capped():
    ten, five = choose_rows(100, 10, seed=3), choose_rows(100, 5, seed=3)
    assert len(ten) == 10
    assert set(five.tolist()) < set(ten.tolist())
    assert (np.diff(ten) > 0).all()
    assert choose_rows(4, 10, seed=0).tolist() == [0, 1, 2, 3]
    assert choose_rows(4, 0, seed=0).tolist() == []


def test_rows_are_chosen_evenly():
    chosen = choose_rows(100_000, 10_000, seed=0)
    shares = np.histogram(chosen, bins=10, range=(0, 100_000))[0]
    # Binomial with n = 10,000 and p = 0.1: three standard deviations are 90.
    assert (abs(shares - 1000) < 120).all()
