"""Sums per task."""

from __future__ import annotations

import torch

from pipeline.training.task_meter import TaskMeter, TaskStatistics

CPU = torch.device("cpu")
# Two rows of four tokens, so three predictions each; the last token of row two is padding.
TASK_IDS = torch.tensor([[0, 0, 1, 1], [1, 1, 0, -1]])
LOSS = torch.tensor([[0.0, 2.0, 4.0], [1.0, 3.0, 0.0]])
LABEL_MASK = torch.tensor([[False, True, True], [True, True, False]])
IS_CORRECT = torch.tensor([[False, True, False], [True, False, False]])


def make_meter(names=("a", "b", "c")) -> TaskMeter:
    meter = TaskMeter(names, CPU)
    meter.add(LOSS, IS_CORRECT, LABEL_MASK, TASK_IDS)
    return meter


def test_a_prediction_counts_for_the_task_of_the_predicted_token():
    # Predicted tokens: row one 0, 1, 1; row two 1, 0, padding.
    # Task a: losses 3 (row two); task b: losses 2 and 4 (row one), 1 (row two).
    assert make_meter().drain() == {
        "a": TaskStatistics(loss=3.0, token_accuracy=0.0, num_answer_tokens=1, num_tokens=3),
        "b": TaskStatistics(loss=7 / 3, token_accuracy=2 / 3, num_answer_tokens=3, num_tokens=4),
    }


def test_draining_starts_anew():
    meter = make_meter()
    meter.drain()
    assert meter.drain() == {}
    meter.add(LOSS, IS_CORRECT, LABEL_MASK, TASK_IDS)
    assert meter.drain() == make_meter().drain()


def test_sums_of_several_processes_are_added_before_dividing():
    doubled = make_meter().drain(lambda sums: sums * 2)
    assert doubled["b"].num_answer_tokens == 6
    assert doubled["b"].loss == 7 / 3


def test_ids_outside_the_list_count_for_nobody():
    assert make_meter(("a",)).drain() == {
        "a": TaskStatistics(loss=3.0, token_accuracy=0.0, num_answer_tokens=1, num_tokens=3)
    }


def test_loss_that_is_masked_is_not_counted():
    meter = TaskMeter(("a", "b"), CPU)
    meter.add(LOSS, IS_CORRECT, torch.zeros_like(LABEL_MASK), TASK_IDS)
    assert meter.drain()["a"] == TaskStatistics(
        loss=0.0, token_accuracy=0.0, num_answer_tokens=0, num_tokens=3
    )


def test_a_broken_loss_names_its_task_and_no_other():
    meter = make_meter()
    earlier = meter.sums()
    broken = LOSS.clone()
    broken[1, 1] = float("nan")
    meter.add(broken, IS_CORRECT, LABEL_MASK, TASK_IDS)
    assert meter.tasks_since(earlier) == ["a"]


def test_without_a_broken_loss_all_tasks_seen_since_are_named():
    meter = make_meter()
    earlier = meter.sums()
    assert meter.tasks_since(earlier) == []
    meter.add(LOSS, IS_CORRECT, LABEL_MASK, TASK_IDS)
    assert meter.tasks_since(earlier) == ["a", "b"]


def test_the_loss_since_an_earlier_moment_is_a_sum():
    meter = make_meter()
    earlier = meter.sums()
    meter.add(LOSS, IS_CORRECT, LABEL_MASK, TASK_IDS)
    loss, tokens = meter.loss_since(earlier)
    assert (float(loss), int(tokens)) == (10.0, int(LABEL_MASK.sum()))
