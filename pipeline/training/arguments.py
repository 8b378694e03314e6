"""Turns a recipe into TRL's arguments, for the machine and launcher at hand."""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from transformers import get_scheduler
from transformers.integrations import (
    INTEGRATION_TO_CALLBACK,
    get_available_reporting_integrations,
)
from trl import SFTConfig

from pipeline.errors import RecipeError, TrainingError, did_you_mean
from pipeline.recipe import Recipe
from pipeline.recipe.schema import SaveOrEvaluateStrategy
from pipeline.training.early_stopping import METRICS
from pipeline.training.environment import has_native_bfloat16
from pipeline.training.guards import RequestedEngine

Precision = Literal["no", "bf16", "fp16"]


def build_training_arguments(
    recipe: Recipe, output_dir: Path, *, environment: Mapping[str, str] | None = None
) -> SFTConfig:
    """Return the arguments, and join the group of processes the launcher started.

    `max_steps` is 1 for now; see `set_num_steps`.

    Args:
        recipe: What to train.
        output_dir: Where checkpoints go.
        environment: What the launcher set; the process's own by default.

    Raises:
        RecipeError: Something is to happen after each epoch, and `max_steps` is set.
        TrainingError: The machine or launcher does not fit the recipe.
    """
    check_packages(recipe)
    _check_epochs(recipe)
    variables = os.environ if environment is None else environment
    requested = RequestedEngine.from_environment(variables)
    has_gpu = torch.cuda.is_available() and not requested.use_cpu
    if has_gpu:
        _check_num_gpus(int(variables.get("LOCAL_WORLD_SIZE", "1")))
    check_device_options(recipe, requested, has_gpu=has_gpu)
    precision = resolve_precision(recipe, requested, has_gpu=has_gpu)
    # With `use_cpu` DeepSpeed is silently left out; without a GPU it finds the CPU by itself.
    use_cpu = not has_gpu and requested.engine != "DEEPSPEED"
    if precision == "bf16" and not has_gpu and not use_cpu:
        raise TrainingError(
            "TRN002",
            "DeepSpeed without a GPU computes in float32 only, got bf16",
            where="bf16",
            hint="Set `bf16: false`",
        )
    with warnings.catch_warnings():
        # TRL's own defaults use a name that transformers has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        arguments = _sft_config(recipe, output_dir, requested, precision=precision, use_cpu=use_cpu)
    if arguments.n_gpu > 1:
        raise TrainingError(
            "TRN002",
            f"{arguments.n_gpu} GPUs are visible, but no launcher was used",
            where="python -m pipeline.train",
            hint="Use `accelerate launch --config_file accelerate_configs/multi_gpu.yaml`, or set "
            "CUDA_VISIBLE_DEVICES to one GPU",
        )
    return arguments


def _check_num_gpus(num_processes: int) -> None:
    if num_processes > (num_gpus := torch.cuda.device_count()):
        raise TrainingError(
            "TRN002",
            f"{num_processes} processes were started on this machine, which has {num_gpus} GPUs",
            where="num_processes",
            hint="Launch with `--num_processes N`, the GPUs of all machines together",
        )


