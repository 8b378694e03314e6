"""`taskloom add-task`: a new task beside a frozen adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import recipe_of_run
from pipeline.errors import AdapterError

if TYPE_CHECKING:
    from pipeline.recipe import Recipe

_OF_THE_OLD_RUN = ("run_name", "output_dir", "overwrite_output_dir", "resume_from_checkpoint")
_OF_ITS_TASKS = ("mixture", "evaluation", "loss_reduction")


def add_task(
    *,
    run: Annotated[Path, typer.Argument(help="Run with an mtlora or plain LoRA adapter.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs on top of its recipe.")
    ] = None,
    task: Annotated[str, typer.Option(help="Id of the new task's annotation.")],
    out: Annotated[Path, typer.Option(help="Run folder of the grown adapter.")],
) -> None:
    """Train ranks of a new task's own beside an adapter of which nothing moves.

    The recipe of the run is used again, with the new task alone. In the grown adapter, shared ranks
    and those of other tasks are what they were, bit by bit; a plain LoRA becomes the shared ranks
    of an `mtlora` adapter. `taskloom adapters export` makes a plain LoRA of a task.

    Examples:
        taskloom add-task runs/mixed --task chemprot --out runs/mixed-chemprot
        taskloom add-task runs/mixed --task chemprot --out runs/more --adapter.task_rank 8
    """
    from pipeline.training.command import train

    train(grown_recipe(run, task, out, list(overrides or [])))


def grown_recipe(run: Path, task: str, out: Path, overrides: list[str]) -> Recipe:
    """Return the recipe that adds a task to a run.

    Raises:
        AdapterError: There is no such run, or its adapter is of a type that cannot grow (ADP026).
        RecipeError: An override is wrong.
    """
    from pipeline.recipe.reading import read_recipe
    from pipeline.training.run_folder import ADAPTER_FOLDER, RECIPE_FILE
    from pipeline.yaml_reader import YamlDocument

    recipe = recipe_of_run(run)
    if recipe.adapter.type not in ("lora", "mtlora"):
        raise AdapterError(
            "ADP026",
            f"an adapter of type {recipe.adapter.type!r} cannot take a task in, "
            "allowed are 'lora' and 'mtlora'",
            where=run,
        )
    fields = recipe.model_dump(mode="json", exclude_unset=True)
    for name in (*_OF_THE_OLD_RUN, *_OF_ITS_TASKS):
        fields.pop(name, None)
    adapter = {"type": "mtlora", "r": recipe.adapter.r or recipe.lora_r}
    adapter["extend"] = str(run / ADAPTER_FOLDER)
    fields |= {"tasks": [task], "adapter": adapter, "output_dir": str(out)}
    fields.pop("lora_r", None)
    return read_recipe(
        YamlDocument(str(run / RECIPE_FILE), fields, {}, {}), overrides, name=out.name
    )
