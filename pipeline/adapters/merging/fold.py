"""Adapters weighted by coefficients, folded exactly into one, and cut to a smaller rank.

    h = W x + sum_t c[t, module(, channel)] B_t A_t x

The sum is itself a LoRA of rank `R = sum r_t`: the factors stand beside each other, the
coefficients go into the columns of `B`. Cutting it to rank k keeps the k largest singular values;
they come from the `R x R` core between the two QR factors, so the full change of a weight, which
may be thousands wide, is never formed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.adapters.merging.factors import Expert, Factors, module_names

if TYPE_CHECKING:
    import torch

Granularity = Literal["task", "block", "module", "channel", "kind_channel"]
"""How finely coefficients differ: one per adapter; per transformer block; per module; per output
channel; or per output channel, shared by the modules of one kind (`q_proj`, ...) of all blocks."""

_BLOCK = re.compile(r"\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Recompressed:
    """One module after its rank was cut."""

    factors: Factors
    tail: float
    """Frobenius norm of what was cut off over that of the whole, 0 to 1."""


def block_of(module: str) -> str:
    """Return the number of the transformer block that a module belongs to, or `""`."""
    match = _BLOCK.search(module)
    return match.group(1) if match else ""


def fold(
    experts: Sequence[Expert],
    coefficients: Mapping[str, Mapping[str, float | torch.Tensor]],
) -> dict[str, Factors]:
    """Return the weighted sum of adapters as one, exactly.

    Args:
        experts: The adapters.
        coefficients: By name of the adapter and module: a number, or `[d_out]` numbers, one per
            output channel. A module without one counts as 0 and takes no rank.

    Returns:
        The factors of each module, of rank `sum r_t` over the adapters that change it.
    """
    import torch

    folded = {}
    for module in module_names(experts):
        sides: list[tuple[torch.Tensor, torch.Tensor]] = []
        for expert in experts:
            factors = expert.modules.get(module)
            weight = coefficients[expert.name].get(module)
            if factors is None or weight is None:
                continue
            scale = torch.as_tensor(weight, dtype=factors.B.dtype)
            sides.append((factors.A, factors.B * (scale[:, None] if scale.ndim else scale)))
        if sides:
            folded[module] = Factors(
                torch.cat([A for A, _ in sides]), torch.cat([B for _, B in sides], dim=1)
            )
    return folded


def spread(
    experts: Sequence[Expert], weights: Mapping[str, float]
) -> dict[str, dict[str, float | torch.Tensor]]:
    """Return coefficients that give each adapter one weight in all of its modules."""
    return {expert.name: dict.fromkeys(expert.modules, weights[expert.name]) for expert in experts}


def recompress(factors: Factors, rank: int) -> Recompressed:
    """Return the best approximation of a smaller rank, in the Frobenius norm (Eckart-Young).

    Args:
        factors: Of rank R.
        rank: At least 1; one of R or more changes nothing but the basis.
    """
    import torch

    basis_in, core_in = torch.linalg.qr(factors.A.T)
    basis_out, core_out = torch.linalg.qr(factors.B)
    core = from_weight(core_out @ core_in.T, rank)
    cut = Factors(A=core.factors.A @ basis_in.T, B=basis_out @ core.factors.B)
    return Recompressed(cut, core.tail)


def from_weight(change: torch.Tensor, rank: int) -> Recompressed:
    """Return factors of a full change of a weight `[d_out, d_in]`, cut to `rank`."""
    import torch

    left, values, right = torch.linalg.svd(change, full_matrices=False)
    kept = min(rank, int(values.numel()))
    root = values[:kept].sqrt()
    whole = torch.linalg.vector_norm(values)
    tail = torch.linalg.vector_norm(values[kept:]) / whole.clamp(min=torch.finfo(values.dtype).tiny)
    return Recompressed(
        Factors(A=root[:, None] * right[:kept], B=left[:, :kept] * root), tail=float(tail)
    )
