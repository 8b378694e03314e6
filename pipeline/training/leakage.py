"""Keeps evaluated rows out of training, as the recipe's `decontaminate` says."""

from __future__ import annotations

from typing import cast

from pipeline.examples.overlap import (
    Leakage,
    check_leakage,
    find_leakage,
    refuse_evaluated_splits,
)
from pipeline.examples.overlap.leakage import Started
from pipeline.recipe import Recipe
from pipeline.training.early_checks import recipe_catalogue
from pipeline.types import Json


def leakage_of(recipe: Recipe, *, started: Started | None = None) -> Leakage | None:
    """Return what training and evaluation have in common; `None` when nobody wants to know.

    Args:
        recipe: The recipe.
        started: See `find_leakage`.

    Raises:
        MixtureError: The recipe trains on an evaluated split (OVL001), or on rows that it does
            not allow (see `check_leakage`).
        PipelineError: Data cannot be read.
    """
    catalogue = recipe_catalogue(recipe)
    if recipe.decontaminate == "none":
        refuse_evaluated_splits(recipe, catalogue)
        return None
    leakage = find_leakage(recipe, catalogue, started=started)
    check_leakage(leakage, recipe.decontaminate)
    return leakage


def find_left_out(recipe: Recipe) -> Leakage | None:
    """Return what `decontaminate: drop` leaves out; `None` with any other policy.

    Cheap but for `drop`: whether a training split is an evaluated split is told by files.

    Raises:
        MixtureError: As `leakage_of`, without rows being compared for other policies than `drop`.
        PipelineError: Data cannot be read.
    """
    if recipe.decontaminate == "drop":
        return leakage_of(recipe)
    refuse_evaluated_splits(recipe, recipe_catalogue(recipe))
    return None


def leakage_to_json(recipe: Recipe, leakage: Leakage | None) -> dict[str, Json]:
    """Return the part `overlap` of a run's data report."""
    found: dict[str, Json] = {"decontaminate": recipe.decontaminate}
    if leakage is None:
        return found
    found |= leakage.report.to_json()
    are_dropped = recipe.decontaminate == "drop"
    for task, entry in zip(
        leakage.report.training, cast("list[Json]", found["training"]), strict=True
    ):
        cast("dict[str, Json]", entry)["num_left_out"] = task.num_repeated if are_dropped else 0
    return found


def leakage_notes(recipe: Recipe, leakage: Leakage | None) -> list[str]:
    """Return what a user should know before training."""
    if leakage is None:
        return []
    return leakage.report.notes(are_dropped=recipe.decontaminate == "drop")
