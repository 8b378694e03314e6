"""Carries out a merge recipe: adapters in, one plain LoRA folder out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.adapter_folder import MERGE_FILE
from pipeline.adapters.merging.factors import Expert, Factors, check_mergeable, load_expert
from pipeline.adapters.merging.fold import Recompressed, fold, recompress, spread
from pipeline.adapters.merging.rules import RULES, RuleName, RuleSettings, merge_by_rule
from pipeline.adapters.merging.writing import write_merged
from pipeline.files import check_replaceable
from pipeline.types import Json

if TYPE_CHECKING:
    from torch import Tensor

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


Coefficients = Mapping[str, Mapping[str, "float | Tensor"]]
"""By name of the adapter, then by module."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """What a method with `fit` found: coefficients, or the merged factors themselves."""

    coefficients: Coefficients | None = None
    factors: Mapping[str, Factors] | None = None
    record: Json
    """How it was found; for `merge.json`."""


def check_target(recipe: MergeRecipe) -> Path:
    """Return the folder of a merge, in full, after a check that nothing else is in it.

    Raises:
        OutputError: It holds something else than a merge, or an adapter to be merged (OUT004).
    """
    sources = [Path(source.path) for source in recipe.adapters]
    return check_replaceable(Path(recipe.output_dir), record=MERGE_FILE, sources=sources)


def load_experts(recipe: MergeRecipe) -> list[Expert]:
    """Read the adapters of a recipe.

    Raises:
        AdapterError: An adapter cannot be read, or they cannot be merged.
        PipelineErrors: Several of these.
    """
    experts = [load_expert(source.name, Path(source.path)) for source in recipe.adapters]
    check_mergeable(experts)
    return experts


def merge(
    recipe: MergeRecipe,
    experts: Sequence[Expert],
    *,
    fitted: Fitted | None = None,
    on_module: Callable[[str], None] | None = None,
) -> MergeReport:
    """Merge adapters and write the result.

    Args:
        recipe: How to merge.
        experts: From `load_experts`.
        fitted: What a method with `fit` found.
        on_module: Told about each finished module.

    Raises:
        OutputError: The folder cannot be written, or holds something else.
    """
    target = check_target(recipe)
    used: Coefficients = spread(experts, recipe.weights())
    if fitted is not None and fitted.coefficients is not None:
        used = fitted.coefficients
    if recipe.method in RULES:
        merged = _merge_by_rule(experts, recipe, on_module)
    else:
        factors = None if fitted is None else fitted.factors
        merged = _cut(fold(experts, used) if factors is None else factors, recipe.rank, on_module)
    tails = {module: result.tail for module, result in merged.items()}
    write_merged(
        {module: result.factors for module, result in merged.items()},
        target,
        experts=experts,
        record={
            "recipe": cast("Json", recipe.model_dump(mode="json", exclude_unset=True)),
            "coefficients": None
            if fitted is not None and fitted.factors is not None
            else _coefficients_to_json(used),
            "fit": None if fitted is None else fitted.record,
            "tail_errors": cast("Json", tails),
        },
    )
    return MergeReport(
        folder=Path(recipe.output_dir),
        num_modules=len(merged),
        rank=max(result.factors.rank for result in merged.values()),
        tails=tails,
    )


def _coefficients_to_json(coefficients: Coefficients) -> Json:
    """Return one number per adapter where all of its modules have the same."""
    written: dict[str, Json] = {}
    for name, by_module in coefficients.items():
        numbers = {
            module: value if isinstance(value, float | int) else cast("Json", value.tolist())
            for module, value in by_module.items()
        }
        first = next(iter(numbers.values()), None)
        is_one = all(isinstance(each, float | int) and each == first for each in numbers.values())
        written[name] = first if is_one else cast("Json", numbers)
    return written


def _merge_by_rule(
    experts: Sequence[Expert], recipe: MergeRecipe, on_module: Callable[[str], None] | None
) -> dict[str, Recompressed]:
    largest = max(factors.rank for expert in experts for factors in expert.modules.values())
    return merge_by_rule(
        experts,
        cast("RuleName", recipe.method),
        weights=recipe.weights(),
        rank=recipe.rank or largest,
        settings=RuleSettings(density=recipe.density, seed=recipe.seed),
        on_module=on_module,
    )


def _cut(
    modules: Mapping[str, Factors], rank: int | None, on_module: Callable[[str], None] | None
) -> dict[str, Recompressed]:
    merged = {}
    for module, factors in modules.items():
        is_cut = rank is not None and rank < factors.rank
        merged[module] = recompress(factors, rank or 0) if is_cut else Recompressed(factors, 0.0)
        if on_module is not None:
            on_module(module)
    return merged
