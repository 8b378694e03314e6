"""One training run from recipe to adapter."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from rich.console import Console
from transformers import TrainerCallback, set_seed

from pipeline.adapters.continued_fields import with_folder_fields
from pipeline.adapters.continuing import extend_adapter, start_adapter_from
from pipeline.adapters.registry import attach_adapter
from pipeline.errors import OutputError, TrainingError
from pipeline.mixture.build import build_batches
from pipeline.mixture.plan import MixturePlan, build_plan
from pipeline.models.loading import carries_state, load_model, resolve_model
from pipeline.recipe import Recipe
from pipeline.training.arguments import (
    build_training_arguments,
    check_schedule,
    precision_of,
    set_num_steps,
)
from pipeline.training.checkpoint import CheckpointPart, check_free_space, load_parts
from pipeline.training.checkpoint_folders import step_of
from pipeline.training.data import (
    batch_shape,
    mixture_settings,
    validation_batches,
)
from pipeline.training.dynamic_rates import dynamic_rates
from pipeline.training.early_stopping import EarlyStopping
from pipeline.training.engine_record import EngineRecord
from pipeline.training.environment import describe_environment, has_native_bfloat16
from pipeline.training.guards import RequestedEngine, check_engine
from pipeline.training.leakage import (
    find_left_out,
    leakage_notes,
    leakage_of,
    leakage_to_json,
)
from pipeline.training.micro_batches import longest_micro_batch, memory_told
from pipeline.training.preparing_together import load_tasks_together
from pipeline.training.processes import run_in_first, run_together
from pipeline.training.progress import ProgressDisplay, describe_event
from pipeline.training.recipe_record import RecipeRecord
from pipeline.training.recipe_tokenizer import (
    check_earlier_tokens,
    find_new_token_ids,
    load_recipe_tokenizer,
)
from pipeline.training.records import MetricsFile
from pipeline.training.resuming import choose_checkpoint
from pipeline.training.routing_record import RoutingRecord
from pipeline.training.row_finder import row_keys
from pipeline.training.row_manifest import write_row_manifest
from pipeline.training.run_folder import RunFolder
from pipeline.training.saving import save_adapter
from pipeline.training.signals import StopSignals, stopped
from pipeline.training.task_tokens import ExampleKeys, call_notes
from pipeline.training.trainer import MultiTaskTrainer
from pipeline.types import Json

if TYPE_CHECKING:
    from accelerate import PartialState
    from peft import PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase
    from transformers.trainer_utils import TrainOutput
    from trl import SFTConfig

    from pipeline.examples.overlap import Leakage
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
    held_out: list[TokenizedTask]
    """Validation examples, where the recipe evaluates during training."""
    leakage: Leakage | None
    """What training and evaluation have in common, where it was looked for."""
    batches: TrainingBatches
    plan: MixturePlan
    parts: Mapping[str, CheckpointPart]
    """What a checkpoint holds beside weights and optimizer; a new one is added in `_prepare`."""
    skipped: tuple[tuple[Path, str], ...]
    """Newer checkpoints that are not whole, with the reason."""

    @property
    def state(self) -> PartialState:
        """The group of processes."""
        return self.arguments.distributed_state

    @property
    def routing(self) -> RoutingRecord | None:
        """What adds up the loads of experts; `None` without a multi-task adapter."""
        part = self.parts.get("routing")
        return part if isinstance(part, RoutingRecord) else None


def run_training(recipe: Recipe, console: Console | None = None) -> RunResult:
    """Train the adapter that `recipe` describes; every process of a launch calls this.

    Args:
        recipe: What to train.
        console: Where progress is shown; standard error by default.

    Raises:
        PipelineError: Something of the recipe, the data, the model or the machine does not fit.
            Until training starts, nothing is written to the run folder.
        TrainingStopped: A signal stopped the run; the last step is saved.
    """
    console = console or Console(stderr=True, highlight=False)
    signals = StopSignals()
    with signals.handled():
        return _run(recipe, console, signals)


def _run(recipe: Recipe, console: Console, signals: StopSignals) -> RunResult:
    with console.status("reading the tasks") if console.is_terminal else contextlib.nullcontext():
        prepared = _prepare(recipe)
    plan = prepared.plan
    if prepared.state.is_main_process:
        _show_plan(console, plan, prepared)
    with _nothing_left_on_error(prepared.run_folder.path):
        trainer = _build_trainer(prepared, console, signals)
        num_bytes = 2 * trainer.checkpoint_bytes()
        check_free_space(prepared.run_folder.path, num_bytes, what="two checkpoints")
    environment = describe_environment(
        prepared.arguments, model_commit=getattr(trainer.model.config, "_commit_hash", None)
    )
    run_in_first(prepared.state, lambda: _start(prepared, environment, plan))
    started = time.monotonic()
    with _going_on_told(prepared.run_folder.path):
        outcome = _train(trainer, prepared)
        seconds = time.monotonic() - started
        run_together(prepared.state, prepared.run_folder.check_kept)
        save_adapter(trainer, prepared.run_folder.adapter, base_source=prepared.source)
        run_in_first(prepared.state, lambda: _write_routing(prepared))
    return RunResult(
        folder=prepared.run_folder.path,
        adapter=prepared.run_folder.adapter,
        num_steps=outcome.global_step,
        train_loss=outcome.training_loss,
        train_seconds=seconds,
    )


@contextlib.contextmanager
def _going_on_told(folder: Path) -> Iterator[None]:
    """Tell how a run goes on whose folder is gone or could not be written while it trained."""
    try:
        yield
    except OutputError as error:
        is_gone = not folder.is_dir()
        raise OutputError(
            error.code,
            "the run folder is gone, nothing was written" if is_gone else error.message,
            where=folder if is_gone else error.where,
            hint="When it can be written again, go on with `--resume auto`",
        ) from error


def _prepare(recipe: Recipe) -> _Prepared:
    recipe = with_folder_fields(recipe)
    run_folder = RunFolder(Path(str(recipe.output_dir)))
    run_folder.check_free(recipe)
    arguments = build_training_arguments(recipe, run_folder.path)
    state = arguments.distributed_state
    found = choose_checkpoint(recipe, run_folder.path, state)
    # Rows that are left out must be known before tokens are made; counting them can wait until
    # all processes have made the examples.
    leakage = run_together(state, lambda: find_left_out(recipe), main_first=True)
    source = run_together(state, lambda: resolve_model(recipe.model_name_or_path), main_first=True)
    tokenizer = run_together(state, lambda: load_recipe_tokenizer(recipe), main_first=True)
    run_together(state, lambda: check_earlier_tokens(recipe, tokenizer))
    by_split = load_tasks_together(recipe, tokenizer, state)
    leakage = leakage or run_together(state, lambda: leakage_of(recipe), main_first=True)
    tasks = by_split["train"]
    batches = run_together(state, lambda: _build_batches(recipe, arguments, tasks, tokenizer))
    record = RecipeRecord(recipe, global_batch_size=batches.shape.global_batch_size)
    engine = _engine_record(arguments)
    parts: dict[str, CheckpointPart] = {"recipe": record, "engine": engine, "data": batches}
    if (policy := dynamic_rates(recipe, batches)) is not None:
        parts["mixture_policy"] = policy
    if recipe.adapter.type != "lora":
        parts["routing"] = RoutingRecord([task.name for task in tasks])
    if (patience := recipe.early_stopping_patience) is not None:
        parts["early_stopping"] = EarlyStopping(recipe.metric_for_best_model, patience)
    # Before a checkpoint is loaded, from whose place on alone rates that changed are known.
    plan = build_plan(
        batches,
        max_epochs=recipe.mixture.max_epochs_per_task,
        loss_reduction=recipe.loss_reduction,
        update_steps=dynamic.update_steps if (dynamic := recipe.mixture.dynamic) else None,
    )
    if (checkpoint := found.path) is not None:
        # Before the model is loaded; the trainer does it again for all of its parts.
        run_together(state, lambda: load_parts(checkpoint, parts))
    set_num_steps(arguments, recipe, batches.num_steps)
    check_schedule(arguments)
    return _Prepared(
        recipe=recipe,
        run_folder=run_folder,
        checkpoint=found.path,
        skipped=found.skipped,
        parts=parts,
        arguments=arguments,
        source=source,
        tokenizer=tokenizer,
        tasks=tasks,
        held_out=by_split["validation"],
        leakage=leakage,
        batches=batches,
        plan=plan,
    )


def _engine_record(arguments: SFTConfig) -> EngineRecord:
    plugin = arguments.deepspeed_plugin
    return EngineRecord(
        RequestedEngine.from_environment(os.environ).engine,
        zero_stage=None if plugin is None else plugin.zero_stage,
        num_processes=arguments.world_size,
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


def _build_trainer(prepared: _Prepared, console: Console, signals: StopSignals) -> MultiTaskTrainer:
    recipe, arguments, batches = prepared.recipe, prepared.arguments, prepared.batches
    metrics, display = MetricsFile(prepared.run_folder.metrics), ProgressDisplay(console)

    def on_event(name: str, details: dict[str, Json]) -> None:
        if prepared.state.is_main_process:
            display.note(describe_event(name, details))
            metrics.write_event(name, details)

    validation = _validation_batches(prepared) if recipe.eval_strategy != "no" else []
    model = run_together(prepared.state, lambda: _build_model(prepared))
    routing = prepared.routing
    # What adds to a log goes before what writes it.
    callbacks = [part for part in prepared.parts.values() if isinstance(part, TrainerCallback)]
    told = memory_told(
        "model_name_or_path",
        "placing the model on its device",
        "Set `load_in_4bit: true`, or train on several GPUs with ZeRO-3 or FSDP",
    )
    with told:
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
            callbacks=[*callbacks, metrics, display],
            checkpoint_parts=prepared.parts,
            row_keys=row_keys(batches, ExampleKeys(recipe).key),
            num_kept_checkpoints=recipe.save_total_limit,
            longest_batch=longest_micro_batch(batches),
            signals=signals,
            on_event=on_event,
            on_loads=None if routing is None else routing.on_loads,
        )
    requested = RequestedEngine.from_environment(os.environ)
    check_engine(requested, trainer.accelerator, mixed_precision=precision_of(arguments))
    return trainer


def _train(trainer: MultiTaskTrainer, prepared: _Prepared) -> TrainOutput:
    checkpoint = prepared.checkpoint
    try:
        outcome = trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    finally:
        for callback in trainer.callback_handler.callbacks:
            if isinstance(callback, ProgressDisplay):
                callback.close()
    if trainer.stopped_by is not None:
        run_in_first(prepared.state, lambda: _mark_stopped(trainer, prepared))
        raise stopped(trainer.stopped_by, step=outcome.global_step, checkpoint=trainer.last_saved)
    return outcome


def _mark_stopped(trainer: MultiTaskTrainer, prepared: _Prepared) -> None:
    if trainer.stopped_by is not None:
        prepared.run_folder.mark_stopped(trainer.stopped_by, step=trainer.state.global_step)


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
        # These kernels tell packed examples apart only in a batch of one row.
        padding_free=recipe.packing and "flash" in (recipe.attn_implementation or ""),
    )


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
    if recipe.packing and carries_state(model):
        raise TrainingError(
            "TRN002",
            "layers of this model carry a state along the row, so packed examples would read "
            "each other",
            where="packing",
            hint="Set `packing: false`",
        )
    # The adapter starts from random numbers: the same ones in every process and every run.
    set_seed(recipe.seed)
    plugin = arguments.deepspeed_plugin
    # ZeRO-3 gathers weights of one type only, see TRL issue 6089.
    keep_base_dtype = plugin is not None and plugin.zero_stage == 3 and not is_quantised
    settings, task_names = recipe.adapter_settings, [task.name for task in prepared.tasks]
    if (earlier := recipe.adapter.start_from) is not None:
        return start_adapter_from(model, Path(earlier), settings, keep_base_dtype=keep_base_dtype)
    if (kept := recipe.adapter.extend) is not None:
        return extend_adapter(
            model, Path(kept), settings, task_names=task_names, keep_base_dtype=keep_base_dtype
        )
    return attach_adapter(
        model,
        settings,
        task_names=task_names,
        new_token_ids=find_new_token_ids(recipe),
        keep_base_dtype=keep_base_dtype,
    )


def _validation_batches(prepared: _Prepared) -> list[dict[str, Tensor]]:
    recipe, tokenizer = prepared.recipe, prepared.tokenizer
    if not any(map(len, prepared.held_out)):
        what = "rows to validate on that fit" if prepared.held_out else "a validation split"
        raise TrainingError(
            "TRN008",
            f"none of the tasks has {what}",
            where="eval_strategy",
            hint="Set `eval_strategy: 'no'`",
        )
    return validation_batches(
        prepared.held_out,
        [task.name for task in prepared.tasks],
        rows_per_batch=recipe.per_device_eval_batch_size,
        max_length=recipe.max_length,
        pad_token_id=cast("int", tokenizer.pad_token_id),
        packing=recipe.packing,
        padding_free=prepared.batches.padding_free,
    )


def _start(prepared: _Prepared, environment: Json, plan: MixturePlan) -> None:
    checkpoint = prepared.checkpoint
    first_step = max(step_of(checkpoint), 0) if checkpoint else 0
    report = plan.to_json()
    report["overlap"] = leakage_to_json(prepared.recipe, prepared.leakage)
    prepared.run_folder.start(prepared.recipe, environment, report, first_step=first_step)
    write_row_manifest(prepared.recipe, prepared.run_folder.path)


def _write_routing(prepared: _Prepared) -> None:
    if prepared.routing is not None:
        prepared.routing.write(prepared.run_folder.routing, prepared.run_folder.adapter)


def _show_plan(console: Console, plan: MixturePlan, prepared: _Prepared) -> None:
    console.print(
        f"{len(plan.tasks)} tasks, {sum(task.num_examples for task in plan.tasks):,} examples; "
        f"{plan.num_steps:,} steps of {plan.global_batch_size} rows, {plan.num_tokens:,} tokens"
    )
    arguments = prepared.arguments
    notes = [f"{path.name} is passed over: {fault}" for path, fault in prepared.skipped]
    if prepared.checkpoint is not None:
        notes.append(f"going on from {prepared.checkpoint}")
    notes += plan.warnings
    notes += leakage_notes(prepared.recipe, prepared.leakage)
    notes += call_notes(prepared.recipe, prepared.tokenizer)
    if arguments.bf16 and not has_native_bfloat16(arguments.device):
        notes.append("this device only emulates bfloat16, which is slow; leave `bf16` out")
    for note in notes:
        console.print(f"note: {note}", soft_wrap=True)
