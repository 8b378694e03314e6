"""How much of the device's arithmetic a run uses (model FLOPs utilisation)."""

from __future__ import annotations

from typing import Protocol

import torch
from trl.trainer.utils import get_peak_flops

_DTYPE_NAMES = {"bf16": "bfloat16", "fp16": "float16", "no": "float32"}


class _CountsParameters(Protocol):
    def num_parameters(self, only_trainable: bool = False, exclude_embeddings: bool = False) -> int:
        """Return the number of parameters."""
        ...


def flops_per_token(model: _CountsParameters) -> float:
    """Return floating-point operations per token of a training step.

    Per parameter 2 forward and 2 for the gradient of the input; 2 more where the parameter itself
    is trained, which with an adapter is the small part: 6 for all would overstate LoRA by half.
    Attention scores are left out, so the utilisation is a lower bound.
    """
    trained = model.num_parameters(only_trainable=True, exclude_embeddings=True)
    everything = model.num_parameters(exclude_embeddings=True)
    return 4.0 * everything + 2.0 * trained


def peak_flops(device: torch.device, precision: str) -> float | None:
    """Return the peak of a device as its maker states it; `None` where it is not known.

    Args:
        device: The device of this process.
        precision: `bf16`, `fp16` or `no`.
    """
    if device.type != "cuda":
        return None
    return get_peak_flops(torch.cuda.get_device_name(device), _DTYPE_NAMES[precision])


def utilisation(
    model: _CountsParameters, tokens_per_second: float, *, peak: float, num_devices: int
) -> float:
    """Return the share of the devices' peak that a model's arithmetic is, 0-1."""
    return flops_per_token(model) * tokens_per_second / (peak * num_devices)
