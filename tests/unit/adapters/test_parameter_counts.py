"""Counts of weights: as published for a known base, as real ones on a small base."""

from __future__ import annotations

import json

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.adapters.parameter_counts import measure_adapter
from pipeline.adapters.registry import attach_adapter
from pipeline.cli.main import main
from pipeline.recipe.schema import AdapterSettings
from tests.unit.adapters.family import TASKS, build_base

SMALL = {"rank": 8, "num_active_ranks": 4}
SETTINGS = [
    {"type": "lora", "rank": 8},
    {"type": "smora", **SMALL},
    {"type": "smora", **SMALL, "num_shared_ranks": 2},
    {"type": "smora", **SMALL, "share_router": True},
    {"type": "smora", **SMALL, "router_low_rank": True},
    {"type": "smora", **SMALL, "router": "task"},
    {"type": "smora", **SMALL, "router": "uniform"},
    {"type": "smora", **SMALL, "router_task_input": True},
    {"type": "smora", **SMALL, "feature_gate": True},
    {"type": "smora", **SMALL, "normalise_ranks": True},
    {"type": "moe_lora", **SMALL, "block_size": 2},
    {"type": "moe_lora", **SMALL, "block_size": 2, "normalise_ranks": True},
    {"type": "hydra", "rank": 8, "num_b_factors": 3},
    {"type": "mtlora", "rank": 8, "task_rank": 2},
    {"type": "mtl_lora", "rank": 8},
    {"type": "mtl_lora", "rank": 8, "task_mixing": "diagonal"},
]


def on_meta(config):
    with torch.device("meta"):
        return LlamaForCausalLM(config)


@pytest.fixture(scope="module")
def llama_7b():
    """Llama-2-7B without weights."""
    return on_meta(
        LlamaConfig(
            vocab_size=32000,
            hidden_size=4096,
            intermediate_size=11008,
            num_hidden_layers=32,
            num_attention_heads=32,
        )
    )


@pytest.mark.parametrize(
    ("adapter", "trainable", "router", "activated", "lora"),
    [
        ({"type": "lora", "rank": 8}, 20.0, 0, 20.0, 8),
        ({"type": "lora", "rank": 64}, 159.9, 0, 159.9, 64),
        ({"type": "smora", "rank": 64}, 232.8, 72.9, 92.9, 93),
    ],
)
def test_check_29_counts_on_llama_2_7b_are_the_known_ones(
    llama_7b, adapter, trainable, router, activated, lora
):
    size = measure_adapter(llama_7b, AdapterSettings(**adapter), TASKS)
    found = [size.trainable, size.router, size.activated]
    assert [round(number / 1e6, 1) for number in found] == [trainable, router, activated]
    assert size.equal_lora_rank == lora


@pytest.mark.parametrize("fields", SETTINGS, ids=lambda fields: " ".join(map(str, fields.values())))
def test_counts_without_weights_are_those_of_an_attached_adapter(fields):
    settings = AdapterSettings(**fields)
    base = on_meta(build_base().config)
    size = measure_adapter(base, settings, TASKS)
    real = attach_adapter(build_base(), settings, task_names=TASKS)
    weights = {name: weight for name, weight in real.named_parameters() if weight.requires_grad}
    assert size.trainable == sum(weight.numel() for weight in weights.values())
    deciding = ("routed_router", ".logits")
    assert size.router == sum(
        weight.numel() for name, weight in weights.items() if any(d in name for d in deciding)
    )
    assert not any("routed" in name or "lora" in name for name, _ in base.named_parameters())


@pytest.mark.parametrize("fields", SETTINGS, ids=lambda fields: " ".join(map(str, fields.values())))
def test_activated_weights_are_those_with_a_gradient_from_one_token(fields):
    settings = AdapterSettings(**fields)
    size = measure_adapter(on_meta(build_base().config), settings, TASKS)
    real = attach_adapter(build_base(), settings, task_names=TASKS)
    torch.manual_seed(3)
    for weight in real.parameters():
        if weight.requires_grad:
            torch.nn.init.normal_(weight, std=0.1)
    # One token attends to itself alone: queries and keys would get no gradient.
    layers = [m for m in real.modules() if hasattr(m, "lora_A") or hasattr(m, "routed_A")]
    outputs = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: outputs.append(out)) for layer in layers
    ]
    inputs = {} if settings.type == "lora" else {"adapter_task_ids": torch.tensor(1)}
    real.eval()(input_ids=torch.tensor([[5]]), use_cache=False, **inputs)
    sum(out.square().sum() for out in outputs).backward()
    for hook in hooks:
        hook.remove()
    touched = sum(
        int((weight.grad != 0).sum())
        for weight in real.parameters()
        if weight.requires_grad and weight.grad is not None
    )
    # A router counts as a whole: it is read as a whole to decide.
    routers = sum(
        int((weight.grad == 0).sum()) if weight.grad is not None else weight.numel()
        for name, weight in real.named_parameters()
        if "routed_router" in name
    )
    own_logits = [
        weight.grad[1] for name, weight in real.named_parameters() if name.endswith(".logits")
    ]
    unselected = sum(int((row == 0).sum()) for row in own_logits)
    assert size.activated == touched + routers + unselected


def test_the_command_lists_every_type_and_says_which_rank_does_not_fit(tmp_path, capsys):
    build_base().config.save_pretrained(tmp_path / "base")
    arguments = ["adapters", "list", str(tmp_path / "base"), "--json", str(tmp_path / "sizes.json")]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, "--r", "4", "--tasks", "3"])
    assert caught.value.code == 0
    printed = capsys.readouterr().out
    for kind in ("lora", "smora", "moe_lora", "hydra", "mtlora", "mtl_lora"):
        assert kind in printed
    assert "num_active_ranks: got 8" in printed
    report = json.loads((tmp_path / "sizes.json").read_text())
    by_type = {item["type"]: item for item in report["types"]}
    assert set(by_type) == {"lora", "hydra", "mtlora", "mtl_lora"}
    assert by_type["lora"]["equal_lora_rank"] == 4


def test_the_command_refuses_modules_the_base_lacks(tmp_path, capsys):
    build_base().config.save_pretrained(tmp_path / "base")
    with pytest.raises(SystemExit) as caught:
        main(["adapters", "list", str(tmp_path / "base"), "--target-modules", "nothing"])
    assert caught.value.code == 2
    assert "[ADP001]" in capsys.readouterr().err


def test_the_command_refuses_a_folder_without_a_model(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["adapters", "list", str(tmp_path)])
    assert caught.value.code == 2
    assert "[MOD" in capsys.readouterr().err
