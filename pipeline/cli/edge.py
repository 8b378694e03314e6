"""The edge between two adapters: their averages, evaluated from one end to the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from pipeline.cli.shared import Settings, stdout
from pipeline.errors import RecipeError, did_you_mean

if TYPE_CHECKING:
    from eval.leaderboard.edges import Edge
    from pipeline.cli.evaluation import Job
    from pipeline.recipe.merging import FitFields, MergeRecipe, MergeSource


def show_edge(
    recipe: MergeRecipe,
    names: str,
    settings: Settings,
    *,
    num_points: int,
    max_rows: int | None,
    out: Path,
) -> None:
    """Merge two adapters by several preferences, without training, and evaluate each of them.

    Args:
        recipe: Names the adapters, their tasks and, in `fit` or by what they were trained on, the
            base; `fit` also says how prompts are worded.
        names: Two of the adapters, with a comma between.
        settings: Options given before the verb.
        num_points: Preferences, both ends included.
        max_rows: Rows per task.
        out: Receives an adapter and its results per point, `edge.json` and the report.

    Raises:
        RecipeError: These are no two adapters with tasks (REC020).
        PipelineError: As in merging and evaluation.
    """
    from eval.leaderboard.edges import EDGE_NAME, Edge
    from eval.results import read_results
    from pipeline.adapters.merging.merge import check_target, load_experts, merge
    from pipeline.cli.eval_processes import find_launch
    from pipeline.cli.evaluation import evaluate_here
    from pipeline.cli.report import show_leaderboard
    from pipeline.files import write_json

    first, second = _ends(recipe, names)
    pair = recipe.model_copy(update={"method": "linear", "fit": None, "adapters": (first, second)})
    tasks = list(dict.fromkeys([str(first.task), str(second.task)]))
    base = load_experts(pair)[0].base.name
    job = replace(_job(recipe.fit, base, tasks, settings), max_rows=max_rows)
    folders: list[Path] = []
    scores: dict[str, list[float]] = {task: [] for task in tasks}
    weights = [number / (num_points - 1) for number in range(num_points)]
    points = [_point(pair, weight, out) for weight in weights]
    for point in points:
        check_target(point)
    for point in points:
        adapter = Path(point.output_dir)
        merge(point, load_experts(point))
        here = replace(job, adapter=adapter, folder=adapter.with_name("eval"))
        folders += evaluate_here(here, find_launch())
        for task, entry in read_results(folders[-1])["tasks"].items():
            scores[task].append(float(entry["metrics"][entry["headline"]]["value"]))
    edge = Edge(
        first=first.name,
        second=second.name,
        weights=tuple(weights),
        scores={task: tuple(values) for task, values in scores.items()},
    )
    write_json(out / EDGE_NAME, edge.to_json())
    show_leaderboard(folders, out)
    stdout.print(_table(edge))


def _job(fit: FitFields | None, base: str, tasks: list[str], settings: Settings) -> Job:
    """Return how a point is evaluated: as `fit` says, else on the base that adapters name."""
    from pipeline.cli.evaluation import job_of_options

    options: dict[str, Any] = {}
    if fit is not None:
        base = fit.model_name_or_path
        settings = replace(settings, data_root=fit.data_root or settings.data_root)
        options = {"style": fit.style, "function_format": fit.function_format}
        options["loading"] = {"load_in_4bit": True} if fit.load_in_4bit else {}
    job = job_of_options(base, tasks, settings, split="test", adapter=None)
    return replace(job, include_base=False, **options)


def _point(pair: MergeRecipe, weight: float, out: Path) -> MergeRecipe:
    """Return the recipe of the average in which the second of two adapters has a weight."""
    first, second = pair.adapters
    sources = tuple(
        source.model_copy(update={"weight": share})
        for source, share in ((first, 1 - weight), (second, weight))
        if share
    )
    folder = out / f"{second.name}-{weight:.3f}" / "adapter"
    return pair.model_copy(update={"adapters": sources, "output_dir": str(folder)})


def _ends(recipe: MergeRecipe, names: str) -> tuple[MergeSource, MergeSource]:
    by_name = {source.name: source for source in recipe.adapters}
    chosen = [name.strip() for name in names.split(",")]
    unknown = next((name for name in chosen if name not in by_name), None)
    if unknown is not None or len(set(chosen)) != 2:
        raise RecipeError(
            "REC020",
            f"not two adapters of the recipe: {names!r}",
            where="--edge",
            hint=did_you_mean(unknown, by_name) if unknown else "Write two names: a,b",
        )
    ends = by_name[chosen[0]], by_name[chosen[1]]
    without = next((end.name for end in ends if end.task is None), None)
    if without is not None:
        raise RecipeError("REC020", f"{without!r} has no `task` to be evaluated on", where="--edge")
    return ends


def _table(edge: Edge) -> Table:
    table = Table(title=f"edge from {edge.first} to {edge.second}, times 100")
    table.add_column(edge.second)
    for task in edge.scores:
        table.add_column(task, justify="right")
    for place, weight in enumerate(edge.weights):
        values = (f"{100 * each[place]:.1f}" for each in edge.scores.values())
        table.add_row(f"{weight:.3f}", *values)
    return table
