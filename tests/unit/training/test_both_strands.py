"""Training rows on both strands: only where strands mean the same, and only in training."""

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


def sources(split="train", *, both=True):
    recipe = Recipe(
        model_name_or_path="embedded",
        tasks=[MARK, PROMOTER],
        data_root="embedded",
        both_strands=both,
    )
    return {data.name: load_source(recipe, data) for data in data_of(recipe, split)}


def test_every_row_comes_on_both_strands_and_with_its_answer():
    found = sources()[MARK]
    size = len(found.examples)
    rows = list(found.rows)
    assert len(rows) == len(found.rows) == 2 * size
    assert rows[:size] == list(found.examples)
    for index in (0, 7, size - 1):
        plain, other = rows[index], rows[size + index]
        bases = plain.inputs["sequence"]
        assert other.inputs["sequence"] == reverse_complement(bases)
        assert other.target == plain.target
        shown = found.render(other).messages[0].content
        assert f"<dna>{reverse_complement(bases)}</dna>" in shown
        assert found.rows[size + index] == other
        assert found.rows[index - 2 * size] == plain
    assert len({row.key for row in rows}) == 2 * size
    with pytest.raises(IndexError, match=f"example {2 * size} of {2 * size}"):
        found.rows[2 * size]


def test_where_strands_differ_or_nothing_is_trained_rows_come_once():
    for source in (sources()[PROMOTER], sources("validation")[MARK], sources(both=False)[MARK]):
        assert source.rows is source.examples


def test_tokens_of_both_strands_have_a_name_of_their_own():
    prints = {name: source.fingerprint for name, source in sources().items()}
    plain = {name: source.fingerprint for name, source in sources(both=False).items()}
    assert prints[MARK] != plain[MARK]
    assert prints[PROMOTER] == plain[PROMOTER]
