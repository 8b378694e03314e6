"""Routed adapters in the training loop: balance once per step, absent tasks still, resume exact."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import TrainerCallback

from pipeline.adapters.model_loads import balance_biases
from pipeline.adapters.task_weights import task_slices
from tests.fixtures.tiny_runs import (
    LENGTHS,
    adapter_weights,
    make_model,
    make_recipe,
    make_tasks,
    make_trainer,
)

SMORA = {"type": "smora", "num_active_ranks": 2}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def train(folder, data, adapter, **fields):
    """Train, and return the trainer and the loads of every step."""
    loads = []
    recipe = make_recipe(folder, adapter=adapter, lr_scheduler_type="constant", **fields)
    trainer = make_trainer(recipe, data, on_loads=lambda step, found: loads.append(found))
    resume = fields.get("resume_from_checkpoint")
    trainer.train(resume_from_checkpoint=resume)
    return trainer, loads


def state_of(trainer) -> dict[str, torch.Tensor]:
    return {**adapter_weights(trainer), **balance_biases(trainer.model)}


@pytest.mark.parametrize("packing", [True, False])
def test_check_10_loads_and_biases_do_not_depend_on_accumulation(tmp_path, tasks, packing):
    runs = [
        train(
            tmp_path / str(size),
            tasks,
            SMORA,
            packing=packing,
            per_device_train_batch_size=size,
            gradient_accumulation_steps=4 // size,
            learning_rate=1e-6,
        )
        for size in (4, 1)
    ]
    (one, loads), (other, other_loads) = runs
    for step, again in zip(loads, other_loads, strict=True):
        assert all(torch.equal(a.by_task, b.by_task) for a, b in zip(step, again, strict=True))
    found, wanted = balance_biases(one.model), balance_biases(other.model)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)
    assert any(value.any() for value in wanted.values())


def test_each_step_counts_every_token_without_padding_exactly_once(tmp_path, tasks):
    _, loads = train(tmp_path, tasks, SMORA, gradient_checkpointing=True)
    lines = map(json.loads, (tmp_path / "metrics.jsonl").read_text().splitlines())
    tokens = [line["num_tokens"] for line in lines if "num_tokens" in line]
    per_step = [now - before for now, before in zip(tokens, [0, *tokens], strict=False)]
    for count, step in zip(per_step, loads, strict=True):
        assert {float(load.total.sum()) for load in step} == {2.0 * count}


@pytest.mark.parametrize("kind", [SMORA, {"type": "mtlora", "task_rank": 2}])
def test_check_20_a_resumed_run_is_bit_equal_to_an_uninterrupted_one(tmp_path, tasks, kind):
    options = {"save_strategy": "steps", "save_steps": 2, "weight_decay": 0.1}
    whole, _ = train(tmp_path / "whole", tasks, kind, **options)
    checkpoint = tmp_path / "whole" / "checkpoint-2"
    rest, _ = train(
        tmp_path / "whole", tasks, kind, resume_from_checkpoint=str(checkpoint), **options
    )
    found, wanted = state_of(rest), state_of(whole)
    assert found.keys() == wanted.keys()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@pytest.mark.parametrize(
    "kind",
    [
        {"type": "mtlora", "task_rank": 2},
        {"type": "mtl_lora"},
        {**SMORA, "router_task_input": True},
        {**SMORA, "router": "task"},
    ],
)
def test_tasks_absent_from_all_steps_keep_their_weights(tmp_path, tasks, kind):
    mixture = {"policy": "explicit", "max_epochs_per_task": None}
    entries = [
        {"task": name, "weight": weight}
        for name, weight in zip(LENGTHS, (1.0, 0.0, 1.0), strict=True)
    ]
    trainer, _ = train(
        tmp_path, tasks, kind, mixture=mixture, tasks=entries, weight_decay=0.5, max_steps=3
    )
    fresh = make_model(make_recipe(tmp_path, adapter=kind))
    before = {each.name: each for each in task_slices(fresh)}
    found = task_slices(trainer.model)
    assert found
    changed = set()
    for each in found:
        start = before[each.name]
        for task in range(3):
            same = torch.equal(each.part(each.weight, task), start.part(start.weight, task))
            if task == 1:
                assert same, each.name
            elif not same:
                changed.add(task)
    assert changed == {0, 2}


def test_a_task_seen_once_is_not_moved_by_momentum_afterwards(tmp_path, tasks):
    """Every step that lacks the task leaves its weights, although Adam remembers a gradient."""
    recipe = make_recipe(
        tmp_path,
        adapter={"type": "mtlora", "task_rank": 2},
        packing=False,
        max_steps=8,
        per_device_train_batch_size=1,
        lr_scheduler_type="constant",
    )
    trainer = make_trainer(recipe, tasks)
    history = []

    class Watch(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            parts = [
                torch.cat([each.part(each.weight, task).flatten() for each in slices]).clone()
                for task in range(3)
            ]
            history.append(parts)

    seen = []
    original = trainer._routing.note_tasks
    trainer._routing.note_tasks = lambda ids: (
        seen.append(set(ids.unique().tolist())),
        original(ids),
    )
    slices = task_slices(trainer.model)
    before = [
        torch.cat([each.part(each.weight, task).detach().flatten() for each in slices]).clone()
        for task in range(3)
    ]
    trainer.add_callback(Watch())
    trainer.train()
    assert len(set().union(*seen) - {-1}) > 1
    for tasks_of_step, after in zip(seen, history, strict=True):
        for task in range(3):
            is_same = torch.equal(after[task], before[task])
            assert is_same == (task not in tasks_of_step), (task, tasks_of_step)
        before = after


def test_a_step_that_is_not_made_moves_no_bias(tmp_path, tasks):
    recipe = make_recipe(tmp_path, adapter=SMORA, lr_scheduler_type="constant", max_steps=2)
    trainer = make_trainer(recipe, tasks)
    routing = trainer._routing
    statistics = routing.statistics()
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    routing.note_tasks(batch["task_ids"])
    inputs = {name: value for name, value in batch.items() if name != "task_ids"}
    inputs["adapter_task_ids"] = batch["task_ids"]
    trainer.model(**inputs, use_cache=False).loss.backward()
    assert sum(float(each.sum()) for each in routing.statistics()) > 0
    routing.restore_statistics(statistics)
    assert sum(float(each.sum()) for each in routing.statistics()) == 0


def test_tasks_are_counted_alike_on_devices_that_only_spell_themselves_differently(tasks, tmp_path):
    recipe = make_recipe(tmp_path, adapter={"type": "mtlora", "task_rank": 2})
    trainer = make_trainer(recipe, tasks)
    routing = trainer._routing
    routing.note_tasks(torch.tensor([[0, 0, 2, -1]]))
    seen, _ = routing._drain(torch.device("cpu", 0))
    assert seen.tolist() == [2, 0, 1, 1]
