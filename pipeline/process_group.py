"""How one of several processes ends: its mistake is told once, the network is taken down before.

Threads of the network end the interpreter with SIGABRT when another process has left before, after
all the work was done: with gloo, in about one of four launches of two short processes.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import NoReturn

from pipeline.errors import EXIT_PREEMPTED, PipelineError

STOP_SIGNALS = (signal.SIGTERM, signal.SIGUSR1)
"""What a batch system sends some time before it kills."""
_SECONDS_TO_TELL = 10.0
"""Processes of a busy machine find a mistake of their recipe this far apart."""
_SECONDS_AFTER_SIGNAL = 0.5
"""They have just saved together, and whoever sent the signal waits."""
_was_one_of_several = False
"""Whether this process has left a group of several."""


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
    global _was_one_of_several
    if num_members := _count_members():
        sys.modules["torch"].distributed.destroy_process_group()
        _was_one_of_several |= num_members > 1


def _count_members() -> int:
    """Return how many processes are in this one's group, 0 where it is in none."""
    # Whoever has joined a group has imported torch.
    torch = sys.modules.get("torch")
    if torch is None or not torch.distributed.is_initialized():
        return 0
    return int(torch.distributed.get_world_size())


def tell_once(error: PipelineError, tell: Callable[[str], object]) -> int:
    """Tell a mistake that every process meets in one of them, and return the exit code.

    Launchers end all processes as soon as one has left, so those that tell nothing stay a while.

    Args:
        error: The mistake.
        tell: Writes a text.
    """
    if is_first_process() or error.is_of_one_process:
        tell(str(error))
    else:
        time.sleep(_SECONDS_AFTER_SIGNAL if error.exit_code == EXIT_PREEMPTED else _SECONDS_TO_TELL)
    return error.exit_code


@contextlib.contextmanager
def heard_if_alone() -> Iterator[None]:
    """Let a process tell a mistake that the first one has not met within some seconds.

    For work in which processes do not ask each other: nobody knows who has met a mistake.
    """
    try:
        yield
    except PipelineError as error:
        if not is_first_process():
            # Had the first one met it too, this one would be ended now.
            time.sleep(_SECONDS_TO_TELL)
            error.is_of_one_process = True
        raise


def is_first_process() -> bool:
    """Return whether this is the first of all processes, as launchers number them."""
    return os.environ.get("RANK", "0") == "0"


def leave_process(code: int) -> NoReturn:
    """End this process with an exit code, when all its work is done.

    One that has been in a group ends without the destructors of that network: what still refers
    to it keeps threads alive, and they end the interpreter with SIGABRT now and then. Threads are
    waited for and exit functions are called, as the interpreter does it.
    """
    if _was_one_of_several or _count_members() > 1:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)
