"""The numbers of continual learning against values worked out elsewhere."""

from __future__ import annotations

import pytest

from eval.continual import ContinualScores, stage_means

R = ((0.8, 0.2, 0.1), (0.7, 0.9, 0.3), (0.6, 0.85, 0.95))
BASE = (0.1, 0.15, 0.1)


def test_the_golden_matrix_gives_the_golden_numbers():
    scores = ContinualScores(stages=("a", "b", "c"), matrix=R, base=BASE)
    assert scores.accuracy == pytest.approx(0.8)
    assert scores.backward_transfer == pytest.approx(-0.125)
    assert scores.forward_transfer == pytest.approx(0.125)
    assert scores.forgetting == pytest.approx(0.125)
    # (0.8 + 0.9 + 0.95) / 3, and the first stage fell from 0.8 to 0.6
    assert scores.learning_accuracy == pytest.approx(2.65 / 3)
    assert scores.worst_drop == pytest.approx(0.2)


def test_forgetting_counts_from_the_best_and_not_from_the_first_score():
    matrix = ((0.5, 0.0, 0.0), (0.9, 0.5, 0.0), (0.4, 0.5, 0.5))
    scores = ContinualScores(stages=("a", "b", "c"), matrix=matrix, base=(0.0, 0.0, 0.0))
    assert scores.forgetting == pytest.approx((0.5 + 0.0) / 2)
    assert scores.backward_transfer == pytest.approx((-0.1 + 0.0) / 2)


def test_stages_that_keep_their_adapters_lose_nothing():
    matrix = ((0.8, 0.2), (0.8, 0.9))
    scores = ContinualScores(stages=("a", "b"), matrix=matrix, base=(0.1, 0.2), joint=(0.9, 0.9))
    assert scores.backward_transfer == 0.0
    assert scores.forward_transfer == 0.0
    assert scores.forgetting == 0.0
    assert scores.worst_drop == 0.0
    assert scores.to_json()["joint"] == [0.9, 0.9]


def test_a_stage_counts_as_the_mean_of_its_tasks():
    assert stage_means({"x": 0.2, "y": 0.6, "z": 1.0}, [["x", "y"], ["z"]]) == (0.4, 1.0)
