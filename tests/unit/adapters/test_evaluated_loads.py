"""Loads on evaluated rows: every token that is no padding once, also beside cached keys."""

from __future__ import annotations

import json

import pytest
import torch

from eval.backends.decoding import choice_log_likelihoods, greedy_answers
from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.evaluated_loads import (
    EVALUATED_ROUTING_FILE,
    counted_evaluation,
    write_evaluated_routing,
)
from pipeline.adapters.model_loads import drain_loads
from tests.unit.adapters.family import (
    INPUT_IDS,
    TASK_IDS,
    build_adapted,
    logits_of,
    loss_of,
    variant,
)

PROMPTS = [INPUT_IDS[0, :9].numpy(), INPUT_IDS[1, :4].numpy()]


@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "smora task input"])
def test_the_same_tokens_load_experts_as_in_training(name):
    adapted = variant(name)
    loss_of(adapted.train()).backward()
    expected = drain_loads(adapted)
    adapted.eval()
    with counted_evaluation(adapted) as totals, torch.inference_mode():
        logits_of(adapted)
    assert len(totals.by_layer) == 14
    for load in expected:
        assert torch.allclose(totals.by_layer[load.layer].by_task, load.by_task)
    logits_of(adapted)
    assert all(load.total.sum() == 0 for load in drain_loads(adapted))


def test_answers_are_counted_beside_prompts_and_padding_is_not():
    adapted = build_adapted("smora").eval()
    with counted_evaluation(adapted) as totals, active_task(adapted, ["green", "blue"]):
        answers = greedy_answers(
            adapted,
            PROMPTS,
            limits=[3, 3],
            stop_ids=frozenset(),
            pad_id=0,
            max_batch_tokens=1000,
        )
    assert [len(ids) for ids, _ in answers] == [3, 3]
    for load in totals.by_layer.values():
        # The last token of an answer is read by nobody.
        assert load.by_task.sum(dim=1).tolist() == [0, 3 * (9 + 2), 3 * (4 + 2), 0]


def test_the_tails_of_choices_are_counted_without_their_padding():
    adapted = build_adapted("smora").eval()
    choices = [[[5], [6, 7, 8, 9]], [[5, 6], [7]]]
    with counted_evaluation(adapted) as totals, active_task(adapted, "green"):
        choice_log_likelihoods(adapted, PROMPTS, choices, pad_id=0, max_batch_tokens=1000)
    for load in totals.by_layer.values():
        # Of the longest tail all tokens but the last are read, of the others all.
        assert load.by_task.sum(dim=1).tolist() == [0, 3 * (9 + 4 + 3 + 2), 0, 0]


def test_what_was_counted_is_written_and_nothing_else(tmp_path):
    adapted = build_adapted("smora").eval()
    adapted.save_pretrained(tmp_path / "adapter")
    weights = tmp_path / "adapter" / "adapter_model.safetensors"
    with counted_evaluation(adapted) as totals:
        pass
    write_evaluated_routing(tmp_path, adapted, totals, weights)
    assert not (tmp_path / EVALUATED_ROUTING_FILE).exists()
    with counted_evaluation(adapted) as totals, torch.inference_mode():
        logits_of(adapted)
    write_evaluated_routing(tmp_path, adapted, totals, weights)
    report = json.loads((tmp_path / EVALUATED_ROUTING_FILE).read_text())
    assert report["tasks"] == ["red", "green", "blue"]
    per_task = [3.0 * int((task == TASK_IDS).sum()) for task in range(3)]
    for layer in report["layers"]:
        assert [sum(row) for row in layer["by_task"]] == [*per_task, 0.0]
        assert len(layer["strength"]) == 8
