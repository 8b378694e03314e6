"""Weights that belong to one task each, kept still in steps without that task.

Adam moves a weight without gradient too, by its momentum and by weight decay. So the weights of
tasks that were absent from a step are put back as they were before it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from pipeline.adapters.model_loads import routed_layers


@dataclass(frozen=True, slots=True)
class TaskSlices:
    """Where in a weight the part of each task lies."""

    name: str
    weight: nn.Parameter
    dim: int
    first: int
    """Where the first task's part begins along `dim`."""
    size: int
    """Length of each part."""

    def part(self, values: Tensor, task: int) -> Tensor:
        """Return the part of one task, a view."""
        return values.narrow(self.dim, self.first + task * self.size, self.size)


def task_slices(model: nn.Module) -> list[TaskSlices]:
    """Return all weights of `model` with parts of single tasks."""
    found = []
    for name, adapter, layer in routed_layers(model):
        plan = layer.plans[adapter]
        if plan.router == "own" and plan.num_experts:
            down, up = layer.routed_A[adapter].weight, layer.routed_B[adapter].weight
            places = (plan.num_shared, plan.block_size)
            found.append(TaskSlices(f"{name}.routed_A", _parameter(down), 0, *places))
            found.append(TaskSlices(f"{name}.routed_B", _parameter(up), 1, *places))
        if adapter in layer.routed_task:
            for part, weight in layer.routed_task[adapter].named_parameters():
                found.append(TaskSlices(f"{name}.routed_task.{part}", weight, 0, 0, 1))
    return found


class AbsentTaskGuard:
    """Remembers the weights of single tasks before a step, and restores those of absent tasks."""

    def __init__(self, model: nn.Module) -> None:
        """Look for such weights; an engine must have taken them over already."""
        self._slices = task_slices(model)
        self._before: list[Tensor] = []

    def remember(self) -> None:
        """Keep the weights as they are; every process must call it."""
        self._before = [_read(each.weight) for each in self._slices]

    def restore(self, absent: Sequence[int]) -> None:
        """Put the parts of absent tasks back; every process must call it with the same tasks."""
        if absent and self._before:
            for each, before in zip(self._slices, self._before, strict=True):
                after = _read(each.weight)
                for task in absent:
                    each.part(after, task).copy_(each.part(before, task))
                _write(each.weight, after)
        self._before = []


def _parameter(weight: object) -> nn.Parameter:
    assert isinstance(weight, nn.Parameter)
    return weight


def _is_deepspeed(weight: nn.Parameter) -> bool:
    # Under ZeRO-2 the mapping is None in processes that hold no part of the weight; all of them
    # take part in reading it.
    return hasattr(weight, "ds_id") or hasattr(weight, "_hp_mapping")


def _read(weight: nn.Parameter) -> Tensor:
    """Return a whole copy, in the precision that the optimizer keeps."""
    if _is_deepspeed(weight):
        from deepspeed.utils import safe_get_full_fp32_param

        whole: Tensor | None = safe_get_full_fp32_param(weight)
        if whole is not None:
            return whole.detach().clone().view(_shape(weight))
    return _gathered(weight.detach()).clone()


def _gathered(weight: Tensor) -> Tensor:
    # FSDP leaves each process a piece; tasks lie across the pieces.
    return weight.full_tensor() if isinstance(weight, DTensor) else weight


def _write(weight: nn.Parameter, values: Tensor) -> None:
    if isinstance(weight.data, DTensor):
        # Every process has the same values, so nothing is sent.
        mesh, placements = weight.data.device_mesh, weight.data.placements
        values = distribute_tensor(values, mesh, placements, src_data_rank=None)
    if not _is_deepspeed(weight):
        with torch.no_grad():
            weight.copy_(values)
        return
    from deepspeed import zero
    from deepspeed.utils import safe_set_full_fp32_param

    safe_set_full_fp32_param(weight, values)
    if hasattr(weight, "ds_id"):
        with zero.GatheredParameters([weight], modifier_rank=0), torch.no_grad():
            weight.data.copy_(values)
    else:
        with torch.no_grad():
            weight.copy_(values)


def _shape(weight: nn.Parameter) -> Any:  # noqa: ANN401 - a torch.Size
    return getattr(weight, "ds_shape", weight.shape)
