"""Merge rules that look at the changes of the weights themselves, one module at a time.

All of them act on `dW_t = B_t A_t`, not on the factors: a rule applied to `A` and `B` apart gives
products of factors of different adapters, which none of them learned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.adapters.merging.factors import Expert, module_names
from pipeline.adapters.merging.fold import Recompressed, from_weight

if TYPE_CHECKING:
    import torch

RuleName = Literal["ties", "dare", "dare_ties", "magnitude"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleSettings:
    """Options of the rules."""

    density: float = 0.5
    """Share of entries that are kept, above 0 and at most 1."""
    seed: int = 0
    """Of the entries that DARE keeps."""


def merge_by_rule(
    experts: Sequence[Expert],
    rule: RuleName,
    *,
    weights: Mapping[str, float],
    rank: int,
    settings: RuleSettings,
    on_module: Callable[[str], None] | None = None,
) -> dict[str, Recompressed]:
    """Merge adapters by a rule, and cut each module to a rank.

    One full change per adapter and module is in memory at a time: `T d_out d_in` numbers.

    Args:
        experts: The adapters; one that does not change a module counts as 0 there.
        rule: `ties` (arXiv:2306.01708), `dare` and `dare_ties` (arXiv:2311.03099), `magnitude`.
        weights: Weight of each adapter.
        rank: Of the result.
        settings: Density and seed.
        on_module: Told about each finished module.
    """
    import torch

    merged = {}
    for index, module in enumerate(module_names(experts)):
        shape = next(
            (factors.B.shape[0], factors.A.shape[1])
            for expert in experts
            if (factors := expert.modules.get(module)) is not None
        )
        changes = torch.zeros(len(experts), *shape)
        for place, expert in enumerate(experts):
            factors = expert.modules.get(module)
            if factors is not None:
                changes[place] = factors.B @ factors.A
        scales = torch.tensor([weights[expert.name] for expert in experts])
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + index)
        change = RULES[rule](changes, scales, settings.density, generator)
        merged[module] = from_weight(change, rank)
        if on_module is not None:
            on_module(module)
    return merged


def ties(
    changes: torch.Tensor, weights: torch.Tensor, density: float, _generator: torch.Generator
) -> torch.Tensor:
    """Trim to the largest entries, elect a sign per entry, average those that agree with it.

    Args:
        changes: `[T, d_out, d_in]`.
        weights: `[T]`.
        density: Share of entries kept of each.

    Returns:
        `[d_out, d_in]`: the mean over the adapters that have an entry of the elected sign.
    """
    return _elect(_trim(changes, density) * weights[:, None, None])


def magnitude(
    changes: torch.Tensor, weights: torch.Tensor, density: float, _generator: torch.Generator
) -> torch.Tensor:
    """Trim to the largest entries and add up. Shapes as in `ties`."""
    return (_trim(changes, density) * weights[:, None, None]).sum(0)


def dare(
    changes: torch.Tensor, weights: torch.Tensor, density: float, generator: torch.Generator
) -> torch.Tensor:
    """Keep each entry with probability `density`, scaled by its inverse, and add up."""
    return (_drop(changes, density, generator) * weights[:, None, None]).sum(0)


def dare_ties(
    changes: torch.Tensor, weights: torch.Tensor, density: float, generator: torch.Generator
) -> torch.Tensor:
    """Drop as `dare`, then elect signs and average as `ties`."""
    return _elect(_drop(changes, density, generator) * weights[:, None, None])


RULES: Mapping[
    RuleName,
    Callable[[torch.Tensor, torch.Tensor, float, torch.Generator], torch.Tensor],
] = {"ties": ties, "dare": dare, "dare_ties": dare_ties, "magnitude": magnitude}
"""All rules by name."""


def _trim(changes: torch.Tensor, density: float) -> torch.Tensor:
    """Return the changes with all but the largest entries of each set to 0."""
    import torch

    flat = changes.flatten(1)
    kept = max(1, round(density * flat.shape[1]))
    trimmed = torch.zeros_like(flat)
    places = flat.abs().topk(kept, dim=1).indices
    return trimmed.scatter(1, places, flat.gather(1, places)).view_as(changes)


def _drop(changes: torch.Tensor, density: float, generator: torch.Generator) -> torch.Tensor:
    import torch

    kept = torch.rand(changes.shape, generator=generator) < density
    return changes * kept / density


def _elect(changes: torch.Tensor) -> torch.Tensor:
    sign = changes.sum(0).sign()
    agreeing = (changes.sign() == sign) & (changes != 0)
    return (changes * agreeing).sum(0) / agreeing.sum(0).clamp(min=1)
