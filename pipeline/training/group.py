"""Takes the network between processes down before they leave.

Its threads end the interpreter with SIGABRT when another process has left before, after all the
work was done: with gloo, in about one of four launches of two short processes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections.abc import Iterator
from typing import NoReturn

from pipeline.errors import EXIT_PREEMPTED, PipelineError

_SECONDS_TO_TELL = 10.0
"""Processes of a busy machine find a mistake of their recipe this far apart."""
_SECONDS_AFTER_SIGNAL = 0.5
"""They have just saved together, and whoever sent the signal waits."""


@contextlib.contextmanager
def group_left() -> Iterator[None]:
    """Leave the group of processes, if one was joined, at the end of the block.

    After an error of this process alone it stays: the others may wait in an exchange.
    """
    try:
        yield
    except PipelineError as error:
        if not error.is_of_one_process:
            _leave()
        raise
    _leave()


def _leave() -> None:
    # Whoever has joined a group has imported torch.
    torch = sys.modules.get("torch")
    if torch is not None and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def let_first_process_tell(code: int) -> None:
    """Stay a while in a process that tells nothing, before it ends.

    Launchers end all processes as soon as one has left, so the first must have written why by
    then. When it leaves, they end this one too.

    Args:
        code: With which this process will end.
    """
    time.sleep(_SECONDS_AFTER_SIGNAL if code == EXIT_PREEMPTED else _SECONDS_TO_TELL)


def leave_process(code: int) -> NoReturn:
    """End this process with an exit code, when all its work is done.

    One that has been in a group ends without the destructors of that network: what still refers
    to it keeps threads alive, and they end the interpreter with SIGABRT now and then. Threads are
    waited for and exit functions are called, as the interpreter does it.
    """
    torch = sys.modules.get("torch")
    if torch is not None and int(os.environ.get("WORLD_SIZE", "1")) > 1:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