def _sft_config(
    recipe: Recipe,
    output_dir: Path,
    requested: RequestedEngine,
    *,
    precision: Precision,
    use_cpu: bool,
) -> SFTConfig:
    has_gpu = torch.cuda.is_available() and not requested.use_cpu
    keeps_best = recipe.load_best_model_at_end
    return SFTConfig(
        output_dir=str(output_dir),
        run_name=recipe.run_name,
        # Our own data, loop logging and saving.
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        max_length=None,
        packing=False,
        disable_tqdm=True,
        logging_nan_inf_filter=False,
        average_tokens_across_devices=True,
        # Engine.
        use_cpu=use_cpu,
        ddp_backend="gloo" if not has_gpu and requested.num_processes > 1 else None,
        ddp_find_unused_parameters=False,
        bf16=precision == "bf16",
        fp16=precision == "fp16",
        torch_compile=recipe.torch_compile,
        activation_offloading=recipe.activation_offloading,
        use_liger_kernel=recipe.use_liger_kernel,
        gradient_checkpointing=recipe.gradient_checkpointing,
        gradient_checkpointing_kwargs={"use_reentrant": requested.zero_stage == 3}
        if recipe.gradient_checkpointing
        else None,
        dataloader_num_workers=recipe.dataloader_num_workers,
        dataloader_pin_memory=has_gpu,
        # Optimisation, by the names of the recipe.
        max_steps=1,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type=recipe.lr_scheduler_type,
        lr_scheduler_kwargs=dict(recipe.lr_scheduler_kwargs or {}),
        warmup_steps=recipe.warmup_steps,
        weight_decay=recipe.weight_decay,
        adam_beta1=recipe.adam_beta1,
        adam_beta2=recipe.adam_beta2,
        adam_epsilon=recipe.adam_epsilon,
        max_grad_norm=recipe.max_grad_norm,
        optim=recipe.optim,
        per_device_train_batch_size=recipe.per_device_train_batch_size,
        per_device_eval_batch_size=recipe.per_device_eval_batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
        seed=recipe.seed,
        # Reporting and saving.
        logging_strategy="steps",
        logging_steps=recipe.logging_steps,
        # An epoch of transformers is the whole run here; see `set_num_steps`.
        eval_strategy=_strategy_in_steps(recipe.eval_strategy),
        eval_steps=1 if recipe.eval_strategy == "epoch" else recipe.eval_steps,
        save_strategy=_strategy_in_steps(recipe.save_strategy),
        save_steps=1 if recipe.save_strategy == "epoch" else recipe.save_steps,
        # `CheckpointStore` removes checkpoints; transformers would remove the one of a signal too.
        save_total_limit=None,
        metric_for_best_model=METRICS[recipe.metric_for_best_model] if keeps_best else None,
        greater_is_better=False if keeps_best else None,
        load_best_model_at_end=keeps_best,
        report_to=report_backends(recipe),
        log_level="error",
        log_level_replica="error",
    )


def _check_epochs(recipe: Recipe) -> None:
    for name in ("eval_strategy", "save_strategy"):
        if getattr(recipe, name) == "epoch" and recipe.max_steps > 0:
            raise RecipeError(
                "REC006",
                f"got 'epoch' together with max_steps: {recipe.max_steps}, which counts no epochs",
                where=name,
                hint=f"Set `{name}: steps`, or num_train_epochs in place of max_steps",
            )


def _strategy_in_steps(strategy: SaveOrEvaluateStrategy) -> str:
    return "steps" if strategy == "epoch" else strategy


def set_num_steps(arguments: SFTConfig, recipe: Recipe, num_steps: int) -> None:
    """Set the length of the run, and what an epoch, one pass over the mixture, is in steps.

    Args:
        arguments: From `build_training_arguments`; changed.
        recipe: The same recipe.
        num_steps: Optimizer steps of the run.
    """
    arguments.max_steps = num_steps
    steps_per_epoch = math.ceil(num_steps / recipe.num_train_epochs)
    if recipe.eval_strategy == "epoch":
        arguments.eval_steps = steps_per_epoch
    if recipe.save_strategy == "epoch":
        arguments.save_steps = steps_per_epoch


def resolve_precision(recipe: Recipe, requested: RequestedEngine, *, has_gpu: bool) -> Precision:
    """Return the precision of the forward and backward pass.

    The recipe decides; where it says nothing, the launcher's configuration does; where that says
    nothing either, hardware with bfloat16 units uses them and everything else is float32.

    Raises:
        TrainingError: Recipe and launcher ask for different precisions.
    """
    asked: Precision | None = None
    if recipe.fp16:
        asked = "fp16"
    elif recipe.bf16 is not None:
        asked = "bf16" if recipe.bf16 else "no"
    launcher = requested.mixed_precision
    if asked is not None and launcher is not None and asked != launcher:
        raise TrainingError(
            "TRN004",
            f"the recipe asks for precision {asked!r}, the accelerate configuration for "
            f"{launcher!r}",
            where="bf16",
            hint="Make the two agree; `mixed_precision: 'no'` leaves it to the recipe",
        )
    if asked is not None:
        return asked
    if launcher is not None:
        return launcher
    if requested.engine == "DEEPSPEED" and not has_gpu:
        return "no"
    return "bf16" if has_native_bfloat16(torch.device("cuda" if has_gpu else "cpu")) else "no"


