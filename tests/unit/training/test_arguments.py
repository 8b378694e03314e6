"""From recipe to TRL's arguments."""

from __future__ import annotations

from typing import get_args

import pytest
from transformers.trainer_utils import SchedulerType
from transformers.training_args import OptimizerNames

from pipeline.errors import PipelineError, TrainingError
from pipeline.mixture import rates
from pipeline.recipe import MixtureSettings
from pipeline.recipe.schema import Optimizer, RatePolicy, Scheduler
from pipeline.training import arguments as arguments_module
from pipeline.training.arguments import (
    build_training_arguments,
    check_schedule,
    resolve_precision,
)
from pipeline.training.guards import RequestedEngine
from tests.fixtures.tiny_runs import make_recipe


def requested(**environment: str) -> RequestedEngine:
    return RequestedEngine.from_environment(environment)


def test_fields_of_the_recipe_keep_their_names_and_values(tmp_path):
    recipe = make_recipe(
        tmp_path,
        learning_rate=3e-4,
        lr_scheduler_type="linear",
        warmup_steps=0.1,
        gradient_accumulation_steps=3,
        optim="adafactor",
        seed=7,
        save_strategy="steps",
        save_steps=9,
        max_grad_norm=0.5,
    )
    arguments = build_training_arguments(recipe, tmp_path, environment={})
    for name in (
        "learning_rate", "lr_scheduler_type", "warmup_steps", "gradient_accumulation_steps",
        "optim", "seed", "save_steps", "max_grad_norm", "per_device_train_batch_size",
    ):  # fmt: skip
        assert getattr(arguments, name) == getattr(recipe, name), name
    assert arguments.logging_nan_inf_filter is False
    assert arguments.average_tokens_across_devices is True


@pytest.mark.parametrize(
    ("fields", "environment", "native", "expected"),
    [
        ({"bf16": True}, {}, False, "bf16"),
        ({"bf16": False}, {}, True, "no"),
        ({"bf16": None}, {}, True, "bf16"),
        ({"bf16": None}, {}, False, "no"),
        ({"bf16": None}, {"ACCELERATE_MIXED_PRECISION": "bf16"}, False, "bf16"),
        ({"bf16": None, "fp16": True}, {}, True, "fp16"),
        ({"bf16": True}, {"ACCELERATE_MIXED_PRECISION": "no"}, False, "bf16"),
        ({"bf16": True}, {"ACCELERATE_MIXED_PRECISION": "bf16"}, False, "bf16"),
        ({"bf16": None}, {"ACCELERATE_USE_DEEPSPEED": "true"}, True, "no"),
    ],
)
def test_the_recipe_decides_over_precision_then_the_launcher_then_the_hardware(
    tmp_path, monkeypatch, fields, environment, native, expected
):
    monkeypatch.setattr(arguments_module, "has_native_bfloat16", lambda device: native)
    recipe = make_recipe(tmp_path, **fields)
    assert resolve_precision(recipe, requested(**environment), has_gpu=False) == expected


def test_recipe_and_launcher_must_not_ask_for_different_precisions(tmp_path):
    launcher = requested(ACCELERATE_MIXED_PRECISION="bf16")
    with pytest.raises(TrainingError) as caught:
        resolve_precision(make_recipe(tmp_path, bf16=False), launcher, has_gpu=True)
    assert str(caught.value) == (
        "bf16: the recipe asks for precision 'no', the accelerate configuration for 'bf16'. Make "
        "the two agree; `mixed_precision: 'no'` leaves it to the recipe. [TRN004]"
    )


def refusal(recipe, tmp_path) -> str:
    with pytest.raises(PipelineError) as caught:
        arguments = build_training_arguments(recipe, tmp_path, environment={})
        arguments.max_steps = 10
        check_schedule(arguments)
    return str(caught.value)


def test_an_unknown_tracker_is_refused(tmp_path):
    assert refusal(make_recipe(tmp_path, report_to="tensorbord"), tmp_path) == (
        "report_to: no tracker is named 'tensorbord'. Did you mean 'tensorboard'? [REC010]"
    )


@pytest.mark.parametrize("name", ["eval_strategy", "save_strategy"])
def test_epochs_of_a_run_that_counts_steps_are_refused(tmp_path, name):
    assert refusal(make_recipe(tmp_path, max_steps=7, **{name: "epoch"}), tmp_path) == (
        f"{name}: got 'epoch' together with max_steps: 7, which counts no epochs. Set "
        f"`{name}: steps`, or num_train_epochs in place of max_steps. [REC006]"
    )


def test_a_tracker_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arguments_module, "get_available_reporting_integrations", list)
    assert refusal(make_recipe(tmp_path, report_to=["wandb"]), tmp_path) == (
        "report_to: this needs the package 'wandb', which is not installed. pip install wandb. "
        "[TRN011]"
    )


def test_an_optimizer_that_is_not_installed_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(arguments_module.importlib.util, "find_spec", lambda name: None)
    text = refusal(make_recipe(tmp_path, optim="paged_adamw_8bit"), tmp_path)
    assert text.startswith("optim: this needs the package 'bitsandbytes'")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("warmup_stable_decay", None),
        ("cosine", {"cycles": 3}),
        ("linear", {"power": 2}),
    ],
)
def test_a_schedule_with_wrong_options_is_refused(tmp_path, name, options):
    recipe = make_recipe(tmp_path, lr_scheduler_type=name, lr_scheduler_kwargs=options)
    text = refusal(recipe, tmp_path)
    assert text.startswith(f"lr_scheduler_kwargs: schedule '{name}' cannot be built: ")
    assert text.endswith("Give the options this schedule takes in transformers. [TRN012]")


@pytest.mark.parametrize("name", get_args(Scheduler))
def test_every_schedule_can_be_built(tmp_path, name):
    options = {
        "warmup_stable_decay": {"num_decay_steps": 3},
        "cosine_with_min_lr": {"min_lr_rate": 0.1},
    }
    recipe = make_recipe(
        tmp_path,
        lr_scheduler_type=name,
        lr_scheduler_kwargs=options.get(name),
        warmup_steps=0.2,
    )
    arguments = build_training_arguments(recipe, tmp_path, environment={})
    arguments.max_steps = 10
    check_schedule(arguments)


def test_names_of_schedulers_and_optimizers_are_those_of_transformers():
    assert set(get_args(Scheduler)) <= {name.value for name in SchedulerType}
    assert set(get_args(Optimizer)) <= {name.value for name in OptimizerNames}


def test_policies_and_defaults_of_the_recipe_are_those_of_the_mixture_package():
    defaults = MixtureSettings()
    assert get_args(RatePolicy) == get_args(rates.RatePolicy)
    assert defaults.temperature == rates.DEFAULT_TEMPERATURE
    assert defaults.cap == rates.DEFAULT_CAP
    assert defaults.max_epochs_per_task == rates.DEFAULT_MAX_EPOCHS
    assert defaults.policy == rates.RateRule().policy


def test_more_processes_than_gpus_are_one_mistake(tmp_path, monkeypatch):
    monkeypatch.setattr(arguments_module.torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(arguments_module.torch.cuda, "device_count", lambda: 2)
    recipe, variables = make_recipe(tmp_path), {"LOCAL_WORLD_SIZE": "8"}
    with pytest.raises(TrainingError, match=r"8 processes were started .* which has 2 GPUs"):
        build_training_arguments(recipe, tmp_path, environment=variables)
