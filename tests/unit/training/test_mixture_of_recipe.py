"""Groups of a recipe become nested rates; wrong groups are told with their place."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from pipeline.mixture.rates import group_rates
from pipeline.recipe import Recipe
from pipeline.training.data import mixture_settings

SIZES = {"a": 500_000, "b": 50_000, "c": 5_000, "d": 500}


def recipe_of(mixture: dict, tasks=("a", "b", "c", "d")) -> Recipe:
    return Recipe.model_validate(
        {"model_name_or_path": "unused", "tasks": list(tasks), "mixture": mixture}
    )


def rates_of(mixture: dict, tasks=("a", "b", "c", "d"), num_draws=None) -> dict[str, float]:
    settings = mixture_settings(recipe_of(mixture, tasks))
    assert settings.group is not None
    return group_rates(settings.group, SIZES, num_draws=num_draws)


def test_groups_share_their_rate_by_their_own_policy() -> None:
    # Outside: a and the group by the square roots of 500,000 and 55,500. Inside: 10 to 1 to 0.1
    # by size.
    rates = rates_of(
        {
            "policy": "sqrt",
            "groups": [{"name": "rest", "policy": "proportional", "tasks": ["b", "c", "d"]}],
        }
    )
    outer = 555**0.5 / (555**0.5 + 5000**0.5)
    assert rates == pytest.approx(
        {
            "a": 1 - outer,
            "b": outer * 500 / 555,
            "c": outer * 50 / 555,
            "d": outer * 5 / 555,
        }
    )


def test_groups_nest_and_take_weights_where_the_policy_around_them_is_explicit() -> None:
    rates = rates_of(
        {
            "policy": "explicit",
            "groups": [
                {
                    "name": "small",
                    "weight": 3,
                    "policy": "uniform",
                    "tasks": ["b"],
                    "groups": [
                        {"name": "tiny", "policy": "temperature", "tasks": ["c", "d"]},
                    ],
                }
            ],
        },
        tasks=[{"task": "a", "weight": 1}, "b", "c", "d"],
    )
    inner = 10**0.5 / (10**0.5 + 1)
    assert rates == pytest.approx(
        {"a": 0.25, "b": 0.375, "c": 0.375 * inner, "d": 0.375 * (1 - inner)}
    )


def test_weights_of_tasks_count_inside_an_explicit_group() -> None:
    rates = rates_of(
        {
            "policy": "uniform",
            "groups": [{"name": "pair", "policy": "explicit", "tasks": ["c", "d"]}],
        },
        tasks=["a", "b", {"task": "c", "weight": 3}, {"task": "d", "weight": 1}],
    )
    assert rates == pytest.approx({"a": 1 / 3, "b": 1 / 3, "c": 0.25, "d": 1 / 12})


def test_ceiling_on_passes_holds_in_groups_too() -> None:
    rates = rates_of(
        {
            "policy": "uniform",
            "max_epochs_per_task": 4,
            "groups": [{"name": "pair", "policy": "uniform", "tasks": ["c", "d"]}],
        },
        num_draws=100_000,
    )
    # 1/3 for the pair is 33,333 draws, but it holds 5,500 examples: 22,000 draws.
    assert rates["c"] + rates["d"] == pytest.approx(0.22)
    assert rates["d"] * 100_000 == pytest.approx(4 * 500)
    assert rates["a"] == rates["b"] == pytest.approx(0.39)


def test_without_groups_there_is_one_rule() -> None:
    assert mixture_settings(recipe_of({"policy": "sqrt"})).group is None


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        ([{"name": "x", "tasks": ["e"]}], "'e' is no task of this recipe"),
        ([{"name": "x", "tasks": ["a", "a"]}], "'a' stands in two groups"),
        ([{"name": "a", "tasks": ["b"]}], "'a' stands twice"),
        ([{"name": "x"}], "group 'x' is empty"),
        ([{"name": "x", "weight": 2, "tasks": ["a"]}], "policy 'temperature' takes no weights"),
        (
            [{"name": "x", "tasks": ["a"], "policy": "explicit"}],
            "policy 'explicit' needs a weight for 'a'",
        ),
        (
            [{"name": "x", "tasks": ["a"], "groups": [{"name": "x", "tasks": ["b"]}]}],
            "'x' stands twice",
        ),
    ],
)
def test_groups_that_cannot_be_are_told(groups, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        recipe_of({"groups": groups})


def test_references_are_given_for_exactly_the_tasks_of_the_recipe() -> None:
    with pytest.raises(ValidationError) as caught:
        recipe_of({"dynamic": {"reference_losses": {"a": 1.0, "b": 1.0, "c": 0.5, "e": 2.0}}})
    assert "no reference for 'd'" in str(caught.value)
    assert "'e' is no task of this recipe" in str(caught.value)
