"""What a run ran on: versions, hardware, engine."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainingArguments

_PACKAGES = (
    "taskloom",
    "torch",
    "transformers",
    "peft",
    "trl",
    "accelerate",
    "datasets",
    "deepspeed",
    "bitsandbytes",
)
_BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""Names under which Linux lists bfloat16 units, on x86 and on Arm."""


def describe_environment(arguments: TrainingArguments, *, model_commit: str | None) -> Json:
    """Return versions, hardware and engine of this run, without names of people or machines.

    Args:
        arguments: The training arguments, which know the group of processes.
        model_commit: Commit of the base model on the hub, where it came from there.
    """
    is_cuda = arguments.device.type == "cuda"
    return {
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "device": torch.cuda.get_device_name(arguments.device) if is_cuda else "cpu",
        "num_cpus": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "num_processes": arguments.world_size,
        "distributed_type": arguments.distributed_state.distributed_type.value,
        "mixed_precision": "bf16" if arguments.bf16 else "fp16" if arguments.fp16 else "no",
        "model_commit": model_commit,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def has_native_bfloat16(device: torch.device) -> bool:
    """Return whether a device computes in bfloat16 rather than emulating it, often much slower."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return False
    return any(
        _BFLOAT16_FLAGS & set(line.partition(":")[2].split())
        for line in lines
        if line.lower().startswith(("flags", "features"))
    )
