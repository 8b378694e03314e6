"""A trainer that loses nothing: it saves whole checkpoints, stops on request and fits memory.

What it adds to TRL's `SFTTrainer`: checkpoints through `CheckpointStore`; a signal saves and stops
at the end of a step; the longest rows are tried before the first step, and memory that runs out
halves the rows of a pass while the step stays the same.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType
from accelerate.utils.memory import clear_device_cache
from torch import Tensor, nn
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import IntervalStrategy
from trl import SFTTrainer

from pipeline.errors import OutputError, TrainingError
from pipeline.training.checkpoint import CheckpointPart, CheckpointStore, load_parts
from pipeline.training.checkpoint_folders import PREFIX, check_checkpoint
from pipeline.training.micro_batches import (
    GradientSnapshot,
    MicroBatchPieces,
    is_out_of_memory,
    must_stop,
)
from pipeline.training.processes import OneProcessError, run_in_first, tell_loader_death
from pipeline.training.signals import StopSignals
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl
    from transformers.trainer_utils import TrainOutput

EventSink = Callable[[str, dict[str, Json]], None]
"""Told the name of something unusual, and what belongs to it."""

_OTHER_CHECKPOINT_BYTES = 32 << 20
"""Tokenizer, configurations and logs beside the numbers of a checkpoint."""


class ResilientTrainer(SFTTrainer):
    """The part of the trainer that knows nothing of tasks."""

    control: TrainerControl

    def __init__(
        self,
        *args: Any,  # noqa: ANN401 - passed through
        checkpoint_parts: Mapping[str, CheckpointPart],
        num_kept_checkpoints: int | None,
        longest_batch: Mapping[str, Tensor] | None,
        signals: StopSignals | None,
        on_event: EventSink | None,
        **kwargs: Any,  # noqa: ANN401 - passed through
    ) -> None:
        """Set up the loop; other arguments as in TRL.

        Args:
            *args: Passed on.
            checkpoint_parts: What else is saved, by name.
            num_kept_checkpoints: Older ones are removed; `None` keeps all.
            longest_batch: A micro-batch as long as any, or `None` to try nothing.
            signals: Asked at every step whether to save and stop.
            on_event: Told of what is unusual.
            **kwargs: Passed on.
        """
        super().__init__(*args, **kwargs)
        self._longest_batch = longest_batch
        self._signals = signals or StopSignals()
        self._on_event = on_event or (lambda name, details: None)
        self._pieces = MicroBatchPieces()
        self._checkpoints = CheckpointStore(
            Path(str(self.args.output_dir)),
            self.accelerator.state,
            num_kept=num_kept_checkpoints,
            parts={"micro_batch_pieces": self._pieces, **checkpoint_parts},
        )
        self._last_saved: Path | None = None
        self._has_saved_for_stop = False
        self._best_before_step: tuple[float | None, int | None] = (None, None)
        self.stopped_by: str | None = None
        """The signal that ended training before its last step; a checkpoint was saved."""

    @property
    def last_saved(self) -> Path | None:
        """The newest checkpoint written or resumed from."""
        return self._last_saved

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        **kwargs: Any,  # noqa: ANN401 - passed through
    ) -> TrainOutput:
        """Train; arguments as in transformers.

        Raises:
            CheckpointError: The checkpoint lacks a part that this run has.
            TrainingError: Numbers stay non-finite, memory runs out and nothing helps, or a process
                that makes batches was killed.
        """
        if isinstance(resume_from_checkpoint, str):
            self._last_saved = Path(resume_from_checkpoint)
            load_parts(self._last_saved, self._checkpoints.parts)
        self._signals.is_training = True
        work = partial(super().train, resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        return tell_loader_death(work, self._loader_death)

    def _loader_death(self) -> OneProcessError:
        return OneProcessError(
            "TRN016",
            "a process that makes batches was killed, probably for want of memory",
            where=f"step {self.state.global_step + 1}",
            hint="Go on with `--resume auto`, and a lower dataloader_num_workers",
        )

    def training_step(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        num_items_in_batch: Tensor | int | None = None,
    ) -> Tensor:
        """Run one micro-batch forward and backward, in as few passes as memory allows.

        Raises:
            TrainingError: Memory ran out, and smaller passes are impossible.
        """
        can_repeat = self.accelerator.num_processes == 1
        before = GradientSnapshot(self.model) if can_repeat else None
        statistics = self._statistics()
        while True:
            try:
                return self._run_passes(model, inputs, num_items_in_batch)
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if before is None:
                    # The others wait in a collective for this process; they cannot be asked.
                    raise must_stop(
                        rows=self.args.per_device_train_batch_size,
                        accumulation=self.args.gradient_accumulation_steps,
                        step=self.state.global_step + 1,
                    ) from error
            # Outside the handler, whose traceback would keep the activations.
            before.restore()
            self._restore_statistics(statistics)
            self._halve_passes(inputs)

    def _run_passes(
        self, model: nn.Module, inputs: dict[str, Tensor], num_items_in_batch: Tensor | int | None
    ) -> Tensor:
        *earlier, last = self._pieces.split(inputs)
        total = torch.zeros((), device=self.args.device)
        with self._gradients_kept_apart(model) if earlier else contextlib.nullcontext():
            for piece in earlier:
                total += super().training_step(model, piece, num_items_in_batch)
        return total + super().training_step(model, last, num_items_in_batch)

    @contextlib.contextmanager
    def _gradients_kept_apart(self, model: nn.Module) -> Iterator[None]:
        """Exchange and apply no gradients inside the block, as between accumulated batches."""
        state = self.accelerator.gradient_state
        before = state.sync_gradients
        state._set_sync_gradients(False)
        try:
            with self.accelerator.no_sync(model):
                yield
        finally:
            state._set_sync_gradients(before)

    def _halve_passes(self, batch: Mapping[str, Tensor]) -> None:
        clear_device_cache(garbage_collection=True)
        self._pieces.halve(len(batch["input_ids"]))
        rows = -(-len(batch["input_ids"]) // self._pieces.count)
        self._on_event(
            "out_of_memory",
            {
                "step": self.state.global_step + 1,
                "rows_per_pass": rows,
                "passes_per_step": self._pieces.count * self.args.gradient_accumulation_steps,
            },
        )

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            optimizer = self.model_wrapped.optimizer
            if hasattr(optimizer, "check_grad_overflow"):
                # DeepSpeed skips a step by itself then, also in bfloat16.
                optimizer.check_grad_overflow = True
        elif self._longest_batch is not None and not self.is_fsdp_enabled:
            self._try_longest_batch(self._longest_batch)
        return prepared

    def _try_longest_batch(self, batch: Mapping[str, Tensor]) -> None:
        """Find out before the first step in how many passes the longest rows fit, on all devices.

        Engines that gather weights within the pass are left out: a device that runs out of memory
        there leaves the others waiting.
        """
        statistics = self._statistics()
        devices = [self.args.device] if self.args.device.type == "cuda" else []
        with torch.random.fork_rng(devices=devices):
            while float(self._sum_over_processes(self._does_not_fit(batch))):
                self._restore_statistics(statistics)
                self._halve_passes(batch)
            self._restore_statistics(statistics)

    def _does_not_fit(self, batch: Mapping[str, Tensor]) -> Tensor:
        trainable = [value for value in self.model.parameters() if value.requires_grad]
        failed = 0.0
        try:
            # What the optimizer will hold on to from its first step on.
            moments = [torch.empty_like(value) for value in trainable for _ in range(2)]
            self._run_passes(self.model, dict(batch), torch.ones((), device=self.args.device))
            del moments
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            failed = 1.0
        self.model.zero_grad()
        return torch.tensor(failed, device=self.args.device)

    def _run_epoch(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        """Run the steps; one epoch is the whole run."""
        # A run that goes on saves, evaluates and logs as its recipe says now.
        self.state.compute_steps(self.args, self.state.max_steps)
        if self._lacks_evaluation():
            metrics = self._evaluate(kwargs["trial"], kwargs["ignore_keys_for_eval"])
            self._determine_best_metric(metrics=metrics, trial=kwargs["trial"])
        # transformers would look only after one more step.
        if not self.control.should_training_stop:
            super()._run_epoch(*args, **kwargs)

    def _lacks_evaluation(self) -> bool:
        """Return whether a signal came before the evaluation of the step that is gone on from."""
        step = self.state.global_step
        return (
            self.args.eval_strategy == IntervalStrategy.STEPS
            and step > 0
            and step % self.state.eval_steps == 0
            and not any(
                log["step"] == step and "eval_loss" in log for log in self.state.log_history
            )
        )

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        if self.stopped_by is not None and self.state.global_step >= self.state.max_steps:
            self.stopped_by = None
        if self.stopped_by is not None and not self._has_saved_for_stop:
            self._has_saved_for_stop = True
            self.control.should_save = self.control.should_training_stop = True
            # A run that goes on makes it first.
            self.control.should_evaluate = False
        # A window of logged steps ends at each checkpoint, so a resumed run logs the same numbers.
        is_last = self.state.global_step >= self.state.max_steps
        # The last window may be shorter than the others; the losses in it are not lost.
        self.control.should_log |= self.control.should_save or is_last
        self._best_before_step = (self.state.best_metric, self.state.best_global_step)
        super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        step = self.state.global_step
        best_before = self.state.best_model_checkpoint
        best = self._find_best(step)
        self.store_flos()
        try:
            self._last_saved = self._checkpoints.save(
                step,
                self._write_checkpoint,
                num_bytes=self.checkpoint_bytes(),
                protected=[] if best is None else [best],
            )
        except (OutputError, TrainingError) as error:
            is_last = step >= self.state.max_steps or self.stopped_by is not None
            if self._last_saved is None or is_last:
                raise
            # The best is one of those that are there.
            self.state.best_model_checkpoint = best_before
            if self.state.best_global_step == step:
                self.state.best_metric, self.state.best_global_step = self._best_before_step
            self._on_event("checkpoint_failed", {"step": step, "reason": str(error)})

    def _find_best(self, step: int) -> Path | None:
        """Return the best checkpoint, and tell transformers, which loads it at the end."""
        if not self.args.load_best_model_at_end:
            return None
        number = self.state.best_global_step
        path = self._checkpoints.folder / f"{PREFIX}{number}"
        if number == step or path.is_dir():
            self.state.best_model_checkpoint = str(path)
        # Where the best step was not saved, the best that was stays so.
        best = self.state.best_model_checkpoint
        return None if best is None else Path(best)

    def _load_best_model(self) -> None:
        """Load the best checkpoint, which transformers would not verify.

        Raises:
            CheckpointError: It is not as it was written.
            TrainingError: Another process found that.
        """
        best = Path(str(self.state.best_model_checkpoint))
        run_in_first(self.accelerator.state, lambda: check_checkpoint(best))
        super()._load_best_model()

    def _write_checkpoint(self, folder: Path) -> None:
        """Write this process's files, as transformers' `_save_checkpoint` does."""
        self.save_model(str(folder), _internal_call=True)
        self._save_optimizer_and_scheduler(str(folder))
        self._save_scaler(str(folder))
        self._save_rng_state(str(folder))
        if self.args.should_save:
            self.state.save_to_json(str(folder / TRAINER_STATE_NAME))

    def checkpoint_bytes(self) -> int:
        """Return an upper bound of a checkpoint's size: weights, a copy and two moments, texts."""
        trainable = (each for each in self.model.parameters() if each.requires_grad)
        count = sum(getattr(each, "ds_numel", each.numel()) for each in trainable)
        return 16 * count + _OTHER_CHECKPOINT_BYTES

    def _statistics(self) -> Any:  # noqa: ANN401 - only handed back
        """Return what a pass adds to beside gradients, to be put back before it is repeated."""
        raise NotImplementedError

    def _restore_statistics(self, statistics: Any) -> None:  # noqa: ANN401
        raise NotImplementedError

    def _sum_over_processes(self, sums: Tensor) -> Tensor:
        return self.accelerator.reduce(sums, reduction="sum")
