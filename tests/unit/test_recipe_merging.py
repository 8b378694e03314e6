"""Merge recipes: which method `fit` stands for."""

from __future__ import annotations

import pytest

from pipeline.recipe.merging import MergeRecipe


@pytest.mark.parametrize(
    ("fit", "method"),
    [
        ({}, "regmean"),
        ({"num_prompts": 8, "split": "train"}, "regmean"),
        ({"off_diagonal": 0.5}, "regmean"),
        ({"num_steps": 3}, "learned"),
        ({"granularity": "block"}, "learned"),
        ({"objective": "supervised"}, "learned"),
        ({"grid": [0.3, 0.5]}, "best_uniform"),
        (None, "linear"),
    ],
)
def test_without_a_method_the_one_that_reads_the_fields_is_taken(fit, method):
    fields: dict = {"adapters": [{"name": "a", "path": "a", "task": "one/a"}]}
    if fit is not None:
        fields["fit"] = {"model_name_or_path": "base", **fit}
    assert MergeRecipe.model_validate(fields).method == method


def test_fit_that_is_no_map_is_one_mistake():
    with pytest.raises(ValueError, match="fit"):
        MergeRecipe.model_validate(
            {"adapters": [{"name": "a", "path": "a", "task": "one/a"}], "fit": "rows"}
        )
