"""Which task acts: numbers of the active adapter, merged ones, numbers out of range, beams."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.evaluated_loads import counted_evaluation
from pipeline.adapters.model_loads import drain_loads, update_balance
from pipeline.training.routing import AdapterRouting
from tests.unit.adapters.family import (
    INPUT_IDS,
    TASKS,
    build_adapted,
    build_base,
    build_config,
    layers_of,
    logits_of,
    loss_of,
    stir,
)

OTHER_ORDER = ["blue", "red", "green"]


@pytest.fixture
def two_adapters():
    """An adapter that knows the tasks in one order, and one in another, which is active."""
    model = build_adapted("mtlora", task_rank=2)
    torch.manual_seed(2)
    model.add_adapter("second", build_config("mtlora", task_rank=2, task_names=OTHER_ORDER))
    model.set_adapter("second")
    return model.eval()


def named(model, task) -> torch.Tensor:
    with torch.no_grad(), active_task(model, task):
        return model(input_ids=INPUT_IDS).logits


def test_names_are_those_of_the_active_adapter(two_adapters):
    for number, name in enumerate(OTHER_ORDER):
        expected = logits_of(two_adapters, tasks=torch.tensor(number))
        assert torch.allclose(named(two_adapters, name), expected, atol=1e-5)
        assert not torch.allclose(named(two_adapters, None), expected, atol=1e-3)
    routing = AdapterRouting(two_adapters, task_names=TASKS, reduce=lambda flat: flat)
    assert routing.adapter_task_ids(torch.tensor([0, 1, 2, -1])).tolist() == [1, 2, 0, -1]


def test_active_adapters_with_different_tasks_are_refused(two_adapters):
    two_adapters.base_model.set_adapter(["default", "second"])
    with (
        pytest.raises(ValueError, match="'default' and 'second' are both active"),
        active_task(two_adapters, "red"),
    ):
        pass


def test_a_plain_lora_beside_it_knows_no_tasks():
    model = build_adapted("mtlora", task_rank=2)
    assert get_peft_model(build_base(), LoraConfig(target_modules=["q_proj"])) is not None
    with active_task(model, "green"):
        pass


def test_what_was_merged_for_a_task_is_taken_out_again_under_any_other():
    model = build_adapted("mtlora", task_rank=2).eval()
    before = [layer.get_base_weight().clone() for layer in layers_of(model)]
    red, green = named(model, "red"), named(model, "green")
    with active_task(model, "red"):
        model.merge_adapter()
    assert torch.allclose(named(model, "red"), red, atol=1e-5)
    assert torch.allclose(model(input_ids=INPUT_IDS).logits, red, atol=1e-5)
    for other in ("green", ["red", "green"], None):
        with pytest.raises(ValueError, match="merged into the base for task number 0"):
            named(model, other)
    with active_task(model, "green"):
        model.unmerge_adapter()
    for layer, weight in zip(layers_of(model), before, strict=True):
        assert torch.allclose(layer.get_base_weight(), weight, atol=1e-6)
    assert torch.allclose(named(model, "green"), green, atol=1e-5)


def test_a_merged_model_without_its_adapters_is_the_base():
    model = build_adapted("mtlora", task_rank=2).eval()
    expected = build_base().eval()(input_ids=INPUT_IDS).logits
    with active_task(model, "red"):
        model.merge_adapter()
    with model.disable_adapter():
        assert torch.allclose(model(input_ids=INPUT_IDS).logits, expected, atol=1e-5)


@pytest.mark.parametrize("task", [3, -2, 700])
def test_a_number_that_no_task_has_is_refused(task):
    model = build_adapted("mtlora", task_rank=2).eval()
    with pytest.raises(ValueError, match="allowed -1 to 2"):
        named(model, task)
    if task > 0:
        with pytest.raises(ValueError, match=f"got {task}, allowed are numbers below 3"):
            logits_of(model, tasks=torch.tensor(task))


def test_beams_of_a_row_have_the_task_of_the_row():
    model = build_adapted("mtlora", task_rank=2).eval()
    options = {"max_new_tokens": 4, "num_beams": 3, "do_sample": False, "pad_token_id": 0}
    with active_task(model, ["red", "blue"]):
        both = model.generate(input_ids=INPUT_IDS, **options)
    for row, task in enumerate(("red", "blue")):
        with active_task(model, task):
            alone = model.generate(input_ids=INPUT_IDS[row : row + 1], **options)
        assert torch.equal(both[row, : alone.shape[1]], alone[0])
    with (
        pytest.raises(ValueError, match="one id per token, one per row"),
        active_task(model, ["red", "blue"]),
    ):
        model(input_ids=INPUT_IDS[:1])


def test_loads_are_those_of_the_active_adapter():
    model = build_adapted("smora")
    torch.manual_seed(2)
    model.add_adapter("second", build_config("smora", num_active_ranks=2, r=16))
    stir(model)
    model.set_adapter("second")
    model.train()
    loss_of(model).backward()
    before = [layer.routed_bias["default"].clone() for layer in layers_of(model)]
    moving = [layer.routed_bias["second"].clone() for layer in layers_of(model)]
    loads = drain_loads(model)
    assert {load.adapter for load in loads} == {"second"}
    assert all(load.total.shape == (16,) and load.total.sum() == 2 * 24 for load in loads)
    update_balance(model, loads)
    for layer, old, own in zip(layers_of(model), before, moving, strict=True):
        assert torch.equal(layer.routed_bias["default"], old)
        assert not torch.equal(layer.routed_bias["second"], own)
    with counted_evaluation(model.eval()) as totals, torch.inference_mode():
        logits_of(model)
    assert len(totals.by_layer) == 14


@pytest.mark.parametrize(
    ("kind", "options"),
    [("hydra", {}), ("mtl_lora", {"task_mixing": "none"}), ("hydra", {"router": "task"})],
)
def test_one_factor_is_lora_bit_by_bit(kind, options):
    routed = build_adapted(kind, num_b_factors=1, **options)
    torch.manual_seed(1)
    config = LoraConfig(
        r=8,
        lora_alpha=8,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
        init_lora_weights=False,
    )
    plain = get_peft_model(build_base(), config)
    theirs = dict(plain.named_parameters())
    with torch.no_grad():
        for name, value in routed.named_parameters():
            if "routed_" in name:
                theirs[name.replace("routed_", "lora_")].copy_(value)
    assert sum(w.numel() for w in routed.parameters()) == sum(w.numel() for w in theirs.values())
    assert torch.equal(routed(input_ids=INPUT_IDS).logits, plain(input_ids=INPUT_IDS).logits)


def test_one_factor_still_mixes_by_task(tmp_path):
    model = build_adapted("mtl_lora", num_b_factors=1).eval()
    assert not torch.allclose(named(model, "red"), named(model, "blue"), atol=1e-3)
    model.save_pretrained(tmp_path)


def test_a_preset_leaves_fields_that_are_given():
    assert build_config("smora", preset="paper").balance_rate == 1e-5
    given = build_config("smora", preset="paper", balance_rate=1e-2)
    assert (given.balance_rate, given.gate_source) == (1e-2, "biased")
    assert build_config("moe_lora", preset="paper", balance_rate=1e-2).balance_rate == 1e-2
    mtlora = build_config("mtlora", preset="paper", lora_alpha=3)
    assert (mtlora.lora_alpha, mtlora.lora_dropout) == (3, 0.05)
