"""A fingerprint of weights that are loaded already."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import nn

_NUM_SAMPLED = 2048
"""Values read per tensor: training moves nearly all values, so a few thousand tell it."""


def weights_sha256(model: nn.Module) -> str:
    """Return the SHA-256 of evenly spaced values of every parameter, with names and shapes.

    Same on every device. Not guaranteed: to notice an edit of single values of a large tensor.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().reshape(-1)
        step = max(1, flat.numel() // _NUM_SAMPLED)
        sampled = flat[::step].contiguous().cpu()
        digest.update(f"{name} {tuple(parameter.shape)} {parameter.dtype}\n".encode())
        digest.update(sampled.view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
