"""Loads are counted once, without padding, and the bias moves against them."""

from __future__ import annotations

import pytest
import torch

from pipeline.adapters.model_loads import (
    balance_biases,
    balance_step,
    drain_loads,
    routed_layers,
    update_balance,
)
from pipeline.adapters.routing import select_experts
from pipeline.adapters.routing_plan import BIAS_UNITS, build_plan
from tests.unit.adapters.family import (
    INPUT_IDS,
    TASK_IDS,
    build_adapted,
    build_config,
    gradients_of,
    logits_of,
    loss_of,
    variant,
)

ALL_TOKENS = INPUT_IDS.numel()


def biases_of(model) -> list[torch.Tensor]:
    return [value.clone() for value in balance_biases(model).values()]


def test_check_06_the_bias_of_an_overloaded_rank_falls_and_of_an_idle_one_rises():
    step = balance_step(torch.tensor([10.0, 2.0, 0.0, 4.0]), [(0, 4)], rate=1e-3, centred=False)
    unit = round(1e-3 * BIAS_UNITS)
    assert step.tolist() == [-unit, unit, unit, 0]
    assert step.dtype == torch.int32


def test_check_06_a_centred_step_does_not_move_the_mean():
    step = balance_step(torch.tensor([10.0, 2.0, 0.0, 4.0]), [(0, 4)], rate=1e-3, centred=True)
    assert abs(int(step.sum())) <= 4
    assert step[0] < step[3] < step[1]


def test_check_06_groups_are_balanced_among_themselves():
    load = torch.tensor([9.0, 3.0, 100.0, 100.0])
    step = balance_step(load, [(0, 2), (2, 4)], rate=1e-3, centred=True)
    assert step[0] < 0 < step[1]
    assert step[2:].tolist() == [0, 0]


def test_check_06_skewed_loads_even_out_within_a_thousand_steps():
    torch.manual_seed(0)
    config = build_config("smora", r=32, num_active_ranks=4)
    plan = build_plan(config, r=32, lora_alpha=8)
    # Some experts are far more popular than others.
    logits = torch.randn(2048, 32) * 0.5 + torch.linspace(-1, 1, 32)
    bias = torch.zeros(32, dtype=torch.int32)

    def violation() -> float:
        load = torch.bincount(index.flatten(), minlength=32).double()
        return float(load.max() / load.mean()) - 1

    from pipeline.adapters.routing import Extras

    index = select_experts(plan, logits, Extras(bias=bias))
    before = violation()
    for _ in range(1000):
        load = torch.bincount(index.flatten(), minlength=32).double()
        bias += balance_step(load, plan.segments, rate=1e-3, centred=True)
        index = select_experts(plan, logits, Extras(bias=bias))
    assert before > 1
    assert violation() < 0.3


def test_check_08_evaluation_changes_neither_bias_nor_loads():
    adapted = build_adapted("smora").eval()
    before = biases_of(adapted)
    loss_of(adapted).backward()
    with torch.no_grad():
        logits_of(adapted.train())
    loads = drain_loads(adapted)
    update_balance(adapted, loads)
    assert sum(float(load.total.sum()) for load in loads) == 0
    assert all(map(torch.equal, biases_of(adapted), before))


def test_check_09_padded_tokens_are_not_counted():
    adapted = build_adapted("smora", task_names=[])
    adapted.train()
    mask = torch.ones_like(INPUT_IDS)
    mask[0, :5] = 0
    loss_of(adapted, tasks=None, attention_mask=mask).backward()
    for load in drain_loads(adapted):
        assert load.total.sum() == 3 * (ALL_TOKENS - 5)


def test_check_09_tokens_are_counted_by_task_and_ids_below_zero_are_padding():
    adapted = build_adapted("smora")
    adapted.train()
    tasks = TASK_IDS.clone()
    tasks[1, 6:] = -1
    loss_of(adapted, tasks=tasks).backward()
    for load in drain_loads(adapted):
        counts = [3 * int((tasks == number).sum()) for number in range(3)]
        assert load.by_task.sum(dim=1).tolist() == [*counts, 0]


def test_check_10_accumulated_passes_add_up_to_one_large_batch():
    adapted = build_adapted("smora")
    adapted.train()
    loss_of(adapted).backward()
    whole = [load.by_task for load in drain_loads(adapted)]
    for row in range(2):
        loss_of(adapted, ids=INPUT_IDS[row : row + 1], tasks=TASK_IDS[row : row + 1]).backward()
    parts = [load.by_task for load in drain_loads(adapted)]
    assert all(map(torch.equal, whole, parts))


@pytest.mark.parametrize("use_reentrant", [True, False])
@pytest.mark.parametrize("name", ["smora", "moe_lora", "hydra", "mtlora", "mtl_lora"])
def test_check_11_checkpointing_changes_neither_gradients_nor_loads(name, use_reentrant):
    found = []
    for checkpointing in (False, True):
        adapted = variant(name)
        adapted.train()
        if checkpointing:
            adapted.enable_input_require_grads()
            adapted.gradient_checkpointing_enable({"use_reentrant": use_reentrant})
        loss_of(adapted).backward()
        loads = [load.by_task for load in drain_loads(adapted)]
        found.append((gradients_of(adapted), loads))
    (gradients, loads), (again, loads_again) = found
    assert all(torch.equal(value, again[name]) for name, value in gradients.items())
    assert all(map(torch.equal, loads, loads_again))


def test_a_load_tells_idle_experts_violation_and_entropy():
    adapted = build_adapted("smora")
    adapted.train()
    loss_of(adapted).backward()
    load = drain_loads(adapted)[0]
    assert load.num_idle == int((load.by_task.sum(dim=0) == 0).sum())
    share = load.total / load.total.sum()
    assert load.violation == pytest.approx(float(share.max() * 8) - 1)
    assert load.entropy.shape == (4,)
    assert 0 < float(load.entropy[0]) <= torch.log(torch.tensor(8.0)) + 1e-6
    assert load.entropy[3] == 0


def test_the_bias_stands_still_late_in_a_run_and_at_rate_zero():
    for options, progress in (({"balance_rate": 0.0}, 0.0), ({}, 0.95)):
        adapted = build_adapted("smora", **options)
        adapted.train()
        before = biases_of(adapted)
        loss_of(adapted).backward()
        update_balance(adapted, drain_loads(adapted), progress=progress)
        assert all(map(torch.equal, biases_of(adapted), before))


def test_sums_over_processes_reach_all_layers_in_one_call():
    adapted = build_adapted("smora")
    adapted.train()
    calls = []

    def twice(flat):
        calls.append(flat.numel())
        return flat * 2

    loss_of(adapted).backward()
    loads = drain_loads(adapted, twice)
    assert len(calls) == 1
    assert len(loads) == len(routed_layers(adapted)) == 14
    assert all(load.total.sum() == 2 * 3 * ALL_TOKENS for load in loads)
