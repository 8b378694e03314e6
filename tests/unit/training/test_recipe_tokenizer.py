"""The tokens that a recipe adds: byte-pair units of its own rows, its tasks, its labels."""

from __future__ import annotations

import pytest

from pipeline.chat.dna import find_dna_unit
from pipeline.errors import MixtureError
from pipeline.recipe import Recipe
from pipeline.training.recipe_tokenizer import (
    find_new_token_ids,
    load_recipe_tokenizer,
    token_extension,
)

MARK = "gue/emp_H3"


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))


def recipe_of(tasks, **changes):
    return Recipe(model_name_or_path="dna-200k", tasks=tasks, data_root="embedded", **changes)


def test_units_are_learned_once_from_the_training_rows():
    recipe = recipe_of([MARK], dna_unit="bpe", dna_vocabulary_size=40)
    first, second = token_extension(recipe), token_extension(recipe)
    assert first == second
    assert len(first.dna_merges) == 36
    assert token_extension(recipe_of([MARK], dna_unit="kmer3")).dna_merges == ()
    tokenizer = load_recipe_tokenizer(recipe)
    assert find_dna_unit(tokenizer) == "bpe"
    assert max(find_new_token_ids(recipe)) == len(tokenizer) - 1


def test_without_dna_there_is_nothing_to_learn_units_from():
    with pytest.raises(MixtureError) as caught:
        token_extension(recipe_of(["pubmedqa"], dna_unit="bpe"))
    assert str(caught.value) == (
        "dna_unit: no task has DNA to learn units from. "
        "Use kmer3 or kmer6, or add a DNA task. [MIX008]"
    )


def test_tasks_and_labels_become_tokens_only_where_they_are_asked_for():
    assert token_extension(recipe_of([MARK])).tasks == ()
    extension = token_extension(
        recipe_of([MARK, "gue/splice_reconstructed"], task_tokens=True, label_tokens=True)
    )
    assert extension.tasks == (MARK, "gue/splice_reconstructed")
    assert extension.labels == ("no", "yes", "acceptor", "donor", "neither")
