"""`accelerate launch` that ends as its workers do: `python -m pipeline.launch` with its arguments.

accelerate's own launcher turns every exit code into 1, adds a traceback to the one line in which a
worker told a mistake, dies of SIGUSR1, and kills its workers 30 s after a SIGTERM. A batch system
needs to know code 75, and the workers need the time their checkpoint takes.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType

from pipeline.errors import (
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PREEMPTED,
    PipelineError,
    TrainingError,
)
from pipeline.models.quiet import quiet_imports
from pipeline.process_group import STOP_SIGNALS

_HELP = """usage: python -m pipeline.launch --config_file accelerate_configs/<x>.yaml [...] \
-m pipeline.train RECIPE [--field value ...]

Takes the arguments of `accelerate launch`. Leaves with the exit code of the worker that failed
first: 2 after a mistake, 75 when a signal stopped the run and it is saved, 130 after Ctrl-C.
SIGTERM and SIGUSR1 are handed on to the workers.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Launch, and return the exit code.

    Args:
        arguments: Those of `accelerate launch`; the command line's by default.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in {"-h", "--help"}:
        sys.stdout.write(_HELP)
        return EXIT_OK
    try:
        return launch(given)
    except PipelineError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        # With workers `_launch` hears of it first, and they tell what is left of the run.
        sys.stderr.write("interrupted before anything was started\n")
        return EXIT_INTERRUPTED


def launch(arguments: Sequence[str]) -> int:
    """Run workers as `accelerate launch` does, and return the code of the first that failed.

    Args:
        arguments: Those of `accelerate launch`.

    Raises:
        TrainingError: The configuration cannot be read, or does not fit this machine.
    """
    with _signals_handed_on():
        return _launch(arguments)


def launch_training(config_file: Path, arguments: Sequence[str]) -> int:
    """Train under an accelerate configuration, and return the workers' exit code.

    Args:
        config_file: The configuration.
        arguments: Of `pipeline.train`.

    Raises:
        TrainingError: The configuration cannot be read, or does not fit this machine.
    """
    return launch(["--config_file", str(config_file), "-m", "pipeline.train", *arguments])


def _launch(arguments: Sequence[str]) -> int:
    quiet_imports()
    import yaml
    from accelerate.commands.launch import launch_command, launch_command_parser
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    parsed = launch_command_parser().parse_args(list(arguments))
    _check_config(parsed.config_file)
    # Not SIGTERM: the agent would give its workers 30 s.
    parsed.signals_to_handle = "SIGINT,SIGHUP,SIGQUIT"
    try:
        with _quiet_agent():
            launch_command(parsed)
    except ChildFailedError as error:
        process, failure = error.get_first_failure()
        return _told_code(failure.exitcode, f"process {process}")
    except subprocess.CalledProcessError as error:
        return _told_code(error.returncode, "the training process")
    except (yaml.YAMLError, ImportError, OSError, TypeError, ValueError) as error:
        raise TrainingError(
            "TRN015",
            (str(error) or type(error).__name__).splitlines()[0],
            where=parsed.config_file or "accelerate configuration",
            hint="Start from one of accelerate_configs/",
        ) from error
    except SignalException as error:
        # What the agent of several workers makes of Ctrl-C and hang-ups.
        return 128 + int(error.sigval)
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    return EXIT_OK


def _check_config(path: str | None) -> None:
    if path is not None and not Path(path).is_file():
        raise TrainingError(
            "TRN015",
            "there is no such file",
            where=path,
            hint="Give an accelerate configuration, such as accelerate_configs/cpu.yaml",
        )


def _told_code(code: int, who: str) -> int:
    """Return an exit code as shells count it; workers that were killed could not say so."""
    if code >= 0:
        return code
    number = signal.Signals(-code)
    sys.stderr.write(f"{who} was ended by {number.name}\n")
    # A worker meets these unprepared only while it starts: nothing is lost.
    return EXIT_PREEMPTED if number in STOP_SIGNALS else 128 + number


@contextlib.contextmanager
def _signals_handed_on() -> Iterator[None]:
    """Give workers the signals that this process receives, and the time to save."""
    before = {each: signal.signal(each, _hand_on) for each in STOP_SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def _hand_on(number: int, frame: FrameType | None) -> None:
    import psutil

    workers = psutil.Process().children()
    if not workers:
        sys.exit(EXIT_PREEMPTED)
    for worker in workers:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, number)


def _concerns_users(record: logging.LogRecord) -> bool:
    """Return whether more is said than that all cores of the CPU are used."""
    text = record.getMessage()
    return "--num_cpu_threads_per_process" not in text or text.count("\t`--") > 1


@contextlib.contextmanager
def _quiet_agent() -> Iterator[None]:
    """Silence what starts workers: a failure is many lines there, a default is a warning."""
    # Its import sets the level anew.
    importlib.import_module("torch.distributed.elastic.agent.server.api")
    names = ("multiprocessing.api", "agent.server.api")
    loggers = [logging.getLogger(f"torch.distributed.elastic.{name}") for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    launcher = logging.getLogger("accelerate.commands.launch")
    launcher.addFilter(_concerns_users)
    try:
        yield
    finally:
        launcher.removeFilter(_concerns_users)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


if __name__ == "__main__":
    sys.exit(main())
