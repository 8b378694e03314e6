"""One training run from recipe to adapter."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from rich.console import Console
from transformers import set_seed

from pipeline.adapters.registry import attach_adapter
from pipeline.errors import TrainingError
from pipeline.files import read_json
from pipeline.mixture.build import build_batches
from pipeline.mixture.plan import MixturePlan, build_plan
from pipeline.models.loading import load_model, load_tokenizer, resolve_model
from pipeline.recipe import Recipe
from pipeline.training.arguments import (
    build_training_arguments,
    check_schedule,
    precision_of,
)
from pipeline.training.data import (
    batch_shape,
    load_tasks,
    mixture_settings,
    validation_batches,
)
from pipeline.training.environment import describe_environment, has_native_bfloat16
from pipeline.training.guards import RequestedEngine, check_engine
from pipeline.training.processes import run_together
from pipeline.training.progress import ProgressDisplay
from pipeline.training.records import DATA_STATE_FILE, DataState, MetricsFile
from pipeline.training.run_folder import RunFolder
from pipeline.training.saving import save_adapter
from pipeline.training.trainer import MultiTaskTrainer
from pipeline.types import Json

if TYPE_CHECKING:
    from accelerate import PartialState
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase
    from transformers.trainer_utils import TrainOutput
    from trl import SFTConfig

    from pipeline.mixture.batches import TrainingBatches
    from pipeline.mixture.tokens import TokenizedTask


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """What a run left behind."""

    folder: Path
    adapter: Path
    """The PEFT folder."""
    num_steps: int
    train_loss: float
    """Mean over the steps, in nats per answer token."""
    train_seconds: float
    """Time inside the training loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Prepared:
    """All of a run that needs no weights."""

    recipe: Recipe
    run_folder: RunFolder
    checkpoint: Path | None
    """Where to go on from."""
    arguments: SFTConfig
    source: str
    """Folder or hub id of the base model."""
    tokenizer: PreTrainedTokenizerBase
    tasks: list[TokenizedTask]
    batches: TrainingBatches

    @property
    def state(self) -> PartialState:
        """The group of processes."""
        return self.arguments.distributed_state


def run_training(recipe: Recipe, console: Console | None = None) -> RunResult:
    """Train the adapter that `recipe` describes; every process of a launch calls this.

    Args:
        recipe: What to train.
        console: Where progress is shown; standard error by default.

    Raises:
        PipelineError: Something of the recipe, the data, the model or the machine does not fit.
            Until training starts, nothing is written to the run folder.
    """
    console = console or Console(stderr=True, highlight=False)
    with console.status("reading the tasks") if console.is_terminal else contextlib.nullcontext():
        prepared = _prepare(recipe)
    plan = build_plan(
        prepared.batches,
        max_epochs=recipe.mixture.max_epochs_per_task,
        task_loss=recipe.loss_reduction != "token",
    )
    if prepared.state.is_main_process:
        _show_plan(console, plan, prepared.arguments)
    with _nothing_left_on_error(prepared.run_folder.path):
        trainer = _build_trainer(prepared, console)
    environment = describe_environment(
        prepared.arguments, model_commit=getattr(trainer.model.config, "_commit_hash", None)
    )
    run_together(prepared.state, lambda: _start(prepared, environment, plan))
    started = time.monotonic()
    outcome = _train(trainer, prepared)
    seconds = time.monotonic() - started
    save_adapter(trainer, prepared.run_folder.adapter, base_source=prepared.source)
    return RunResult(
        folder=prepared.run_folder.path,
        adapter=prepared.run_folder.adapter,
        num_steps=outcome.global_step,
        train_loss=outcome.training_loss,
        train_seconds=seconds,
    )


