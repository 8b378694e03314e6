"""Weights of tasks that a step has not seen stay as they were, also where FSDP shards them."""

from __future__ import annotations

import pytest
import torch
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from pipeline.adapters.task_weights import AbsentTaskGuard, task_slices
from tests.unit.adapters.family import TASK_IDS, loss_of, variant


@pytest.fixture
def mesh():
    """One process that shards like several."""
    store = torch.distributed.HashStore()
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    torch.distributed.destroy_process_group()


def whole(weight: torch.Tensor) -> torch.Tensor:
    weight = weight.detach()
    return (weight.full_tensor() if isinstance(weight, DTensor) else weight).clone()


@pytest.mark.parametrize("is_sharded", [False, True])
@pytest.mark.parametrize("name", ["mtlora", "mtl_lora", "smora by task", "smora task input"])
def test_only_the_parts_of_absent_tasks_stay(name, is_sharded, mesh):
    model = variant(name).train()
    if is_sharded:
        for layer in model.get_base_model().model.layers:
            fully_shard(layer, mesh=mesh)
    optimizer = torch.optim.AdamW(
        [value for value in model.parameters() if value.requires_grad], lr=0.1, weight_decay=0.1
    )
    # All tasks have momentum before one is left out.
    loss_of(model).backward()
    optimizer.step()
    guard = AbsentTaskGuard(model)
    guard.remember()
    before = [whole(each.weight) for each in task_slices(model)]
    optimizer.zero_grad()
    loss_of(model, tasks=TASK_IDS.clamp(max=1)).backward()
    optimizer.step()
    after = [whole(each.weight) for each in task_slices(model)]
    guard.restore([2])
    slices = task_slices(model)
    assert slices
    assert all(isinstance(each.weight, DTensor) == is_sharded for each in slices)
    for each, old, stepped in zip(slices, before, after, strict=True):
        found = whole(each.weight)
        assert torch.equal(each.part(found, 2), each.part(old, 2)), each.name
        for task in (0, 1):
            assert torch.equal(each.part(found, task), each.part(stepped, task)), each.name
            assert not torch.equal(each.part(found, task), each.part(old, task)), each.name
