"""`taskloom continual`: tasks learned in stages, and what is kept of them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from pipeline.cli.shared import Settings, settings_of, stdout
from pipeline.errors import EvalError
from pipeline.types import Json

if TYPE_CHECKING:
    from eval.continual import ContinualScores
    from pipeline.recipe import Recipe
    from pipeline.recipe.continual import Continual

SCORES_NAME = "continual.json"


def continual(
    context: typer.Context,
    recipe: Annotated[Path, typer.Argument(help="Continual recipe: strategy, stages, training.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs on top of it.")
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            "--config_file",
            help="Accelerate configuration for the trainings; without it one process trains.",
        ),
    ] = None,
) -> None:
    """Learn tasks in stages, and score every stage's tasks after each of them.

    Strategies: sequential, replay, adapter_per_stage, merge_after_stage. Base and joint training
    stand beside them. Started again, it goes on where it was stopped or killed.

    Examples:
        taskloom continual recipes/continual/two_stages.yaml
        taskloom continual recipes/continual/two_stages.yaml --strategy replay --output_dir runs/r
    """
    from eval.continual import ContinualScores, stage_means
    from pipeline.files import write_json
    from pipeline.models.quiet import quiet_libraries
    from pipeline.recipe.continual import load_continual
    from pipeline.training.continual import run_continual

    if os.environ.get("WORLD_SIZE", "1") != "1":
        raise EvalError(
            "CLI050",
            f"got {os.environ['WORLD_SIZE']} processes, allowed is 1",
            hint="Run it by itself; --config-file trains the stages on several processes",
        )
    settings = settings_of(context)
    loaded = load_continual(recipe, list(overrides or [])).with_places(
        settings.data_root, settings.annotation_folders
    )
    quiet_libraries()
    found = run_continual(
        loaded,
        train=lambda each: _train(each, config_file),
        evaluate=_Evaluator(loaded).scores,
    )
    stages = [stage.tasks for stage in loaded.recipe.stages]
    scores = ContinualScores(
        stages=tuple(stage.name for stage in loaded.recipe.stages),
        matrix=tuple(stage_means(row, stages) for row in found.after_stage),
        base=stage_means(found.base, stages),
        joint=None if found.joint is None else stage_means(found.joint, stages),
    )
    path = Path(loaded.recipe.output_dir) / SCORES_NAME
    by_task: Json = {
        "base": dict(found.base),
        "after_stage": [dict(row) for row in found.after_stage],
        "joint": None if found.joint is None else dict(found.joint),
    }
    strategy = loaded.recipe.strategy
    write_json(path, {"strategy": strategy, **scores.to_json(), "by_task": by_task})
    stdout.print(_table(scores, strategy))
    means = (
        f"{name.replace('_', ' ')} {100 * value:.1f}" for name, value in scores.means().items()
    )
    stdout.print(", ".join(means), soft_wrap=True)
    stdout.print(f"scores: {path}", soft_wrap=True)


def _train(recipe: Recipe, config_file: Path | None) -> None:
    """Train in this process, or in those that an Accelerate configuration describes."""
    from pipeline.launch import launch_training
    from pipeline.recipe import write_resolved
    from pipeline.training.command import train

    if config_file is None:
        train(recipe)
        return
    run = Path(str(recipe.output_dir))
    path = run.with_name("recipe.yaml")
    write_resolved(recipe, path)
    if code := launch_training(config_file, [str(path)]):
        raise typer.Exit(code)


class _Evaluator:
    """Scores adapters on tasks of the stages; rows are read once."""

    def __init__(self, continual: Continual) -> None:
        from pipeline.cli.evaluation import job_of

        folder = Path(continual.recipe.output_dir)
        self._job = job_of(continual.training, Settings(), folder=folder)

    def scores(
        self, adapter: Path | None, tasks: Sequence[str], folder: Path
    ) -> Mapping[str, float]:
        """Return the headline number of each task.

        Raises:
            EvalError: A task's headline number is better when it is lower (EVL090).
        """
        from eval.metrics import METRICS
        from eval.results import read_results
        from pipeline.cli.eval_processes import find_launch
        from pipeline.cli.evaluation import evaluate_here

        job = replace(
            self._job,
            adapter=adapter,
            include_base=adapter is None,
            tasks=[task for task in self._job.tasks if task.spec.id in tasks],
            folder=folder,
        )
        (results,) = evaluate_here(job, find_launch())
        found = {}
        for task, entry in read_results(results)["tasks"].items():
            headline = entry["headline"]
            if not METRICS[headline].higher_is_better:
                raise EvalError(
                    "EVL090",
                    f"its headline number {headline} is better when it is lower, so gains and "
                    "losses of stages cannot be added up",
                    where=task,
                    hint="Leave the task out, or give it another first metric",
                )
            found[task] = float(entry["metrics"][headline]["value"])
        return found


def _table(scores: ContinualScores, strategy: str) -> Table:
    table = Table(title=f"{strategy}, times 100")
    table.add_column("after")
    for name in scores.stages:
        table.add_column(name, justify="right")
    references = [("base", scores.base)]
    rows = list(zip(scores.stages, scores.matrix, strict=True))
    last = [] if scores.joint is None else [("joint", scores.joint)]
    for name, values in (*references, *rows, *last):
        table.add_row(name, *(f"{100 * value:.1f}" for value in values))
    return table