def _prepare(recipe: Recipe) -> _Prepared:
    run_folder = RunFolder(Path(str(recipe.output_dir)))
    run_folder.check_free(recipe)
    checkpoint = find_checkpoint(recipe, run_folder)
    arguments = build_training_arguments(recipe, run_folder.path)
    state = arguments.distributed_state
    source = run_together(state, lambda: resolve_model(recipe.model_name_or_path), main_first=True)
    tokenizer = run_together(state, lambda: _load_tokenizer(recipe, source))
    tasks = run_together(state, lambda: load_tasks(recipe, tokenizer), main_first=True)
    batches = run_together(state, lambda: _build_batches(recipe, arguments, tasks, tokenizer))
    if checkpoint is not None:
        run_together(state, lambda: _check_data_state(batches, checkpoint))
    arguments.max_steps = batches.num_steps
    check_schedule(arguments)
    return _Prepared(
        recipe=recipe,
        run_folder=run_folder,
        checkpoint=checkpoint,
        arguments=arguments,
        source=source,
        tokenizer=tokenizer,
        tasks=tasks,
        batches=batches,
    )


@contextlib.contextmanager
def _nothing_left_on_error(folder: Path) -> Iterator[None]:
    """Remove the empty folder that transformers makes before it has checked anything."""
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed:
            with contextlib.suppress(OSError):
                folder.rmdir()
        raise


def _build_trainer(prepared: _Prepared, console: Console) -> MultiTaskTrainer:
    recipe, arguments, batches = prepared.recipe, prepared.arguments, prepared.batches
    validation = _validation_batches(prepared) if recipe.eval_strategy != "no" else []
    model = run_together(prepared.state, lambda: _build_model(prepared))
    trainer = MultiTaskTrainer(
        model,
        arguments,
        tokenizer=prepared.tokenizer,
        train_loader=batches.loader(
            num_workers=arguments.dataloader_num_workers,
            pin_memory=arguments.dataloader_pin_memory,
            start_step=0,
        ),
        loss_reduction=prepared.recipe.loss_reduction,
        task_names=[task.name for task in prepared.tasks],
        validation_batches=validation,
        callbacks=[
            MetricsFile(prepared.run_folder.metrics),
            DataState(batches.state),
            ProgressDisplay(console),
        ],
    )
    requested = RequestedEngine.from_environment(os.environ)
    check_engine(requested, trainer.accelerator, mixed_precision=precision_of(arguments))
    return trainer


def _train(trainer: MultiTaskTrainer, prepared: _Prepared) -> TrainOutput:
    checkpoint = prepared.checkpoint
    try:
        return trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except torch.OutOfMemoryError as error:
        raise TrainingError(
            "TRN010",
            f"out of GPU memory with {prepared.recipe.per_device_train_batch_size} rows of "
            f"{prepared.recipe.max_length} tokens",
            where=f"step {trainer.state.global_step + 1}",
            hint="Halve per_device_train_batch_size and double gradient_accumulation_steps, or set "
            "`gradient_checkpointing: true`",
        ) from error
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressDisplay):
                callback.close()


def find_checkpoint(recipe: Recipe, run_folder: RunFolder) -> Path | None:
    """Return the checkpoint to go on from; `None` starts afresh.

    Raises:
        TrainingError: The checkpoint named in the recipe does not exist.
    """
    wanted = recipe.resume_from_checkpoint
    if wanted is None:
        return None
    if wanted == "auto":
        return run_folder.checkpoints[-1] if run_folder.checkpoints else None
    if not (Path(wanted) / "trainer_state.json").is_file():
        raise TrainingError(
            "TRN007",
            "this is no checkpoint folder",
            where=wanted,
            hint="Give a checkpoint-* folder of a run, or 'auto' for the newest one",
        )
    return Path(wanted)


def _load_tokenizer(recipe: Recipe, source: str) -> PreTrainedTokenizerBase:
    template = recipe.chat_template_path
    return load_tokenizer(
        source,
        revision=recipe.model_revision,
        chat_template_path=None if template is None else Path(template),
    )


