"""Loader processes outlive signals that are sent to all processes of a job.

Batch systems send SIGTERM to every process some time before they kill; the one that trains then
saves, and needs its loaders until it has.
"""

from __future__ import annotations

import os
import signal
import threading

from pipeline.process_group import STOP_SIGNALS


def obey_parent_only(worker: int) -> None:
    """Let nobody but the parent end this process by a signal; a loader's `worker_init_fn`.

    Torch itself ends a loader by SIGTERM where it does not end by itself, and a loader whose
    parent is gone ends on its own.
    """
    del worker
    if not hasattr(signal, "sigwaitinfo"):
        return
    signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    while signal.sigwaitinfo(STOP_SIGNALS).si_pid != os.getppid():
        pass
    os._exit(0)
