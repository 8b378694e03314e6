"""What the layers of one model must know of a batch beside its states: tasks and padding."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

TASK_IDS_ARGUMENT = "adapter_task_ids"
"""Keyword of the model's forward pass: `[B, T]`, `[B]` or a single id, by `config.task_names`."""

_ATTRIBUTE = "_routed_batch"


class BatchTasks:
    """Tasks and padding of the batch that is in the model, shared by all of its layers.

    Stays as it is until the next forward pass, so that activation checkpointing, which computes
    layers again during the backward pass, finds the same.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.task_ids: Tensor | None = None
        self.attention_mask: Tensor | None = None
        self.default_task: Tensor | None = None
        """Task of all tokens, or of each row, where a forward pass names none."""
        self._checked: tuple[Tensor, int] | None = None
        """Ids that were found to be below that number of tasks."""

    def token_tasks(
        self, shape: Sequence[int], device: torch.device, num_tasks: int | None = None
    ) -> Tensor:
        """Return the task of each token, int64 `[N]`, -1 for none.

        Args:
            shape: Of the layer's input without features: `[B, T]` or `[N]`.
            device: Where the ids are wanted.
            num_tasks: Of the adapter, where ids are to be checked.

        Raises:
            ValueError: No task is known, there is no such task, or the ids do not fit the input.
        """
        ids = self.task_ids if self.task_ids is not None else self.default_task
        if ids is None:
            raise ValueError(
                "this adapter needs to know the task: pass adapter_task_ids to the model, or use "
                "`with active_task(model, name)`"
            )
        if num_tasks is not None:
            self._check_known(ids, num_tasks)
        ids = ids.to(device=device, dtype=torch.int64)
        num_tokens = 1
        for size in shape:
            num_tokens *= size
        if ids.dim() == 0:
            return ids.expand(num_tokens)
        if ids.dim() == 1 and len(shape) == 2 and ids.shape[0] == shape[0]:
            return ids[:, None].expand(shape[0], shape[1]).reshape(-1)
        if ids.numel() == num_tokens:
            return ids.reshape(-1)
        if self.task_ids is None and len(shape) == 2 and shape[0] % ids.shape[0] == 0:
            # Searches with several beams, or answers, repeat each row.
            rows = ids.repeat_interleave(shape[0] // ids.shape[0])
            return rows[:, None].expand(shape[0], shape[1]).reshape(-1)
        raise ValueError(
            f"adapter_task_ids: got shape {tuple(ids.shape)} for an input of {tuple(shape)}, "
            "allowed one id per token, one per row, or one for all; when generating, give one "
            "per row"
        )

    def _check_known(self, ids: Tensor, num_tasks: int) -> None:
        """Check ids once per batch; not in training on an accelerator, which would wait for it."""
        if torch.compiler.is_compiling() or (torch.is_grad_enabled() and ids.device.type != "cpu"):
            return
        if self._checked is not None and self._checked[0] is ids and self._checked[1] == num_tasks:
            return
        if ids.numel() and int(ids.max()) >= num_tasks:
            raise ValueError(
                f"adapter_task_ids: got {int(ids.max())}, allowed are numbers below {num_tasks}, "
                "the tasks of the adapter, and -1 for none"
            )
        self._checked = (ids, num_tasks)

    def names_other_than(self, task: int) -> bool:
        """Return whether the batch names a task, and not only this one."""
        ids = self.task_ids if self.task_ids is not None else self.default_task
        if ids is None:
            return False
        # Batches of several tasks mark their padding by an id below zero.
        named = ids[ids >= 0] if ids.dim() > 1 else ids
        return bool((named != task).any())

    def single_task(self) -> int | None:
        """Return the task of all tokens, -1 for none; `None` where they may have several."""
        default = self.default_task
        known = self.task_ids is None and default is not None and default.dim() == 0
        return int(default) if known and default is not None else None

    def count_rows(self, shape: Sequence[int], device: torch.device, num_tasks: int) -> Tensor:
        """Return the row of each token in a load table, int64 `[N]`.

        It is the task's number; `num_tasks` for tokens without one, and one more for padding.
        """
        no_task, padding = num_tasks, num_tasks + 1
        num_tokens = 1
        for size in shape:
            num_tokens *= size
        if self.task_ids is not None and self.task_ids.numel() == num_tokens:
            ids = self.task_ids.to(device=device).reshape(-1)
            # Batches of several tasks mark their padding by an id below zero.
            return torch.where(ids < 0, padding, ids.clamp(max=no_task))
        if self.task_ids is not None or self.default_task is not None:
            rows = self.token_tasks(shape, device).clamp(max=no_task)
            rows = torch.where(rows < 0, no_task, rows)
        else:
            rows = torch.full((num_tokens,), no_task, device=device)
        mask = self.attention_mask
        if mask is not None and len(shape) == 2 and mask.shape[0] == shape[0]:
            # Tokens whose keys are cached are in the mask, but not in the input.
            mask = mask[:, -shape[1] :] if shape[1] else mask[:, :0]
        if mask is not None and mask.numel() == num_tokens:
            rows = torch.where(mask.to(device).reshape(-1) == 0, padding, rows)
        return rows


def batch_tasks_of(model: nn.Module) -> BatchTasks | None:
    """Return what the layers of `model` read, or `None` if it has no adapter of this family."""
    for module in model.modules():
        found = getattr(module, _ATTRIBUTE, None)
        if isinstance(found, BatchTasks):
            return found
    return None


def watch_batches(model: nn.Module) -> BatchTasks:
    """Make `model` note tasks and padding of every forward pass; once per model."""
    found = getattr(model, _ATTRIBUTE, None)
    if isinstance(found, BatchTasks):
        return found
    tasks = BatchTasks()
    setattr(model, _ATTRIBUTE, tasks)
    model.register_forward_pre_hook(_note_batch, with_kwargs=True)
    return tasks


def _note_batch(
    model: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    tasks = getattr(model, _ATTRIBUTE, None)
    if not isinstance(tasks, BatchTasks):
        kwargs.pop(TASK_IDS_ARGUMENT, None)
        return args, kwargs
    tasks.task_ids = kwargs.pop(TASK_IDS_ARGUMENT, None)
    mask = kwargs.get("attention_mask")
    tasks.attention_mask = mask if isinstance(mask, Tensor) and mask.dim() == 2 else None
    return args, kwargs


@contextlib.contextmanager
def active_task(
    model: nn.Module, task: str | int | Sequence[str] | None, *, or_none: bool = False
) -> Iterator[None]:
    """Run everything inside for one task, or for one task per row, for example to generate.

    Args:
        model: With any adapters; those that know no tasks ignore it.
        task: Name or number of a task; several for a batch of as many rows; `None` for tokens of
            no known task, which use only what is shared.
        or_none: Whether names the adapter does not know stand for no task.

    Raises:
        ValueError: No task has that name or number, or adapters with different tasks are active.
    """
    tasks = batch_tasks_of(model)
    if tasks is None:
        yield
        return
    names = active_task_names(model)
    before = tasks.default_task
    if task is None or isinstance(task, str | int):
        tasks.default_task = torch.tensor(_number_of(task, names, or_none=or_none))
    else:
        numbers = [_number_of(name, names, or_none=or_none) for name in task]
        is_single = len(set(numbers)) == 1
        tasks.default_task = torch.tensor(numbers[0] if is_single else numbers)
    try:
        yield
    finally:
        tasks.default_task = before


def active_task_names(model: nn.Module) -> list[str]:
    """Return the tasks that the active adapter knows, in the order of their numbers.

    Raises:
        ValueError: Several adapters are active, whose numbers mean different tasks.
    """
    active: Any = getattr(model, "active_adapters", None)
    # A property in PEFT, a method of models in transformers.
    active = active() if callable(active) else active
    found = {
        name: list(config.task_names)
        for name, config in getattr(model, "peft_config", {}).items()
        if (active is None or name in active) and getattr(config, "task_names", None)
    }
    first = next(iter(found.values()), [])
    for name, names in found.items():
        if names != first:
            raise ValueError(
                f"adapters {next(iter(found))!r} and {name!r} are both active and know different "
                "tasks, so a task's number means two things; activate one of them"
            )
    return first


def _number_of(task: str | int | None, names: list[str], *, or_none: bool) -> int:
    if task is None:
        return -1
    if isinstance(task, int):
        if names and not -1 <= task < len(names):
            allowed = f"-1 to {len(names) - 1}"
            raise ValueError(f"task: got number {task}, allowed {allowed}: {', '.join(names)}")
        return task
    if task in names:
        return names.index(task)
    # An adapter without names has no use for them.
    if or_none or not names:
        return -1
    raise ValueError(f"task: no task is named {task!r}, allowed {', '.join(names)}")
