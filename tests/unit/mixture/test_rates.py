"""Rates of each policy, against values computed by hand or taken from the papers' formulas."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import MixtureError
from pipeline.mixture.rates import (
    RateRule,
    TaskGroup,
    group_rates,
    limit_repeats,
    rates_in_examples,
    task_rates,
)

SIZES = {"a": 500_000, "b": 50_000, "c": 5_000, "d": 500}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (RateRule(policy="proportional"), [0.9001, 0.0900, 0.0090, 0.0009]),
        (RateRule(policy="capped"), [0.5415, 0.4131, 0.0413, 0.0041]),
        (RateRule(cap=None), [0.6907, 0.2184, 0.0691, 0.0218]),
        (RateRule(temperature=5, cap=None), [0.4385, 0.2767, 0.1746, 0.1102]),
        (RateRule(), [0.4470, 0.3905, 0.1235, 0.0390]),
        (RateRule(policy="sqrt"), [0.6907, 0.2184, 0.0691, 0.0218]),
        (RateRule(policy="uniform"), [0.25, 0.25, 0.25, 0.25]),
        (
            RateRule(policy="explicit", weights={"a": 1, "b": 2, "c": 1, "d": 0}),
            [0.25, 0.5, 0.25, 0.0],
        ),
    ],
)
def test_policies_give_their_published_rates(rule: RateRule, expected: list[float]) -> None:
    rates = task_rates(SIZES, rule)
    assert list(rates) == list(SIZES)
    assert list(rates.values()) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    ("max_epochs", "expected"),
    [(4, [0.39, 0.39, 0.20, 0.02]), (1, [0.4725, 0.4725, 0.05, 0.005])],
)
def test_unimax_spends_the_budget_evenly_up_to_the_passes(max_epochs, expected) -> None:
    rates = task_rates(SIZES, RateRule(policy="unimax", max_epochs=max_epochs), num_draws=100_000)
    assert list(rates.values()) == pytest.approx(expected, abs=1e-9)


def test_ceiling_limits_passes_and_gives_the_rest_in_proportion() -> None:
    # Temperature 2 alone passes over d 0.0218 * 100,000 / 500 = 4.4 times; 4 times is 0.02.
    rates = task_rates(SIZES, RateRule(cap=None), num_draws=100_000)
    assert rates["d"] == pytest.approx(0.02)
    assert rates["a"] / rates["b"] == pytest.approx(10**0.5)
    assert sum(rates.values()) == pytest.approx(1.0)


def test_ceiling_reaches_tasks_that_only_the_redistribution_lifts() -> None:
    # b may have 0.1 and c 0.4 of 10 draws; what b loses lifts c from 1/3 to 0.45, over its own.
    rates = task_rates(
        {"a": 100, "b": 1, "c": 4}, RateRule(policy="uniform", max_epochs=1), num_draws=10
    )
    assert list(rates.values()) == pytest.approx([0.5, 0.1, 0.4])


def test_run_longer_than_all_data_repeats_every_task_equally() -> None:
    rates = task_rates({"a": 30, "b": 10}, RateRule(max_epochs=1), num_draws=1000)
    assert rates == pytest.approx({"a": 0.75, "b": 0.25})


def test_empty_task_gets_no_draws() -> None:
    assert task_rates({"a": 0, "b": 7}, RateRule(policy="uniform")) == {"a": 0.0, "b": 1.0}


def test_group_rate_times_rate_inside() -> None:
    tree = TaskGroup(
        name="all",
        rule=RateRule(policy="explicit", weights={"a": 1, "small": 3}),
        members=(
            "a",
            TaskGroup(name="small", members=("c", "d"), rule=RateRule(policy="proportional")),
        ),
    )
    sizes = {"a": 500_000, "c": 5_000, "d": 500}
    expected = {"a": 0.25, "c": 0.75 * 10 / 11, "d": 0.75 / 11}
    assert group_rates(tree, sizes) == pytest.approx(expected)


def test_group_counts_as_large_as_its_members_together() -> None:
    tree = TaskGroup(
        name="all",
        rule=RateRule(policy="proportional"),
        members=("b", TaskGroup(name="small", members=("c", "d"), rule=RateRule(policy="uniform"))),
    )
    rates = group_rates(tree, {"b": 4_500, "c": 5_000, "d": 500})
    assert rates == pytest.approx({"b": 0.45, "c": 0.275, "d": 0.275})


def test_group_of_weight_zero_is_not_drawn() -> None:
    tree = TaskGroup(
        name="all",
        rule=RateRule(policy="explicit", weights={"a": 1, "off": 0}),
        members=("a", TaskGroup(name="off", members=("b",))),
    )
    assert group_rates(tree, {"a": 1, "b": 1}) == {"a": 1.0, "b": 0.0}


def test_token_rates_become_example_rates_by_length() -> None:
    rates = rates_in_examples({"long": 0.5, "short": 0.5, "off": 0.0}, {"long": 90, "short": 10})
    assert rates == pytest.approx({"long": 0.1, "short": 0.9, "off": 0.0})


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        (
            RateRule(policy="explicit", weights={"a": 1}),
            "mixture.weights: no weight for 'b' in explicit weights. Give every task of the "
            "mixture one weight. [MIX001]",
        ),
        (
            RateRule(policy="explicit", weights={"a": 1, "b": 1, "x": 1}),
            "mixture.weights: no task 'x' in explicit weights. Give every task of the mixture one "
            "weight. [MIX001]",
        ),
        (
            RateRule(policy="explicit", weights={"a": -1, "b": 1}),
            "mixture.weights: the weight of 'a' is -1, allowed is a number of at least 0. [MIX001]",
        ),
        (
            RateRule(temperature=0),
            "mixture.temperature: 0 given, allowed is a number above 0. [MIX001]",
        ),
        (RateRule(cap=-5), "mixture.cap: -5 given, allowed is a number above 0. [MIX001]"),
        (
            RateRule(policy="unimax"),
            "mixture: policy 'unimax' needs the number of draws and max_epochs. Set max_steps or "
            "num_train_epochs, and max_epochs. [MIX001]",
        ),
        (
            RateRule(policy="explicit", weights={"a": 0, "b": 0}),
            "mixture: none of 2 tasks can be drawn: each is empty or has weight 0. Give at least "
            "one task with training examples a weight above 0. [MIX002]",
        ),
    ],
)
def test_rule_that_cannot_hold_is_told(rule: RateRule, message: str) -> None:
    with pytest.raises(MixtureError) as error:
        task_rates({"a": 10, "b": 20}, rule)
    assert str(error.value) == message


@pytest.mark.parametrize(
    ("members", "message"),
    [
        (("a", "x"), "mixture group 'all': unknown task 'x'. Name each task once. [MIX003]"),
        (("a", "a"), "mixture group 'all': 'a' stands twice. Name each task once. [MIX003]"),
    ],
)
def test_group_of_other_tasks_is_told(members, message: str) -> None:
    with pytest.raises(MixtureError) as error:
        group_rates(TaskGroup(name="all", members=members), {"a": 1})
    assert str(error.value) == message


def test_full_tasks_beside_one_without_rate_stay_full_in_spite_of_rounding():
    sizes = np.array([1552, 1701, 561, 3086, 1700, 1501, 0], dtype=np.float64)
    rates = np.sqrt(sizes) / np.sqrt(sizes).sum()
    found = limit_repeats(rates, sizes, num_draws=4 * sizes.sum(), max_epochs=4)
    assert np.isfinite(found).all()
    assert found == pytest.approx(sizes / sizes.sum())
