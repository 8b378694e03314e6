"""Trains an adapter: `python -m pipeline.train RECIPE [--field value ...]`.

The same module runs under `accelerate launch --config_file accelerate_configs/<x>.yaml -m`.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from pipeline.training.signals import leave_at_signals

if __name__ == "__main__":
    # All else that is imported takes seconds, in which a batch system may want to stop.
    leave_at_signals()

from pipeline.errors import EXIT_OK, PipelineError, RecipeError
from pipeline.process_group import leave_process, tell_once
from pipeline.recipe import Recipe, load_recipe
from pipeline.training.command import train

_USAGE = "python -m pipeline.train RECIPE [--field value ...]"
_HELP = f"""usage: {_USAGE}

Trains the adapter that RECIPE (a YAML file) describes. Any field can be given on the command line
too, e.g. --learning_rate 1e-4 --mixture.temperature 3 --tasks '[codah, pubmedqa]'.
--resume auto goes on from the newest whole checkpoint of the run; without one it starts afresh.
SIGTERM and SIGUSR1 save a checkpoint and leave with exit code 75.
On several processes:
  accelerate launch --config_file accelerate_configs/<x>.yaml -m pipeline.train RECIPE ..."""
_RESUME = "--resume"
EXIT_INTERRUPTED = 130
"""Stopped with Ctrl-C, as shells count it."""


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
        train(read_arguments(given))
    except PipelineError as error:
        return tell_once(error, lambda text: sys.stderr.write(f"{text}\n"))
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


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
