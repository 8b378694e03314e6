"""`pipeline.train` with FSDP2 on CPUs: `python -m tests.distributed.fsdp_on_cpu RECIPE ...`.

accelerate takes FSDP for processes with GPUs only, and falls back without a word elsewhere.
Sharding itself does not need them: told that it has GPUs, and given the CPU as device, accelerate
prepares model and optimizer as it does there.
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from accelerate.state import PartialState
from accelerate.utils import DistributedType

from pipeline.process_group import leave_process
from pipeline.train import main


def with_gpus(*args: Any, **kwargs: Any) -> tuple[str, DistributedType]:
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return "gloo", DistributedType.MULTI_GPU


def on_cpu(state: PartialState) -> None:
    state.device = torch.device("cpu")


def take_cpus_for_gpus() -> None:
    PartialState._prepare_backend = with_gpus
    PartialState.set_device = on_cpu


if __name__ == "__main__":
    take_cpus_for_gpus()
    leave_process(main(sys.argv[1:]))
