"""`taskloom resume`: goes on with a run that was stopped, from its newest whole checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.errors import TrainingError


def resume(
    *,
    run: Annotated[Path, typer.Argument(help="Folder of the run.")],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="--field value pairs; only fields that change nothing learned."),
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config-file",
            "--config_file",
            help="Accelerate configuration, for several processes or DeepSpeed; without it one "
            "process goes on.",
        ),
    ] = None,
) -> None:
    """Go on with a stopped run from its newest checkpoint that verifies.

    Leaves with exit code 75 when a signal stops it again.

    Examples:
        taskloom resume runs/embedded
        taskloom resume runs/mixed --config-file accelerate_configs/multi_gpu.yaml
    """
    from pipeline.training.signals import leave_at_signals

    if config_file is None:
        # All else that is imported takes seconds, in which a batch system may want to stop.
        leave_at_signals()
    from pipeline.recipe import load_recipe
    from pipeline.training.run_folder import RECIPE_FILE

    recipe = run / RECIPE_FILE
    if not recipe.is_file():
        raise TrainingError(
            "TRN014",
            f"this is no run folder, it has no {RECIPE_FILE}",
            where=run,
            hint="Give the output_dir of a run that was started",
        )
    # Named by its place, not by the place it once had.
    fields = ["--output_dir", str(run), "--resume_from_checkpoint", "auto"]
    fields += ["--overwrite_output_dir", "false", *(overrides or [])]
    if config_file is None:
        from pipeline.training.command import train

        train(load_recipe(recipe, fields))
        return
    from pipeline.launch import launch_training

    load_recipe(recipe, fields)
    raise typer.Exit(launch_training(config_file, [str(recipe), *fields]))