def check_packages(recipe: Recipe) -> None:
    """Check that trackers and optimizer exist and are installed.

    Raises:
        RecipeError: There is no tracker of that name.
        TrainingError: A package is missing.
    """
    known = sorted(INTEGRATION_TO_CALLBACK)
    installed = get_available_reporting_integrations()
    for name in report_backends(recipe):
        if name not in known:
            message = f"no tracker is named {name!r}"
            raise RecipeError("REC010", message, where="report_to", hint=did_you_mean(name, known))
        if name not in installed:
            raise _missing_package(name, where="report_to")
    needs_bitsandbytes = recipe.optim.endswith("bit")
    if needs_bitsandbytes and importlib.util.find_spec("bitsandbytes") is None:
        raise _missing_package("bitsandbytes", where="optim")
    if recipe.use_liger_kernel and importlib.util.find_spec("liger_kernel") is None:
        raise _missing_package("liger-kernel", where="use_liger_kernel")


def check_device_options(recipe: Recipe, requested: RequestedEngine, *, has_gpu: bool) -> None:
    """Check that options which save memory can work on this machine and engine.

    Raises:
        TrainingError: One cannot; the reason is told.
    """
    refused: dict[str, str] = {}
    if not has_gpu:
        refused["activation_offloading"] = "it moves activations off a GPU, and none is used"
        refused["use_liger_kernel"] = "its kernels are written for GPUs, and none is used"
        if recipe.attn_implementation == "flex_attention":
            refused["attn_implementation"] = "flex_attention has no backward pass without a GPU"
    if requested.engine is not None:
        refused["torch_compile"] = f"{requested.engine} changes weights between the layers"
    if requested.zero_stage == 3 or requested.engine == "FSDP":
        refused["activation_offloading"] = f"{requested.engine} moves weights itself"
        reason = f"{requested.engine} cuts the rows of new tokens in pieces"
        refused |= dict.fromkeys(("task_tokens", "label_tokens"), reason)
        if recipe.dna_unit != "letters":
            refused["dna_unit"] = reason
    hints = dict.fromkeys(("dna_unit", "task_tokens", "label_tokens"), "Use DDP or ZeRO-2")
    hints["attn_implementation"] = "Use sdpa or eager"
    for name, reason in refused.items():
        if getattr(recipe, name):
            raise TrainingError(
                "TRN002",
                f"this cannot be used here: {reason}",
                where=name,
                hint=hints.get(name, f"Set `{name}: false`"),
            )


def check_schedule(arguments: SFTConfig) -> None:
    """Check that the learning rate schedule can be built from its options.

    Raises:
        TrainingError: An option is missing, unknown or wrong.
    """
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=arguments.learning_rate)
    try:
        get_scheduler(
            arguments.lr_scheduler_type,
            optimizer=optimizer,
            num_warmup_steps=arguments.get_warmup_steps(arguments.max_steps),
            num_training_steps=arguments.max_steps,
            scheduler_specific_kwargs=dict(arguments.lr_scheduler_kwargs or {}),
        )
    except (TypeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise TrainingError(
            "TRN012",
            f"schedule {arguments.lr_scheduler_type.value!r} cannot be built: {reason}",
            where="lr_scheduler_kwargs",
            hint="Give the options this schedule takes in transformers",
        ) from error


def _missing_package(name: str, *, where: str) -> TrainingError:
    return TrainingError(
        "TRN011",
        f"this needs the package {name!r}, which is not installed",
        where=where,
        hint=f"pip install {name}",
    )


def report_backends(recipe: Recipe) -> list[str]:
    """Return the trackers to report to; `all` are those that are installed, as in transformers."""
    names = [recipe.report_to] if isinstance(recipe.report_to, str) else list(recipe.report_to)
    if names == ["all"]:
        return get_available_reporting_integrations()
    return [name for name in names if name != "none"]


def precision_of(arguments: SFTConfig) -> Precision:
    """Return the precision that the arguments stand for."""
    return "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no"
