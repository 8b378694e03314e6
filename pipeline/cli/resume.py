"""`taskloom resume`: goes on with a run that was stopped, from its newest whole checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from pipeline.errors import EXIT_OK, EXIT_PREEMPTED, TrainingError


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
    load_recipe(recipe, fields)
    raise typer.Exit(launch_training(config_file, [str(recipe), *fields], run))


def launch_training(config_file: Path, arguments: list[str], run: Path) -> int:
    """Run `accelerate launch`, hand signals to its workers, and return their exit code.

    Args:
        config_file: Accelerate configuration.
        arguments: Of `pipeline.train`.
        run: Folder of the run, which tells whether a signal stopped it.
    """
    from pipeline.training.run_folder import STOPPED_FILE
    from pipeline.training.signals import STOP_SIGNALS

    command = [sys.executable, "-m", "accelerate.commands.launch", "--config_file"]
    command += [str(config_file), "-m", "pipeline.train", *arguments]
    # The launcher would die of this signal and leave its workers behind; ignored, it hands the
    # disposition on, and the workers set their own.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    process = subprocess.Popen(command, start_new_session=True)  # noqa: S603 - our own program

    def hand_on(number: int, frame: FrameType | None) -> None:
        os.killpg(process.pid, signal.SIGUSR1)

    for each in STOP_SIGNALS:
        signal.signal(each, hand_on)
    try:
        code = process.wait()
    except KeyboardInterrupt:
        os.killpg(process.pid, signal.SIGINT)
        code = process.wait()
    if code != EXIT_OK and (run / STOPPED_FILE).is_file():
        # Launchers tell every failure as 1.
        return EXIT_PREEMPTED
    return code
