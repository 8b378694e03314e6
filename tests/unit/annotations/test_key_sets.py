import random

from pipeline.annotations.key_sets import KeyNumbers, KeySet


def keys_of(seed, count, modulus):
    rng = random.Random(seed)
    # Few low bits, so that many keys want the same slot.
    return [(rng.randrange(1, 1 << 32) << 32) | rng.randrange(1, modulus) for _ in range(count)]


def test_a_set_holds_what_a_python_set_would():
    for modulus in (3, 1 << 31):
        ours, oracle = KeySet(), set()
        for key in keys_of(1, 5000, modulus) * 2:
            assert (key in ours) == (key in oracle)
            ours.add(key)
            oracle.add(key)
            assert len(ours) == len(oracle)
        assert all(key in ours for key in oracle)
        assert not any(key in ours for key in keys_of(2, 500, modulus) if key not in oracle)


def test_numbers_are_those_a_dict_would_hold():
    ours, oracle = KeyNumbers(), {}
    rng = random.Random(0)
    known = keys_of(3, 3000, 50)
    for _ in range(20_000):
        key, number = rng.choice(known), rng.randrange(1 << 64)
        assert ours[key] == oracle.get(key, 0)
        ours[key] = oracle[key] = number
    assert len(ours) == len(oracle)
    assert all(ours[key] == number for key, number in oracle.items())


def test_a_key_takes_at_most_22_bytes_and_44_with_a_number():
    keys, numbers = KeySet(), KeyNumbers()
    for key in keys_of(4, 30_000, 1 << 32):
        keys.add(key)
        numbers[key] = 1
        if len(keys) > 1000:
            assert keys.num_bytes / len(keys) <= 22
            assert numbers.num_bytes / len(numbers) <= 44
