"""`taskloom merge` and `prefer`: several adapters of one base as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import stderr, stdout
from pipeline.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from pipeline.recipe.merging import MergeRecipe

LARGE_TAIL = 0.3
"""Share of a module's change whose loss is worth a warning."""


def merge(
    recipe: Annotated[Path, typer.Argument(help="Merge recipe: adapters, method, output_dir.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs on top of it.")
    ] = None,
) -> None:
    """Merge LoRA adapters of one base into one plain LoRA folder. The base is not needed.

    Examples:
        taskloom merge recipes/merging/two_runs.yaml
        taskloom merge recipes/merging/two_runs.yaml --method ties --density 0.3 --rank 16
    """
    from pipeline.recipe.merging import load_merge_recipe

    _run(load_merge_recipe(recipe, list(overrides or [])))


def prefer(
    recipe: Annotated[Path, typer.Argument(help="Merge recipe that names the adapters.")],
    *,
    weights: Annotated[str, typer.Option(help="Preferences that add up to 1: a=0.7,b=0.3.")],
    out: Annotated[Path, typer.Option(help="Folder of the adapter.")],
) -> None:
    """Make the adapter of a preference over tasks, without a training step.

    The changes of the weights are averaged by the preferences (IBCL, arXiv:2305.14782).

    Examples:
        taskloom prefer recipes/merging/two_runs.yaml --weights ner=0.7,qa=0.3 --out preferred
    """
    from pipeline.recipe.merging import load_merge_recipe

    loaded = load_merge_recipe(recipe)
    names = [source.name for source in loaded.adapters]
    chosen = _read_preferences(weights, names)
    sources = tuple(
        source.model_copy(update={"weight": chosen.get(source.name, 0.0)})
        for source in loaded.adapters
        if chosen.get(source.name, 0.0) > 0
    )
    _run(
        loaded.model_copy(update={"adapters": sources, "method": "linear", "output_dir": str(out)})
    )


def _run(recipe: MergeRecipe) -> None:
    from pipeline.adapters.merging.merge import merge as merge_adapters

    with stderr.status("merging") as status:
        report = merge_adapters(recipe, on_module=lambda module: status.update(f"merging {module}"))
    stdout.print(
        f"{report.folder}: {len(recipe.adapters)} adapters, {report.num_modules} modules, "
        f"rank {report.rank}, {recipe.method}",
        soft_wrap=True,
    )
    if report.worst_tail > 0:
        worst = max(report.tails, key=lambda module: report.tails[module])
        stdout.print(
            f"cutting the rank lost at most {report.worst_tail:.1%} of a module, {worst}",
            soft_wrap=True,
        )
    if report.worst_tail > LARGE_TAIL:
        stderr.print("warning: much is lost; a larger --rank keeps more", style="yellow")


def _read_preferences(text: str, names: list[str]) -> dict[str, float]:
    preferences: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.strip().partition("=")
        if name not in names:
            raise RecipeError(
                "REC020",
                f"no adapter is called {name!r}",
                where="--weights",
                hint=did_you_mean(name, names),
            )
        try:
            preferences[name] = float(number)
        except ValueError:
            preferences[name] = -1.0
        if not 0 <= preferences[name] <= 1:
            raise RecipeError(
                "REC020",
                f"{name} is {number!r}, allowed is 0 to 1",
                where="--weights",
                hint="Write a=0.7,b=0.3",
            )
    if abs(sum(preferences.values()) - 1) > 1e-6:
        raise RecipeError(
            "REC020",
            f"the preferences add up to {sum(preferences.values()):g}, allowed is 1",
            where="--weights",
        )
    return preferences
