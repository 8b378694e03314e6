"""What a routed adapter needs of the training loop, once per optimizer step.

Loads are counted in the backward pass of each micro-batch, so accumulation and activation
checkpointing change nothing. At the end of a step they are added up over processes in one call,
the balance biases move by the sign rule, and tasks without a token in the step get back the
weights that are theirs alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from transformers import TrainerCallback

from pipeline.adapters.batch_tasks import active_task_names, batch_tasks_of
from pipeline.adapters.load_counts import LayerLoad
from pipeline.adapters.model_loads import (
    Reduce,
    drain_loads,
    load_tables,
    routed_layers,
    update_balance,
)
from pipeline.adapters.task_weights import AbsentTaskGuard
from pipeline.types import NO_TASK

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

LoadSink = Callable[[int, list[LayerLoad]], None]
"""Told the optimizer step, counted from 1, and every layer's load in it; on every process."""


def without_biases(model: nn.Module, prepare: Callable[..., Any]) -> Callable[..., Any]:
    """Return `prepare` that finds no balance bias in the model's state dictionary.

    accelerate takes all of the state for sharded weights when only the first process has loaded
    them (FSDP2), and fails at the first buffer; those that are not in the state it leaves alone.
    """

    def prepare_without(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - accelerate's signature
        _keep_biases(model, in_state=False)
        try:
            return prepare(*args, **kwargs)
        finally:
            _keep_biases(model, in_state=True)

    return prepare_without


def _keep_biases(model: nn.Module, *, in_state: bool) -> None:
    for _, adapter, layer in routed_layers(model):
        if adapter in layer.routed_bias:
            bias = layer.routed_bias[adapter]
            layer.routed_bias.register_buffer(adapter, bias, persistent=in_state)


class AdapterRouting(TrainerCallback):
    """Balances experts and keeps absent tasks still."""

    def __init__(
        self,
        model: nn.Module,
        *,
        task_names: Sequence[str],
        reduce: Reduce,
        on_loads: LoadSink | None = None,
    ) -> None:
        """Watch `model`.

        Args:
            model: With an adapter of the family.
            task_names: Tasks of the run, in the order of their ids in batches.
            reduce: Adds a float64 tensor up over processes.
            on_loads: Told the loads of every step.

        Raises:
            AdapterError: The engine cuts weights so that tasks cannot be kept apart.
        """
        self._model = model
        self._reduce = reduce
        self._on_loads = on_loads
        known = active_task_names(model) or list(task_names)
        self._num_tasks = len(known)
        self._number_of_run_task = torch.tensor(
            [known.index(name) if name in known else NO_TASK for name in task_names] + [NO_TASK]
        )
        self._seen: Tensor | None = None
        self._guard: AbsentTaskGuard | None = None

    @classmethod
    def find(cls, model: nn.Module, **options: Any) -> AdapterRouting | None:  # noqa: ANN401
        """Return one for a model with an adapter of the family, else `None`; options as above."""
        return cls(model, **options) if batch_tasks_of(model) is not None else None

    def adapter_task_ids(self, task_ids: Tensor) -> Tensor:
        """Return the adapter's numbers of the run's tasks; ids below 0 stay below 0."""
        numbers = self._number_of_run_task.to(task_ids.device, task_ids.dtype)
        return numbers[task_ids.clamp(min=-1)]

    def note_tasks(self, task_ids: Tensor) -> None:
        """Remember which tasks a training batch holds.

        Args:
            task_ids: The adapter's task of every token, below 0 on padding.
        """
        seen = self._seen_on(task_ids.device)
        inside = (task_ids >= 0) & (task_ids < self._num_tasks)
        rows = torch.where(inside, task_ids, self._num_tasks).flatten()
        seen.index_add_(0, rows, torch.ones_like(rows, dtype=seen.dtype))

    def statistics(self) -> list[Tensor]:
        """Return copies of everything a pass adds to."""
        own = [] if self._seen is None else [self._seen.clone()]
        return [*own, *(table.clone() for table in load_tables(self._model))]

    def restore_statistics(self, statistics: list[Tensor]) -> None:
        """Put back what `statistics` returned; what has come since is forgotten."""
        tables = load_tables(self._model)
        own = [] if self._seen is None else [self._seen]
        current = [*own, *tables]
        # What did not exist then was empty.
        padded = [None] * (len(current) - len(statistics)) + list(statistics)
        for table, before in zip(current, padded, strict=True):
            table.zero_() if before is None else table.copy_(before)

    def forget(self) -> None:
        """Drop the statistics of a step that is not made."""
        self.restore_statistics([])

    def on_step_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Keep the weights of single tasks, as they are before the step."""
        if self._guard is None:
            # Not earlier: only now has the engine taken the weights over.
            self._guard = AbsentTaskGuard(self._model)
        self._guard.remember()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Add up loads, restore absent tasks, and move the balance biases."""
        seen, loads = self._drain(args.device)
        if self._guard is not None:
            self._guard.restore(torch.nonzero(seen[: self._num_tasks] == 0).flatten().tolist())
        progress = state.global_step / max(state.max_steps, 1)
        if sum(float(load.total.sum()) for load in loads):
            update_balance(self._model, loads, progress=progress)
            if self._on_loads is not None:
                self._on_loads(state.global_step, loads)

    def _drain(self, device: torch.device) -> tuple[Tensor, list[LayerLoad]]:
        seen = self._seen_on(device)
        num_tasks = seen.numel()
        total = seen

        def reduce(flat: Tensor) -> Tensor:
            nonlocal total
            joined = self._reduce(torch.cat([seen, flat.to(seen.device)]))
            total = joined[:num_tasks]
            return joined[num_tasks:]

        loads = drain_loads(self._model, reduce)
        if not loads:
            total = self._reduce(seen.clone())
        total = total.clone()
        seen.zero_()
        return total.cpu(), loads

    def _seen_on(self, device: torch.device) -> Tensor:
        # Made once: `cpu` and `cpu:0`, which engines use both, are different to torch.
        if self._seen is None:
            self._seen = torch.zeros(self._num_tasks + 1, dtype=torch.float64, device=device)
        return self._seen
