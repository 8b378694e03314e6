"""Section scores and the weights of the fourth version."""

from __future__ import annotations

import pytest

from eval.bfcl.aggregate import SECTION_WEIGHTS, section_scores
from eval.bfcl.categories import CATEGORIES, SCORED_CATEGORIES
from pipeline.errors import EvalError


def test_there_are_5106_scoring_rows_and_the_weights_add_up_to_one():
    assert sum(category.num_rows for category in CATEGORIES.values()) == 5106
    assert sum(SECTION_WEIGHTS.values()) == pytest.approx(1.0)
    assert len(SCORED_CATEGORIES) == 13


def test_non_live_is_the_plain_mean_of_four_parts_of_which_simple_is_a_mean_of_three():
    scores = section_scores(
        {
            "simple_python": 0.9,
            "simple_java": 0.6,
            "simple_javascript": 0.3,
            "multiple": 0.8,
            "parallel": 0.4,
            "parallel_multiple": 0.2,
        }
    )
    # simple is 0.6; the sum of the four parts is 2.0
    assert scores["non_live"].accuracy == pytest.approx(0.5)
    assert scores["non_live"].missing == ()


def test_live_is_weighted_by_rows():
    scores = section_scores({"live_simple": 1.0, "live_multiple": 0.0, "live_parallel": 1.0})
    # 258 + 16 right of 1351 rows
    assert scores["live"].accuracy == pytest.approx(274 / 1351)
    assert scores["live"].missing == ("live_parallel_multiple",)


def test_categories_that_were_not_run_count_as_zero_and_are_named():
    scores = section_scores({"irrelevance": 1.0, "live_irrelevance": 0.5, "live_relevance": 1.0})
    assert scores["irrelevance"].accuracy == pytest.approx(0.75)
    assert scores["overall"].accuracy == pytest.approx(0.075)
    assert "multi_turn_base" in scores["overall"].missing
    assert "live_relevance" not in scores["overall"].missing


def test_the_published_row_of_a_model_adds_up():
    # Qwen3-0.6B FC on the leaderboard: sections in percent, agentic from the overall of 23.93.
    sections = {"non_live": 0.7179, "live": 0.5662, "irrelevance": 0.8084, "multi_turn": 0.0362}
    partial = sum(SECTION_WEIGHTS[name] * value for name, value in sections.items())
    assert partial == pytest.approx(0.2201, abs=1e-4)
    assert partial < 0.2393 < partial + SECTION_WEIGHTS["agentic"]


def test_a_perfect_score_is_one_in_every_section():
    scores = section_scores(dict.fromkeys(CATEGORIES, 1.0))
    assert {name: score.accuracy for name, score in scores.items()} == pytest.approx(
        dict.fromkeys([*SECTION_WEIGHTS, "overall"], 1.0)
    )


def test_an_unknown_category_is_refused():
    with pytest.raises(EvalError) as caught:
        section_scores({"simple": 1.0})
    assert caught.value.code == "BFC101"
