"""Training rows on their other strand: only where strands mean the same, and the same again."""

from __future__ import annotations

import pytest

from pipeline.annotations.sequences import reverse_complement
from pipeline.recipe import Recipe
from pipeline.training.task_tokens import data_of, load_source

MARK, PROMOTER = "gue/emp_H3", "gue/prom_300_tata"


@pytest.fixture(scope="module", autouse=True)
def _cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


def sources(share, split="train", seed=42):
    recipe = Recipe(
        model_name_or_path="embedded",
        tasks=[MARK, PROMOTER],
        data_root="embedded",
        other_strand_share=share,
        seed=seed,
    )
    return {data.name: load_source(recipe, data) for data in data_of(recipe, split)}


def is_other(source, index):
    example = source.examples[index]
    shown = source.render(example).messages[0].content
    bases = example.inputs["sequence"]
    assert (f"<dna>{bases}</dna>" in shown) != (f"<dna>{reverse_complement(bases)}</dna>" in shown)
    return f"<dna>{bases}</dna>" not in shown


def test_about_the_share_of_rows_is_turned_where_strands_are_alike_and_none_elsewhere():
    found = sources(0.5)
    turned = [is_other(found[MARK], index) for index in range(200)]
    assert 70 < sum(turned) < 130
    assert turned == [is_other(sources(0.5)[MARK], index) for index in range(200)]
    assert not any(is_other(found[PROMOTER], index) for index in range(50))


def test_without_a_share_and_outside_of_training_nothing_is_turned():
    assert not any(is_other(sources(0.0)[MARK], index) for index in range(50))
    assert not any(is_other(sources(1.0, "validation")[MARK], index) for index in range(50))


def test_the_share_and_its_seed_name_the_tokens():
    prints = {sources(share, seed=seed)[MARK].fingerprint for share, seed in CASES}
    assert len(prints) == 3
    assert sources(0.0, seed=1)[MARK].fingerprint == sources(0.0, seed=2)[MARK].fingerprint


CASES = [(0.0, 1), (0.5, 1), (0.5, 2)]
