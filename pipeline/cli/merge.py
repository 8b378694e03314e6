"""`taskloom merge`, `transfer` and `prefer`: several adapters of one base as one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pipeline.cli.shared import Settings, settings_of, stderr, stdout
from pipeline.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from pipeline.adapters.merging.merge import Fitted, MergeReport
    from pipeline.adapters.merging.replay import MergeRecord
    from pipeline.recipe.merging import MergeRecipe

VARIANTS = {
    "scalearn": "channel",
    "uniform": "module",
    "scalearn++": "kind_channel",
    "uniform++": "task",
}
"""Variants of ScaLearn, and how finely their coefficients differ."""

LARGE_TAIL = 0.3
"""Share of a module's change whose loss is worth a warning."""


def merge(
    context: typer.Context,
    recipe: Annotated[
        Path, typer.Argument(help="Merge recipe: adapters, method, output_dir; or a merge.json.")
    ],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs on top of it.")
    ] = None,
) -> None:
    """Merge LoRA adapters of one base into one plain LoRA folder.

    The methods `learned`, `best_uniform` and `regmean` need the base and rows of the tasks. What
    was done is written to `merge.json` beside the weights; given in place of a recipe, it makes
    the merge again, with what was learned then.

    Examples:
        taskloom merge recipes/merging/two_runs.yaml
        taskloom merge recipes/merging/two_runs.yaml --method ties --density 0.3 --rank 16
        taskloom merge merged/merge.json --output_dir again
    """
    from pipeline.adapter_folder import MERGE_FILE
    from pipeline.recipe.merging import load_merge_recipe

    fields = list(overrides or [])
    if recipe.name == MERGE_FILE and recipe.is_file():
        from pipeline.adapters.merging.replay import MergeRecord

        record = MergeRecord.load(recipe, fields)
        _run(record.recipe, settings_of(context), record=record)
        return
    _run(load_merge_recipe(recipe, fields), settings_of(context))


def prefer(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="Merge recipe that names the adapters.")],
    *,
    weights: Annotated[
        str | None, typer.Option(help="Preferences that add up to 1: a=0.7,b=0.3.")
    ] = None,
    edge: Annotated[
        str | None, typer.Option(help="Two adapters: evaluate averages from one to the other.")
    ] = None,
    points: Annotated[int, typer.Option(min=2, help="With --edge: averages, ends included.")] = 5,
    max_rows: Annotated[
        int | None, typer.Option(min=1, help="With --edge: rows per task, sampled.")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder of the adapter, or of the edge.")],
) -> None:
    """Make the adapter of a preference over tasks, without a training step.

    The changes of the weights are averaged by the preferences (IBCL, arXiv:2305.14782). Nothing
    says that an average is good at either task: --edge evaluates the averages of two adapters on
    the tasks of both, and draws the curves into the report.

    Examples:
        taskloom prefer recipes/merging/two_runs.yaml --weights ner=0.7,qa=0.3 --out preferred
        taskloom prefer recipes/merging/two_runs.yaml --edge ner,qa --points 5 --out edge
    """
    from pipeline.recipe.merging import load_merge_recipe

    if (weights is None) == (edge is None):
        raise RecipeError(
            "REC020",
            "got both or neither of --weights and --edge",
            where="command line",
            hint="Give one of them",
        )
    loaded = load_merge_recipe(recipe)
    if edge is not None or weights is None:
        from pipeline.cli.edge import show_edge
        from pipeline.models.quiet import quiet_libraries

        quiet_libraries()
        show_edge(
            loaded,
            edge or "",
            settings_of(context),
            num_points=points,
            max_rows=max_rows,
            out=out,
        )
        return
    names = [source.name for source in loaded.adapters]
    chosen = _read_preferences(weights, names)
    sources = tuple(
        source.model_copy(update={"weight": chosen.get(source.name, 0.0)})
        for source in loaded.adapters
        if chosen.get(source.name, 0.0) > 0
    )
    preferred = loaded.model_copy(
        update={"adapters": sources, "method": "linear", "fit": None, "output_dir": str(out)}
    )
    _run(preferred, settings_of(context))


def transfer(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="Merge recipe with `fit`, naming the adapters.")],
    *,
    target: Annotated[str, typer.Option(help="Adapter whose task is the target.")],
    variant: Annotated[
        str, typer.Option(help=f"How finely adapters are scaled: {', '.join(VARIANTS)}.")
    ] = "scalearn",
    out: Annotated[Path, typer.Option(help="Folder of the adapter.")],
) -> None:
    """Scale frozen adapters of other tasks for one target task, on its labelled rows.

    Only the scales are learned (ScaLearn, arXiv:2310.01217): per output channel of each module,
    per module (`uniform`), per channel of each kind of module (`scalearn++`), or one per adapter.

    Examples:
        taskloom transfer recipes/merging/two_runs.yaml --target qa --out transferred
        taskloom transfer recipes/merging/two_runs.yaml --target qa --variant uniform++ --out few
    """
    from pipeline.recipe.merging import load_merge_recipe

    if variant not in VARIANTS:
        raise RecipeError(
            "REC010",
            f"no variant {variant!r}",
            where="--variant",
            hint=did_you_mean(variant, VARIANTS),
        )
    fields = ["--method", "learned", "--output_dir", str(out), "--fit.objective", "supervised"]
    fields += ["--fit.target", target, "--fit.granularity", VARIANTS[variant]]
    _run(load_merge_recipe(recipe, fields), settings_of(context))


def _run(recipe: MergeRecipe, settings: Settings, *, record: MergeRecord | None = None) -> None:
    from pipeline.adapters.merging.merge import check_target, load_experts
    from pipeline.adapters.merging.merge import merge as merge_adapters
    from pipeline.recipe.merging import FITTED

    check_target(recipe)
    with stderr.status("reading adapters") as status:
        experts = load_experts(recipe)
        fitted = None if record is None else record.fitted(experts)
        if fitted is None and recipe.method in FITTED:
            from pipeline.models.quiet import quiet_libraries
            from pipeline.training.merge_run import fit_merge

            quiet_libraries()
            fitted = fit_merge(
                recipe,
                experts,
                annotation_folders=settings.annotation_folders,
                data_root=settings.data_root,
                progress=status.update,
            )
        report = merge_adapters(
            recipe,
            experts,
            fitted=fitted,
            on_module=lambda module: status.update(f"merging {module}"),
        )
    _tell(recipe, report, fitted)


def _tell(recipe: MergeRecipe, report: MergeReport, fitted: Fitted | None) -> None:
    from pipeline.adapters.merging.writing import is_transductive

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
    facts = cast("dict[str, Any]", fitted.record) if fitted is not None else {}
    if is_transductive(report.folder):
        stderr.print("warning: transductive, fitted to test prompts", style="yellow")
    for name, count in facts.get("num_too_long", {}).items():
        if count:
            stderr.print(
                f"warning: {count} rows of {name} do not fit into fit.max_length, left out",
                style="yellow",
                markup=False,
            )
    if (task := facts.get("stopped_by")) is not None:
        stderr.print(
            f"warning: fitting ended early, answers of {task} lost their variety",
            style="yellow",
            markup=False,
        )


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
