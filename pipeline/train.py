"""Trains an adapter: `python -m pipeline.train RECIPE [--field value ...]`.

The same module runs under `python -m pipeline.launch --config_file accelerate_configs/<x>.yaml -m`
and under `accelerate launch`.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.training.signals import interrupted_text, leave_at_signals

if __name__ == "__main__":
    # All else that is imported takes seconds, in which a batch system may want to stop.
    leave_at_signals()

from pipeline.errors import EXIT_INTERRUPTED, EXIT_OK, PipelineError, RecipeError
from pipeline.process_group import is_first_process, leave_process, tell_once
from pipeline.recipe import Recipe, load_recipe
from pipeline.training.command import train

_USAGE = "python -m pipeline.train RECIPE [--field value ...]"
_HELP = f"""usage: {_USAGE}

Trains the adapter that RECIPE (a YAML file) describes. Any field can be given on the command line
too, e.g. --learning_rate 1e-4 --mixture.temperature 3 --tasks '[codah, pubmedqa]'.
--resume auto goes on from the newest whole checkpoint of the run; without one it starts afresh.
SIGTERM and SIGUSR1 save a checkpoint and leave with exit code 75.
On several processes:
  python -m pipeline.launch --config_file accelerate_configs/<x>.yaml -m pipeline.train RECIPE"""
_RESUME = "--resume"


def main(arguments: Sequence[str] | None = None) -> int:
    """Train, and return the exit code.

    Args:
        arguments: Path of the recipe, then fields that go on top of it; the command line's by
            default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[:1] in (["-h"], ["--help"]):
        sys.stdout.write(f"{_HELP}\n")
        return EXIT_OK
    try:
        _train(read_arguments(given))
    except PipelineError as error:
        return tell_once(error, lambda text: sys.stderr.write(f"{text}\n"))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _train(recipe: Recipe) -> None:
    try:
        train(recipe)
    except KeyboardInterrupt:
        # A launcher hands it on to workers that a terminal has told already.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if is_first_process():
            sys.stderr.write(f"{interrupted_text(Path(str(recipe.output_dir)))}\n")
        raise


def read_arguments(arguments: Sequence[str]) -> Recipe:
    """Return the recipe that the command line describes.

    Raises:
        RecipeError: No recipe is given, or the recipe or a field is not valid.
    """
    if not arguments or arguments[0].startswith("--"):
        raise RecipeError(
            "REC009", "no recipe file given", where="command line", hint=f"Usage: {_USAGE}"
        )
    fields = [_resume_field(argument) for argument in arguments[1:]]
    return load_recipe(Path(arguments[0]), fields)


def _resume_field(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return f"--resume_from_checkpoint{equals}{value}" if name == _RESUME else argument


if __name__ == "__main__":
    leave_process(main())
