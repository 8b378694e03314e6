"""What both commands that train do with a recipe; imports no torch until it must."""

from __future__ import annotations

from pathlib import Path

from pipeline.files import folder_fault
from pipeline.process_group import group_left, is_first_process
from pipeline.recipe import Recipe
from pipeline.training.run_folder import RunFolder


def train(recipe: Recipe) -> None:
    """Train the adapter that `recipe` describes, quietly but for the progress display.

    Raises:
        PipelineError: See `pipeline.training.run.run_training`.
    """
    from pipeline.models.quiet import quiet_imports, quiet_libraries
    from pipeline.training.early_checks import check_recipe

    quiet_imports()
    check_recipe(recipe)
    from rich.console import Console

    console = Console(stderr=True, highlight=False)
    is_main = is_first_process()
    if (finished := finished_adapter(recipe)) is not None:
        if is_main:
            console.print(f"this run is finished; adapter: {finished}", soft_wrap=True)
        return
    quiet_libraries()
    from pipeline.training.run import run_training

    with group_left():
        result = run_training(recipe, console)
    if is_main:
        console.print(
            f"{result.num_steps} steps in {result.train_seconds:.1f} s; adapter: {result.adapter}",
            soft_wrap=True,
        )


def finished_adapter(recipe: Recipe) -> Path | None:
    """Return the adapter of a run that is asked to go on but has come to its end."""
    adapter = RunFolder(Path(str(recipe.output_dir))).adapter
    wants_more = recipe.resume_from_checkpoint == "auto"
    is_whole = wants_more and folder_fault(adapter, allows_notes=True) is None
    return adapter if is_whole else None
