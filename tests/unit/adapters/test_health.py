"""Injected faults of a router are each flagged, a clean run is not."""

from __future__ import annotations

import copy
import json

import pytest
import torch

from pipeline.adapters.health import (
    LoadTotals,
    expert_strengths,
    find_faults,
    routing_report,
)
from pipeline.adapters.load_counts import LayerLoad
from pipeline.adapters.model_loads import drain_loads, update_balance
from pipeline.adapters.routing_plan import BIAS_UNITS, build_plan
from tests.unit.adapters.family import TASKS, build_adapted, build_config, layers_of, loss_of

GROUPS = {"task_groups": [["red"], ["blue"]], "ranks_per_group": 2, "num_active_ranks": 2}


def build_clean(kind="smora", **options):
    """Return a model whose experts are alike, and whose loads are about even."""
    model = build_adapted(kind, **{"router_task_input": True, "balance_rate": 0.02} | options)
    for layer in layers_of(model):
        if "default" in layer.routed_bias:
            layer.routed_bias["default"].zero_()
        torch.nn.init.zeros_(layer.routed_task["default"].logits)
    for seed in range(60):
        update_balance(model, loads_of(model, num_batches=2, seed=1000 + seed))
    return model


def loads_of(model, *, num_batches=25, seed=0):
    """Return the loads of random batches of all tasks."""
    totals = LoadTotals()
    random = torch.Generator().manual_seed(seed)
    model.train()
    for _ in range(num_batches):
        ids = torch.randint(3, 60, (2, 12), generator=random)
        tasks = torch.randint(0, 3, (2, 12), generator=random)
        loss_of(model, ids, tasks).backward()
        totals.add(drain_loads(model))
    return list(totals.by_layer.values())


def strengths_of(model, load):
    weights = {
        name.replace(".default.", "."): value.detach() for name, value in model.named_parameters()
    }
    return expert_strengths(weights, load.layer, load.plan)


def faults_of(model):
    """Return what is found in each layer: (fault, experts, task)."""
    return {
        load.layer: [
            (flag.fault, flag.experts, flag.task)
            for flag in find_faults(load, TASKS, strengths_of(model, load))
        ]
        for load in loads_of(model)
    }


def load_from(rows, kind="smora", **options):
    """Return a load with given counts; the last row has no task."""
    plan = build_plan(build_config(kind, **options), r=8, lora_alpha=8)
    return LayerLoad(layer="q", plan=plan, by_task=torch.tensor(rows, dtype=torch.float64))


@pytest.fixture(scope="module")
def trained():
    return build_clean()


@pytest.fixture
def clean(trained):
    return copy.deepcopy(trained)


def test_a_clean_run_is_not_flagged(clean):
    assert set(map(tuple, faults_of(clean).values())) == {()}


@pytest.mark.parametrize("factor", [100.0, 0.0])
def test_a_scaled_expert_has_collapsed(clean, factor):
    with torch.no_grad():
        layers_of(clean)[3].routed_B["default"].weight[:, 1] *= factor
    found = faults_of(clean)
    name = list(found)[3]
    assert found.pop(name) == [("collapse", (1,), None)]
    assert not any(found.values())


def test_an_expert_of_one_task_is_degraded(clean):
    with torch.no_grad():
        layers_of(clean)[0].routed_task["default"].logits[1:, 2] = -50.0
    found = faults_of(clean)
    assert ("degradation", (2,), "red") in found.pop(next(iter(found)))
    assert not any(found.values())


def test_a_starved_expert_underfits(clean):
    layers_of(clean)[5].routed_bias["default"][4] = -10 * BIAS_UNITS
    found = faults_of(clean)
    assert found.pop(list(found)[5]) == [("underfitting", (4,), None)]
    assert not any(found.values())


def test_a_large_task_does_not_make_its_experts_degraded():
    even = [[9000.0] * 8, [40.0] * 8, [80.0] * 8, [0.0] * 8]
    assert find_faults(load_from(even), TASKS) == []


def test_the_few_tokens_of_a_tiny_task_blame_nobody():
    rows = [[100.0] * 8, [100.0] * 7 + [10.0], [1.0] * 7 + [9.0], [0.0] * 8]
    assert find_faults(load_from(rows), TASKS) == []
    rows[2] = [50.0] * 7 + [450.0]
    (flag,) = find_faults(load_from(rows), TASKS)
    assert (flag.fault, flag.task, flag.experts) == ("degradation", "blue", (7,))


