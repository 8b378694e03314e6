"""Rates that follow the loss, within bounds."""

from __future__ import annotations

import json
import math
import random

import numpy as np
import pytest

from pipeline.mixture.excess_loss import ExcessLossRates

STATIC = [0.5, 0.3, 0.2, 0.0]
REFERENCE = [1.0, 1.0, 1.0, 1.0]


def policy(**changes) -> ExcessLossRates:
    return ExcessLossRates(STATIC, REFERENCE, **({"step_size": 1.0} | changes))


def test_rates_are_the_static_ones_until_a_loss_is_seen() -> None:
    assert policy().rates() == pytest.approx(STATIC)
    assert policy().update([None] * 4) == pytest.approx(STATIC)


def test_equal_excess_and_losses_below_their_reference_change_nothing() -> None:
    assert policy().update([1.7, 1.7, 1.7, None]) == pytest.approx(STATIC)
    assert policy().update([0.2, 0.9, 0.5, None]) == pytest.approx(STATIC)


def test_factors_are_those_of_the_exponential_update() -> None:
    # Mean excess 0.3 * 0.4 = 0.12; factors exp(0.28) and exp(-0.12), rounded, then scaled.
    rates = policy().update([1.0, 1.4, 1.0, None])
    raw = [0.5 * 0.89, 0.3 * 1.32, 0.2 * 0.89]
    assert round(math.exp(0.28), 2) == 1.32
    assert round(math.exp(-0.12), 2) == 0.89
    assert rates == pytest.approx([*(rate / sum(raw) for rate in raw), 0.0])


@pytest.mark.parametrize("seed", range(30))
def test_rates_stay_between_half_and_twice_the_static_rate_and_sum_to_one(seed: int) -> None:
    rng = random.Random(seed)
    static = [rng.random() for _ in range(rng.randint(1, 40))]
    static = [rate / sum(static) for rate in static]
    rates = ExcessLossRates(static, [0.5] * len(static), step_size=3.0)
    for _ in range(20):
        now = rates.update([rng.choice([None, rng.expovariate(0.3)]) for _ in static])
        assert sum(now) == pytest.approx(1.0)
        for rate, start in zip(now, static, strict=True):
            assert 0.5 * start - 1e-12 <= rate <= 2 * start + 1e-12


def test_hard_task_reaches_twice_its_rate_and_no_more() -> None:
    rates = policy()
    for _ in range(50):
        now = rates.update([1.0, 1.0, 5.0, None])
    assert now[2] == pytest.approx(0.4)
    assert now[3] == 0.0


def test_ceiling_on_passes_bounds_the_rate_too() -> None:
    rates = policy(highest_rates=lambda _: np.array([1.0, 1.0, 0.25, 1.0]))
    for _ in range(50):
        now = rates.update([1.0, 1.0, 5.0, None])
    assert now[2] == pytest.approx(0.25)
    below = policy(highest_rates=lambda _: np.array([1.0, 1.0, 0.1, 1.0]))
    assert below.update([1.0, 1.0, 5.0, None])[2] == pytest.approx(0.2)


def test_ceiling_is_that_of_the_rates_that_are_drawn_at() -> None:
    # A run of 1000 tokens; the third task has 8 examples of 10 tokens, the others short ones.
    lengths, most = np.array([1.0, 2.0, 10.0, 1.0]), np.array([1e6, 1e6, 4 * 20.0, 0.0])

    def highest(rates):
        return most / (1000.0 / np.dot(rates, lengths))

    for losses in ([1.0, 1.0, 5.0, None], [9.0, 1.0, 5.0, None], [1.0, 9.0, 5.0, None]):
        rates = policy(highest_rates=highest)
        for _ in range(20):
            now = rates.update(losses)
        draws = 1000.0 / np.dot(now, lengths)
        assert now[2] * draws <= max(most[2], STATIC[2] * draws) * 1.001
        assert sum(now) == pytest.approx(1.0)


def test_last_digits_of_losses_do_not_matter() -> None:
    first, second = policy(), policy()
    assert first.update([2.0, 1.5, 1.25, None]) == second.update(
        [2.0 + 1e-7, 1.5 - 1e-7, 1.25, None]
    )


def test_state_is_plain_json_and_goes_on() -> None:
    whole = policy()
    whole.update([2.0, 1.0, 1.0, None])
    stopped = policy()
    stopped.load_state(json.loads(json.dumps(whole.state())))
    assert stopped.rates() == whole.rates()
    assert stopped.update([1.0, 1.0, 3.0, None]) == whole.update([1.0, 1.0, 3.0, None])
