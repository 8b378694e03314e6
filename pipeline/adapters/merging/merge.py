"""Carries out a merge recipe: adapters in, one plain LoRA folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.adapters.merging.factors import Expert, check_mergeable, load_expert
from pipeline.adapters.merging.fold import Recompressed, fold, recompress, spread
from pipeline.adapters.merging.rules import RuleSettings, merge_by_rule
from pipeline.adapters.merging.writing import write_merged
from pipeline.types import Json

if TYPE_CHECKING:
    from pipeline.recipe.merging import MergeRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeReport:
    """What a merge did."""

    folder: Path
    num_modules: int
    rank: int
    """Largest rank of a module."""
    tails: Mapping[str, float]
    """Share of each module's change (Frobenius norm) that cutting the rank lost."""

    @property
    def worst_tail(self) -> float:
        """Largest share lost, 0 where nothing was cut."""
        return max(self.tails.values(), default=0.0)


def merge(recipe: MergeRecipe, *, on_module: Callable[[str], None] | None = None) -> MergeReport:
    """Merge adapters and write the result.

    Args:
        recipe: What to merge, and how.
        on_module: Told about each finished module.

    Raises:
        AdapterError: An adapter cannot be read or merged.
        OutputError: The folder cannot be written.
    """
    experts = [load_expert(source.name, Path(source.path)) for source in recipe.adapters]
    check_mergeable(experts)
    weights = recipe.weights()
    merged = _merge(experts, recipe, weights, on_module)
    folder = Path(recipe.output_dir)
    tails = {module: result.tail for module, result in merged.items()}
    write_merged(
        {module: result.factors for module, result in merged.items()},
        folder,
        experts=experts,
        record={
            "method": recipe.method,
            "weights": cast("Json", weights),
            "density": recipe.density,
            "seed": recipe.seed,
            "rank": recipe.rank,
            "tail_errors": cast("Json", tails),
        },
    )
    return MergeReport(
        folder=folder,
        num_modules=len(merged),
        rank=max(result.factors.rank for result in merged.values()),
        tails=tails,
    )


def _merge(
    experts: list[Expert],
    recipe: MergeRecipe,
    weights: Mapping[str, float],
    on_module: Callable[[str], None] | None,
) -> dict[str, Recompressed]:
    if recipe.method != "linear":
        largest = max(factors.rank for expert in experts for factors in expert.modules.values())
        settings = RuleSettings(density=recipe.density, seed=recipe.seed)
        return merge_by_rule(
            experts,
            recipe.method,
            weights=weights,
            rank=recipe.rank or largest,
            settings=settings,
            on_module=on_module,
        )
    merged = {}
    for module, factors in fold(experts, spread(experts, weights)).items():
        cut = recipe.rank is not None and recipe.rank < factors.rank
        merged[module] = (
            recompress(factors, recipe.rank or 0) if cut else Recompressed(factors, 0.0)
        )
        if on_module is not None:
            on_module(module)
    return merged
