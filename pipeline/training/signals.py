"""Stopping on a signal: the processes agree, save and leave with the exit code for a requeue.

A batch system sends SIGTERM or SIGUSR1 some time before it kills; `taskloom` then finishes its
step, saves a checkpoint and exits 75 (EX_TEMPFAIL). A second signal exits at once.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from pipeline.errors import EXIT_INTERRUPTED, EXIT_PREEMPTED, TrainingError
from pipeline.process_group import STOP_SIGNALS, is_first_process

SAME_EVENT_SECONDS = 2.0
"""Launchers hand on the signal that the batch system also sent to each process: what comes this
soon after the first one is the same wish, not a second."""


def leave_at_signals() -> None:
    """Leave at once at a signal, with the exit code for a requeue, until `StopSignals` handle it.

    For a process that still imports: nothing is written yet. Not an exception, as libraries catch
    those when they look for what may be missing.
    """
    for each in STOP_SIGNALS:
        signal.signal(each, _leave)
    # A shell that starts a job in the background has Ctrl-C ignored.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave_interrupted)


def _leave_interrupted(number: int, frame: FrameType | None) -> None:
    if is_first_process():
        os.write(2, b"interrupted before the first step; nothing was written\n")
    os._exit(EXIT_INTERRUPTED)


def interrupted_text(run: Path) -> str:
    """Return what Ctrl-C leaves of a run: unlike a signal of a batch system it saves nothing.

    Args:
        run: Its folder.
    """
    # What it imports in turn must not come before `leave_at_signals`.
    from pipeline.training.checkpoint_folders import list_checkpoints

    checkpoints = list_checkpoints(run)
    kept = (
        f"go on from {checkpoints[-1]} with `taskloom resume {run}`"
        if checkpoints
        else "there is no checkpoint to go on from"
    )
    return f"interrupted; {kept}. SIGTERM in place of Ctrl-C saves the last step"


def _leave(number: int, frame: FrameType | None) -> None:
    if is_first_process():
        error = stopped(signal.Signals(number).name, step=0, checkpoint=None)
        os.write(2, f"{error}\n".encode())
    os._exit(EXIT_PREEMPTED)


class TrainingStopped(TrainingError):
    """A signal stopped the run; nothing is lost."""

    exit_code = EXIT_PREEMPTED


class StopSignals:
    """Remembers a signal until the training loop asks for it."""

    def __init__(self) -> None:
        """Start without a signal."""
        self.received: str | None = None
        self.is_training = False
        """Whether a signal waits for the end of a step; before, it stops at once."""
        self._first_seconds = 0.0

    @property
    def name(self) -> str:
        """The signal received here, or that another process has received one."""
        return self.received or "a signal in another process"

    @contextlib.contextmanager
    def handled(self) -> Iterator[None]:
        """Handle the signals inside the block; outside the main thread it changes nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self._receive) for each in STOP_SIGNALS}
        if signal.getsignal(signal.SIGINT) is _leave_interrupted:
            before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            yield
        finally:
            self.is_training = False
            for each, handler in before.items():
                signal.signal(each, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.received is None:
            self.received, self._first_seconds = signal.Signals(number).name, now
            if not self.is_training:
                raise stopped(self.received, step=0, checkpoint=None)
        elif now - self._first_seconds > SAME_EVENT_SECONDS:
            # No clean-up: whoever asks twice does not want to wait, and nothing is half written.
            os._exit(EXIT_PREEMPTED)


def stopped(name: str, *, step: int, checkpoint: Path | None) -> TrainingStopped:
    """Return the error that ends a run after a signal.

    Args:
        name: The signal.
        step: Optimizer steps made.
        checkpoint: What was saved; `None` where nothing had been learned yet.
    """
    saved = "before the first step" if checkpoint is None else f"after step {step}, which is saved"
    return TrainingStopped(
        "TRN013",
        f"stopped by {name} {saved}",
        where=checkpoint or "training",
        hint="Go on with `--resume auto`",
    )