def test_of_two_tasks_none_is_blamed():
    rows = [[100.0] * 4 + [0.0] * 4, [0.0] * 4 + [100.0] * 4, [0.0] * 8, [0.0] * 8]
    assert find_faults(load_from(rows), TASKS) == []
    rows[2] = [50.0] * 8
    assert find_faults(load_from(rows), TASKS) == []
    rows[2] = [0.0] * 4 + [100.0] * 4
    (flag,) = find_faults(load_from(rows), TASKS)
    assert (flag.fault, flag.task, flag.experts) == ("degradation", "red", (0, 1, 2, 3))


def test_a_router_of_tasks_may_give_each_task_its_own_experts():
    rows = [[90.0] * 3 + [0] * 5, [0] * 3 + [90.0] * 3 + [0] * 2, [0] * 6 + [90.0] * 2, [0] * 8]
    assert find_faults(load_from(rows, router="task"), TASKS) == []


def test_a_small_task_that_leaves_its_groups_experts_unused_underfits():
    # Experts 0-3 are open to all, 4-5 of red, 6-7 of blue.
    own = [50.0] * 2
    rows = [[50.0] * 4 + [1.0, 1.0, 0, 0], [900.0] * 4 + [0] * 4, [900.0] * 4 + [0, 0, *own]]
    (flag,) = find_faults(load_from([*rows, [0] * 8], **GROUPS), TASKS)
    assert (flag.fault, flag.task, flag.experts) == ("underfitting", "red", (4, 5))
    assert flag.value == pytest.approx(2 / 202)
    rows[0] = [25.0] * 6 + [0, 0]
    assert find_faults(load_from([*rows, [0] * 8], **GROUPS), TASKS) == []


def test_a_large_task_may_leave_its_groups_experts_unused():
    rows = [[500.0] * 4 + [0] * 4, [90.0] * 4 + [0] * 4, [80.0] * 4 + [0, 0, 80.0, 80.0]]
    assert find_faults(load_from([*rows, [0] * 8], **GROUPS), TASKS) == []


def test_nothing_is_said_of_a_handful_of_tokens():
    assert find_faults(load_from([[9.0] + [0] * 7, [0] * 8, [0] * 8, [0] * 8]), TASKS) == []


@pytest.mark.parametrize("kind", ["smora", "moe_lora", "hydra", "mtl_lora"])
@pytest.mark.parametrize("num_shared", [0, 2])
def test_strengths_are_the_size_of_the_update_of_each_expert(kind, num_shared):
    options = {"moe_lora": {"block_size": 2, "num_active_ranks": 4}}.get(kind, {})
    if kind in {"smora", "moe_lora"}:
        options = {**options, "num_shared_ranks": num_shared}
    model = build_adapted(kind, **options)
    layer = layers_of(model)[0]
    plan = layer.plans["default"]
    name = next(name for name, module in model.named_modules() if module is layer)
    a, b = layer.routed_A["default"].weight, layer.routed_B["default"].weight
    weights = {f"{name}.routed_A.weight": a.detach(), f"{name}.routed_B.weight": b.detach()}
    a, b = weights.values()
    found = expert_strengths(weights, name, plan)
    width = plan.num_ranks if plan.num_copies > 1 else plan.block_size
    for expert in range(plan.num_experts):
        first = plan.num_shared + expert * width
        rows = a if plan.num_copies > 1 else a[first : first + width]
        update = b[:, first : first + width] @ rows
        assert float(found[expert]) == pytest.approx(float(update.norm() / update.shape[0] ** 0.5))
    assert expert_strengths({}, name, plan) is None


def test_the_summary_counts_idle_experts_and_the_worst_layer():
    totals = LoadTotals()
    assert totals.summary() == {}
    even = load_from([[10.0] * 8] * 4)
    uneven = load_from([[80.0] + [0.0] * 7] * 4)
    totals.add([even, LayerLoad(layer="k", plan=uneven.plan, by_task=uneven.by_task)])
    found = totals.summary()
    assert found["routing_idle_share"] == 7 / 16
    assert found["routing_violation"] == pytest.approx(7.0)
    assert found["routing_entropy"] == pytest.approx(torch.tensor(8.0).log().item() / 2)
    totals.add([even])
    assert totals.by_layer["q"].total.tolist() == [80.0] * 8


def test_the_report_is_plain_json_with_every_load():
    totals = LoadTotals()
    totals.add([load_from([[4000.0] + [40.0] * 7, [50.0] * 8, [60.0] * 8, [0] * 8])])
    report = json.loads(json.dumps(routing_report(totals, TASKS)))
    assert report["tasks"] == TASKS
    (layer,) = report["layers"]
    assert layer["by_task"][0] == [4000.0] + [40.0] * 7
    assert layer["num_idle"] == 0
    assert layer["strength"] is None
    assert len(layer["entropy"]) == 4
