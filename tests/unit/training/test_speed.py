"""Utilisation of the device, and options that depend on it."""

from __future__ import annotations

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training import trainer as trainer_module
from pipeline.training.arguments import (
    build_training_arguments,
    check_device_options,
    check_packages,
)
from pipeline.training.guards import RequestedEngine
from pipeline.training.speed import flops_per_token, peak_flops, utilisation
from tests.fixtures.tiny_runs import make_model, make_recipe, make_tasks, make_trainer


def test_frozen_weights_cost_four_operations_per_token_and_trained_ones_six(tmp_path):
    model = make_model(make_recipe(tmp_path))
    embeddings = model.get_base_model().model.embed_tokens.weight.numel()
    sizes = [(each.numel(), each.requires_grad) for each in model.parameters()]
    frozen = sum(size for size, is_trained in sizes if not is_trained) - embeddings
    trained = sum(size for size, is_trained in sizes if is_trained)
    assert flops_per_token(model) == 4 * frozen + 6 * trained
    share = utilisation(model, 10.0, peak=100 * flops_per_token(model), num_devices=2)
    assert share == pytest.approx(0.05)


def test_nobody_knows_the_peak_of_a_cpu(tmp_path):
    assert peak_flops(torch.device("cpu"), "bf16") is None
    trainer = make_trainer(make_recipe(tmp_path / "run"), make_tasks(tmp_path / "tasks"))
    trainer.train()
    assert "mfu" not in trainer.state.log_history[0]


def test_utilisation_is_logged_where_the_peak_is_known(tmp_path, monkeypatch):
    monkeypatch.setattr(trainer_module, "peak_flops", lambda device, precision: 1e9)
    trainer = make_trainer(make_recipe(tmp_path / "run"), make_tasks(tmp_path / "tasks"))
    trainer.train()
    log = trainer.state.log_history[0]
    expected = flops_per_token(trainer.model) * log["tokens_per_second"] / 1e9
    assert log["mfu"] == pytest.approx(expected, rel=1e-2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize(
    ("name", "value", "hint"),
    [
        ("activation_offloading", True, "Set `activation_offloading: false`"),
        ("attn_implementation", "flex_attention", "Use sdpa or eager"),
    ],
)
def test_options_for_gpus_are_refused_without_one(tmp_path, name, value, hint):
    pattern = rf"{name}: this cannot be used here.*{hint}\. \[TRN002\]"
    with pytest.raises(TrainingError, match=pattern):
        build_training_arguments(make_recipe(tmp_path, **{name: value}), tmp_path)


def test_a_missing_kernel_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(TrainingError, match=r"'liger-kernel'.*\[TRN011\]"):
        check_packages(make_recipe(tmp_path, use_liger_kernel=True))


@pytest.mark.parametrize(("stage", "fsdp"), [("3", ""), ("", "true")])
def test_new_tokens_are_refused_where_weights_are_cut_in_pieces(tmp_path, stage, fsdp):
    environment = {
        "ACCELERATE_USE_DEEPSPEED": "true" if stage else "false",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": stage,
        "ACCELERATE_USE_FSDP": fsdp or "false",
    }
    engine = RequestedEngine.from_environment(environment)
    for option in ({"dna_unit": "kmer6"}, {"task_tokens": True}, {"label_tokens": True}):
        recipe = make_recipe(tmp_path, **option)
        said = rf"{next(iter(option))}: this cannot.*Use DDP or ZeRO-2.*TRN002"
        with pytest.raises(TrainingError, match=said):
            check_device_options(recipe, engine, has_gpu=True)
    check_device_options(make_recipe(tmp_path, dna_unit="letters"), engine, has_gpu=True)
    check_device_options(recipe, RequestedEngine.from_environment({}), has_gpu=True)


def test_compiling_under_a_sharding_engine_is_refused(tmp_path):
    environment = {
        "ACCELERATE_USE_DEEPSPEED": "true",
        "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3",
        "ACCELERATE_MIXED_PRECISION": "no",
    }
    recipe = make_recipe(tmp_path, torch_compile=True)
    with pytest.raises(TrainingError, match=r"torch_compile: .*DEEPSPEED"):
        build_training_arguments(recipe, tmp_path, environment=environment)


@pytest.mark.parametrize("optim", ["adamw_8bit", "paged_adamw_8bit", "lion_8bit"])
def test_optimizers_of_eight_bits_train_on_a_cpu(tmp_path, optim):
    pytest.importorskip("bitsandbytes")
    recipe = make_recipe(tmp_path / "run", optim=optim, learning_rate=1e-3, max_steps=3)
    trainer = make_trainer(recipe, make_tasks(tmp_path / "tasks"))
    before = {name: each.clone() for name, each in trainer.model.named_parameters()}
    trainer.train()
    changed = [
        name
        for name, each in trainer.model.named_parameters()
        if not torch.equal(each, before[name])
    ]
    assert changed
    assert all("lora_" in name for name in changed)
