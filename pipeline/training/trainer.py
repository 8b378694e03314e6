"""The training loop: TRL's `SFTTrainer` with our batches and one loss per task.

What differs from TRL: batches come ready-made and are not dealt out again; the loss and accuracy
of each task are read off the same forward pass; a step with a number that is not finite is not
made; memory that runs out halves the rows of a pass; checkpoints are whole or absent; no telemetry
is sent. Everything else, from optimizers to engines, is transformers' own.

    B rows, T tokens, S = T - 1 predictions
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DistributedType, gather_object, is_peft_model
from datasets import Dataset
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback
from transformers.integrations import get_reporting_integration_callbacks
from trl import SFTConfig

from pipeline.adapters.batch_tasks import TASK_IDS_ARGUMENT
from pipeline.training.answer_head import add_answer_head
from pipeline.training.checkpoint import CheckpointPart
from pipeline.training.loss_weights import LOSS_WEIGHTS, LossReduction, add_loss_weights
from pipeline.training.micro_batches import memory_told
from pipeline.training.resilient_trainer import EventSink, ResilientTrainer
from pipeline.training.routing import AdapterRouting, LoadSink, without_biases
from pipeline.training.row_finder import RowFinder, RowKeys
from pipeline.training.signals import StopSignals
from pipeline.training.speed import peak_flops, utilisation
from pipeline.training.step_guard import StepGuard, StepNumbers
from pipeline.training.task_meter import TaskMeter, TaskStatistics
from pipeline.types import IGNORE_INDEX, NO_TASK, Json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import (
        PreTrainedModel,
        PreTrainedTokenizerBase,
        TrainerCallback,
    )
    from transformers.trainer_utils import TrainOutput


class MultiTaskTrainer(ResilientTrainer):
    """Trains an adapter on ready-made batches of several tasks."""

    loss_is_scaled_for_ga = True
    """The loss is already divided by the answer tokens of the whole accumulated batch."""

    def __init__(
        self,
        model: PeftModel | PreTrainedModel,
        args: SFTConfig,
        *,
        tokenizer: PreTrainedTokenizerBase,
        train_loader: DataLoader[Any],
        task_names: Sequence[str],
        loss_reduction: LossReduction = "token",
        validation_batches: Sequence[dict[str, Tensor]] = (),
        callbacks: Sequence[TrainerCallback] = (),
        checkpoint_parts: Mapping[str, CheckpointPart] | None = None,
        num_kept_checkpoints: int | None = None,
        row_keys: RowKeys | None = None,
        longest_batch: Mapping[str, Tensor] | None = None,
        signals: StopSignals | None = None,
        on_event: EventSink | None = None,
        on_loads: LoadSink | None = None,
    ) -> None:
        """Set up the loop; nothing is trained yet.

        Args:
            model: Model with adapter, on any device.
            args: From `build_training_arguments`, with `max_steps` set.
            tokenizer: Saved beside the adapter.
            train_loader: This process's micro-batches of the whole run, with a batch sampler, so
                that resuming can skip without building the skipped ones.
            task_names: Names behind the batches' task ids.
            loss_reduction: How token losses become the loss of a step.
            validation_batches: All validation batches, the same on every process.
            callbacks: Added to transformers' own.
            checkpoint_parts: Whatever else has a state that a resumed run needs, by name.
            num_kept_checkpoints: Older ones are removed, but for the best; `None` keeps all.
            row_keys: Names the rows of a step whose numbers are not finite.
            longest_batch: A micro-batch as long as any, run once before the first step to see
                whether it fits into memory.
            signals: Asked at every step whether to save and stop.
            on_event: Told of skipped steps, spikes, full memory and failed saves, with details.
            on_loads: Told how a routed adapter's experts were used in every step.
        """
        # SFTTrainer insists on a `datasets` table and looks at its first row; it is never read.
        unused = Dataset.from_list([{"input_ids": [0], "labels": [0]}])
        self._guard = StepGuard()
        super().__init__(
            model=model,
            args=args,
            data_collator=train_loader.collate_fn,
            train_dataset=unused,
            eval_dataset=unused if validation_batches else None,
            processing_class=tokenizer,
            callbacks=list(callbacks),
            checkpoint_parts={"step_guard": self._guard, **(checkpoint_parts or {})},
            num_kept_checkpoints=num_kept_checkpoints,
            longest_batch=longest_batch,
            signals=signals,
            on_event=on_event,
        )
        self.remove_callback(PrinterCallback)
        add_answer_head(self.model.get_base_model() if is_peft_model(self.model) else self.model)
        # The fused head takes `num_items_in_batch`, whatever the model's own forward does.
        self.model_accepts_loss_kwargs = True
        self._train_loader = train_loader
        self._loss_reduction = loss_reduction
        self._validation_batches = validation_batches
        self._rows = RowFinder(row_keys)
        self._set_up_statistics(task_names)
        self._set_up_routing(task_names, on_loads)
        # What adds to a log goes before what hands it on; the sort keeps all other order.
        trackers = tuple(get_reporting_integration_callbacks(self.args.report_to))
        self.callback_handler.callbacks.sort(key=lambda each: isinstance(each, trackers))

    def _set_up_routing(self, task_names: Sequence[str], on_loads: LoadSink | None) -> None:
        self._routing = AdapterRouting.find(
            self.model, task_names=task_names, reduce=self._sum_over_processes, on_loads=on_loads
        )
        if self._routing is not None:
            self.add_callback(self._routing)
            # The call lies inside transformers, which has no hook there.
            prepare = without_biases(self.model, self.accelerator.prepare)
            self.accelerator.prepare = prepare

    def _set_up_statistics(self, task_names: Sequence[str]) -> None:
        self._train_meter = TaskMeter(task_names, self.args.device)
        self._evaluation_meter = TaskMeter(task_names, self.args.device)
        self._sums_before_step = self._train_meter.sums()
        self._loss_before_step = torch.zeros((), device=self.args.device)
        self._window_start_seconds = time.monotonic()
        self._num_parameters = self.model.num_parameters(exclude_embeddings=True)
        self._peak_flops = peak_flops(self.args.device, self.accelerator.mixed_precision)

    def train(self, *args: Any, **kwargs: Any) -> TrainOutput:  # noqa: ANN401
        """Train; arguments as in transformers."""
        self._window_start_seconds = time.monotonic()
        return super().train(*args, **kwargs)

    def get_train_dataloader(self) -> DataLoader[Any]:
        """Return the loader as it was given: accelerate would deal its batches out once more."""
        return self._train_loader

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | int | None = None,
    ) -> Any:  # noqa: ANN401 - a tensor, or a pair with `return_outputs`
        """Return the loss of one micro-batch, and add its tokens to the task meter.

        Args:
            model: The wrapped model.
            inputs: `input_ids`, `labels`, `position_ids` and `task_ids`, each `[B, T]`, and
                `attention_mask` where rows hold one padded example; `loss_weights` `[B, S]`
                where tokens do not weigh the same.
            return_outputs: Whether to return the model's outputs too.
            num_items_in_batch: Answer tokens of the accumulated batch, over all processes; 1
                where `loss_weights` hold the counts already.
        """
        weights_BS = inputs.pop(LOSS_WEIGHTS, None)
        # Not of `model`: what engines wrap around it has a flag of its own, which stays true.
        is_training = self.model.training
        # Without a cache and an attention mask, `position_ids` keep packed examples apart.
        model_inputs = {name: tensor for name, tensor in inputs.items() if name != "task_ids"}
        if self._routing is not None:
            adapter_ids = self._routing.adapter_task_ids(inputs["task_ids"])
            model_inputs[TASK_IDS_ARGUMENT] = adapter_ids
            if is_training:
                self._routing.note_tasks(adapter_ids)
        outputs = model(**model_inputs, use_cache=False, fused_lm_head=True)
        token_loss_BS = -outputs.log_probs
        if num_items_in_batch is None:
            num_items_in_batch = outputs.label_mask.sum()
        weighted_BS = token_loss_BS if weights_BS is None else token_loss_BS * weights_BS
        loss = weighted_BS.sum() / torch.as_tensor(num_items_in_batch).clamp(min=1)
        # An infinite loss may have a finite gradient; engines that look at it alone must see it.
        loss = loss * torch.where(torch.isfinite(loss.detach()), 1.0, float("nan"))
        if self.args.average_tokens_across_devices:
            # Engines average gradients over processes, but the count above covers all of them.
            loss = loss * self.accelerator.num_processes
        meter = self._train_meter if is_training else self._evaluation_meter
        meter.add(token_loss_BS, outputs.is_top1, outputs.label_mask, inputs["task_ids"])
        if is_training:
            self._rows.add(token_loss_BS)
        return (loss, outputs) if return_outputs else loss

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        weights_BS = inputs.get(LOSS_WEIGHTS)
        prepared = super()._prepare_inputs(inputs)
        if weights_BS is not None:
            # DeepSpeed's type has too few digits for one over a number of tokens.
            prepared[LOSS_WEIGHTS] = weights_BS.to(self.args.device)
        return prepared

    def evaluate(
        self,
        eval_dataset: object = None,
        ignore_keys: list[str] | None = None,
        metric_key_prefix: str = "eval",
    ) -> dict[str, float]:
        """Return the loss on the validation batches, per task, averaged and worst.

        Raises:
            TrainingError: They do not fit into memory (TRN010).
        """
        started = time.monotonic()
        self.model.eval()
        rank, world_size = self.accelerator.process_index, self.accelerator.num_processes
        batches = self._validation_batches
        told = memory_told(
            "per_device_eval_batch_size",
            f"evaluating {self.args.per_device_eval_batch_size} rows in one pass",
            "Resume with a lower one, or lower max_length",
        )
        with told, torch.no_grad(), self.compute_loss_context_manager():
            # Every process makes the same number of passes: sharded engines gather weights in each.
            for first in range(0, len(batches), world_size):
                index = first + rank
                batch = batches[index] if index < len(batches) else without_labels(batches[first])
                self.compute_loss(self.model_wrapped, self._prepare_inputs(dict(batch)))
        statistics = self._evaluation_meter.drain(self._sum_over_processes)
        metrics = evaluation_metrics(statistics, prefix=metric_key_prefix)
        self._window_start_seconds += time.monotonic() - started
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(
            self.args, self.state, self.control, metrics
        )
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add the statistics of the tasks to a log of training steps, then pass it on."""
        if "loss" in logs:
            logs |= self._drain_window()
        super().log(logs, start_time)

    def floating_point_ops(self, inputs: dict[str, Tensor]) -> float:
        """Return 6 x parameters x tokens as transformers does, counting parameters only once."""
        return 6.0 * self._num_parameters * inputs["input_ids"].numel()

    def create_model_card(self, *args: object, **kwargs: object) -> None:
        """Write nothing: the run folder says what was done."""

    def _get_num_items_in_batch(
        self, batch_samples: list[dict[str, Tensor]], device: torch.device
    ) -> Tensor | int | None:
        if self._loss_reduction == "token" or not batch_samples:
            return super()._get_num_items_in_batch(batch_samples, device)

        def reduce(total: Tensor) -> Tensor:
            return self._sum_over_processes(total.to(device)).to(total.device)

        num_tasks = len(self._train_meter.task_names)
        add_loss_weights(batch_samples, self._loss_reduction, num_tasks=num_tasks, reduce=reduce)
        return torch.ones((), device=device)

    def _send_telemetry(self) -> None:
        """Send nothing."""

    def _get_grad_norm(self, model: nn.Module, grad_norm: Tensor | float | None = None) -> Any:  # noqa: ANN401
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # The one moment of a step at which the processes tell each other something.
        loss, tokens = self._train_meter.loss_since(self._sums_before_step)
        wants_stop = torch.full_like(loss, self._signals.received is not None)
        facts = torch.stack((loss, tokens, wants_stop))
        loss_sum, num_tokens, num_stops = self._sum_over_processes(facts).tolist()
        if num_stops:
            self.stopped_by = self._signals.name
        numbers = StepNumbers(
            loss=loss_sum / max(num_tokens, 1),
            # In float16 the loss scaler meets overflows itself, by skipping the step.
            grad_norm=None if norm is None or self.accelerator.scaler else float(norm),
        )
        if numbers.fault is not None:
            self._skip_step(model, numbers.fault)
            norm = None
        elif (sigmas := self._guard.accept(numbers.loss)) is not None:
            step = self.state.global_step + 1
            details: dict[str, Json] = {"step": step, "loss": numbers.loss, "sigmas": sigmas}
            self._on_event("loss_spike", details)
        self._sums_before_step = self._train_meter.sums()
        self._loss_before_step = self._tr_loss.clone()
        self._rows.forget()
        return norm

    def _statistics(self) -> tuple[Tensor, int, list[Tensor]]:
        loads = [] if self._routing is None else self._routing.statistics()
        return self._train_meter.sums(), self._rows.count(), loads

    def _restore_statistics(self, statistics: tuple[Tensor, int, list[Tensor]]) -> None:
        sums_SK, num_passes, loads = statistics
        self._train_meter.restore(sums_SK)
        self._rows.forget(num_passes)
        if self._routing is not None:
            self._routing.restore_statistics(loads)

    def _skip_step(self, model: nn.Module, fault: tuple[str, float]) -> None:
        """Make nothing of this step: no update, no statistics; the schedule goes on."""
        step = self.state.global_step
        tasks = self._train_meter.tasks_since(self._sums_before_step, self._sum_over_processes)
        rows = self._rows.keys(step, gather_object([self._rows.broken_rows()]), tasks)
        self._train_meter.restore(self._sums_before_step)
        if self._routing is not None:
            self._routing.forget()
        self._tr_loss.copy_(self._loss_before_step)
        # The step is left out of the mean that is logged.
        self._globalstep_last_logged += 1
        if self.accelerator.distributed_type == DistributedType.DEEPSPEED:
            # It has met the overflow in its own backward pass, and transformers would now hold
            # the schedule back, unlike without DeepSpeed.
            self.lr_scheduler.step()
        elif self.accelerator.scaler is None:
            model.zero_grad()
        name, value = fault
        details: dict[str, Json] = {"step": step + 1, "what": name, "value": str(value)}
        self._on_event("skipped_step", {**details, "tasks": list(tasks), "rows": list(rows)})
        self._guard.skip(fault, step=step + 1, rows=rows)

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401
        super()._maybe_log_save_evaluate(*args, **kwargs)
        self._loss_before_step = self._tr_loss.clone()

    def _drain_window(self) -> dict[str, float]:
        statistics = self._train_meter.drain(self._sum_over_processes)
        self._sums_before_step = self._train_meter.sums()
        now = time.monotonic()
        seconds = max(now - self._window_start_seconds, 1e-9)
        self._window_start_seconds = now
        num_tokens = sum(each.num_tokens for each in statistics.values())
        self.state.num_input_tokens_seen += num_tokens
        metrics: dict[str, float] = {
            "num_tokens": self.state.num_input_tokens_seen,
            "tokens_per_second": round(num_tokens / seconds, 1),
        }
        if self._peak_flops is not None:
            metrics["mfu"] = utilisation(
                self.model,
                num_tokens / seconds,
                peak=self._peak_flops,
                num_devices=self.accelerator.num_processes,
            )
        for task, each in statistics.items():
            metrics[f"task_loss/{task}"] = each.loss
            metrics[f"task_token_accuracy/{task}"] = each.token_accuracy
            metrics[f"task_tokens/{task}"] = each.num_tokens
            metrics[f"task_answer_tokens/{task}"] = each.num_answer_tokens
        return metrics


def without_labels(batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return a batch of the same shape that counts for no loss and no task."""
    return {
        **batch,
        "labels": torch.full_like(batch["labels"], IGNORE_INDEX),
        "task_ids": torch.full_like(batch["task_ids"], NO_TASK),
    }


def evaluation_metrics(
    statistics: Mapping[str, TaskStatistics], *, prefix: str
) -> dict[str, float]:
    """Return the loss of each task, their plain mean, the worst, and the mean over tokens."""
    losses = {task: each.loss for task, each in statistics.items() if each.num_answer_tokens}
    if not losses:
        return {}
    num_tokens = sum(each.num_answer_tokens for each in statistics.values())
    total = sum(each.loss * each.num_answer_tokens for each in statistics.values())
    metrics = {
        f"{prefix}_loss": total / num_tokens,
        f"{prefix}_macro_loss": sum(losses.values()) / len(losses),
        f"{prefix}_worst_loss": max(losses.values()),
    }
    return metrics | {f"{prefix}_loss/{task}": loss for task, loss in losses.items()}
