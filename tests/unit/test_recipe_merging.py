"""Merge recipes: which method `fit` stands for."""

from __future__ import annotations

import pytest

from pipeline.errors import RecipeError
from pipeline.recipe import load_recipe
from pipeline.recipe.continual import load_continual
from pipeline.recipe.merging import MergeRecipe, load_merge_recipe


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


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"density": 0.3}, "density"),
        ({"method": "ties", "density": 0.3}, None),
        ({"method": "ties", "weight": 0.3}, None),
        ({"weight": 0.3}, None),
        ({"method": "regmean", "weight": 0.3}, "weight"),
        ({"method": "learned", "density": 0.3}, "density"),
    ],
)
def test_a_field_that_the_method_does_not_read_is_refused(fields, name):
    recipe = {"adapters": [{"name": "a", "path": "a", "task": "one/a"}], **fields}
    if fields.get("method") in {"regmean", "learned"}:
        recipe["fit"] = {"model_name_or_path": "base"}
    if name is None:
        MergeRecipe.model_validate(recipe)
        return
    with pytest.raises(ValueError, match=f"{name}(.|\n)*does not read it"):
        MergeRecipe.model_validate(recipe)


def test_the_weight_of_one_adapter_is_refused_where_weights_are_fitted():
    source = {"name": "a", "path": "a", "task": "one/a", "weight": 0.5}
    fields = {"adapters": [source], "fit": {"model_name_or_path": "base"}}
    with pytest.raises(ValueError, match=r"adapters\.0\.weight(.|\n)*does not read it"):
        MergeRecipe.model_validate(fields)


def test_fit_that_is_no_map_is_one_mistake():
    with pytest.raises(ValueError, match="fit"):
        MergeRecipe.model_validate(
            {"adapters": [{"name": "a", "path": "a", "task": "one/a"}], "fit": "rows"}
        )


@pytest.mark.parametrize(
    ("load", "text", "told"),
    [
        (load_recipe, "source: {hub: a/b}\nfields: {text: t}\n", "an annotation"),
        (load_recipe, "stages: []\ntraining: {}\n", "`taskloom continual`"),
        (load_recipe, "adapters: []\n", "`taskloom merge`"),
        (load_merge_recipe, "model_name_or_path: embedded\ntasks: [a]\n", "a training recipe"),
        (load_continual, "model_name_or_path: embedded\ntasks: [a]\n", "a training recipe"),
        (load_continual, "adapters: []\n", "a merge recipe"),
    ],
)
def test_a_file_of_another_kind_is_told_in_one_line(tmp_path, load, text, told):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match="REC011") as caught:
        load(path)
    assert told in str(caught.value)