def _build_batches(
    recipe: Recipe,
    arguments: SFTConfig,
    tasks: list[TokenizedTask],
    tokenizer: PreTrainedTokenizerBase,
) -> TrainingBatches:
    shape = batch_shape(recipe, world_size=arguments.world_size, rank=arguments.process_index)
    return build_batches(
        tasks,
        mixture_settings(recipe),
        shape,
        pad_token_id=cast("int", tokenizer.pad_token_id),
        padding_free=recipe.packing and recipe.attn_implementation == "flash_attention_2",
    )


def _check_data_state(batches: TrainingBatches, checkpoint: Path) -> None:
    """Refuse to go on with other data; the loader itself skips by position."""
    path = checkpoint / DATA_STATE_FILE
    try:
        state = read_json(path)
    except (OSError, ValueError) as error:
        raise TrainingError(
            "TRN007",
            f"this checkpoint has no readable {DATA_STATE_FILE}",
            where=checkpoint,
            hint="Go on from another checkpoint, or start anew",
        ) from error
    batches.load_state(cast("dict[str, Json]", state))


def _build_model(prepared: _Prepared) -> PeftModel:
    recipe, arguments = prepared.recipe, prepared.arguments
    is_quantised = recipe.load_in_4bit or recipe.load_in_8bit
    model = load_model(
        prepared.source,
        revision=recipe.model_revision,
        dtype=recipe.dtype,
        attn_implementation=recipe.attn_implementation,
        load_in_4bit=recipe.load_in_4bit,
        load_in_8bit=recipe.load_in_8bit,
        bnb_4bit_quant_type=recipe.bnb_4bit_quant_type,
        use_bnb_nested_quant=recipe.use_bnb_nested_quant,
        device=arguments.device if is_quantised else None,
    )
    # The adapter starts from random numbers: the same ones in every process and every run.
    set_seed(recipe.seed)
    plugin = arguments.deepspeed_plugin
    # ZeRO-3 gathers weights of one type only, see TRL issue 6089.
    keep_base_dtype = plugin is not None and plugin.zero_stage == 3 and not is_quantised
    return attach_adapter(model, recipe.adapter_settings, keep_base_dtype=keep_base_dtype)


def _validation_batches(prepared: _Prepared) -> list[dict[str, Tensor]]:
    recipe, tokenizer = prepared.recipe, prepared.tokenizer
    held_out = run_together(
        prepared.state,
        lambda: load_tasks(recipe, tokenizer, split="validation"),
        main_first=True,
    )
    if not held_out:
        raise TrainingError(
            "TRN008",
            "none of the tasks has a validation split",
            where="eval_strategy",
            hint="Set `eval_strategy: 'no'`",
        )
    return validation_batches(
        held_out,
        [task.name for task in prepared.tasks],
        rows_per_batch=recipe.per_device_eval_batch_size,
        max_length=recipe.max_length,
        pad_token_id=cast("int", tokenizer.pad_token_id),
    )


def _start(prepared: _Prepared, environment: Json, plan: MixturePlan) -> None:
    if prepared.state.is_main_process:
        checkpoint = prepared.checkpoint
        first_step = int(checkpoint.name.rpartition("-")[2]) if checkpoint else 0
        report = plan.to_json()
        prepared.run_folder.start(prepared.recipe, environment, report, first_step=first_step)


def _show_plan(console: Console, plan: MixturePlan, arguments: SFTConfig) -> None:
    console.print(
        f"{len(plan.tasks)} tasks, {sum(task.num_examples for task in plan.tasks):,} examples; "
        f"{plan.num_steps:,} steps of {plan.global_batch_size} rows, {plan.num_tokens:,} tokens"
    )
    notes = list(plan.warnings)
    if arguments.bf16 and not has_native_bfloat16(arguments.device):
        notes.append("this device only emulates bfloat16, which is slow; leave `bf16` out")
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
