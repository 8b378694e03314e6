"""Makes several processes fail, or go on, together."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from accelerate.utils import gather_object

from pipeline.errors import PipelineError, TrainingError

if TYPE_CHECKING:
    from accelerate import PartialState

T = TypeVar("T")


class OneProcessError(TrainingError):
    """Met by one process alone; it leaves, and the launcher stops the others."""

    is_of_one_process = True


def run_together(state: PartialState, work: Callable[[], T], *, main_first: bool = False) -> T:
    """Do the same work in every process; a user's mistake met by any of them stops them all.

    Without this the others would wait for ever, or end in a traceback of the network library.

    Args:
        state: The group of processes.
        work: Must not exchange anything between processes itself.
        main_first: Let the first process of each machine go first, so that it fills the caches
            which the others then read.

    Raises:
        PipelineError: What the work raised here, or an error that names the process where it did.
    """
    if state.num_processes == 1:
        return work()
    results: list[T] = []
    rounds = (state.is_local_main_process, not state.is_local_main_process)
    for is_my_turn in rounds if main_first else (True,):
        error: PipelineError | None = None
        try:
            if is_my_turn:
                results.append(work())
        except PipelineError as raised:
            error = raised
        _raise_if_any(state, error)
    return results[0]


def run_in_first(state: PartialState, work: Callable[[], object]) -> None:
    """Do work in the first process of all; a user's mistake in it stops them all.

    Raises:
        PipelineError: See `run_together`.
    """
    run_together(state, lambda: work() if state.is_main_process else None)


def _raise_if_any(state: PartialState, error: PipelineError | None) -> None:
    mine = None if error is None else (str(error), error.exit_code)
    met: list[tuple[str, int] | None] = gather_object([mine])
    if error is not None:
        raise error
    for process, found in enumerate(met):
        if found is not None:
            text, exit_code = found
            raised = TrainingError(
                "TRN006",
                f"stopped because process {process} stopped: {text}",
                where=f"process {state.process_index}",
            )
            # The launcher takes the code of whichever process leaves first.
            raised.exit_code = exit_code
            raise raised


def tell_loader_death(work: Callable[[], T], tell: Callable[[], PipelineError]) -> T:
    """Do work; raise another error instead of what the death of a loader process leads to.

    Torch raises from a signal handler, wherever the process is: also while it handles the first
    sign of that death, a batch that was announced and is asked for in vain. It does so once.

    Args:
        work: Takes batches that other processes make.
        tell: Makes the error.
    """
    try:
        try:
            return work()
        except Exception as error:
            if not is_loader_death(error):
                raise
            raise tell() from error
    except RuntimeError as error:
        if not is_loader_death(error):
            raise
        raise tell() from error


def is_loader_death(error: BaseException | None) -> bool:
    """Return whether an error, or one it came of, says that a loader process was killed."""
    while error is not None:
        if isinstance(error, RuntimeError) and str(error).startswith("DataLoader worker (pid"):
            return True
        if isinstance(error, (ConnectionError, EOFError, FileNotFoundError)) and any(
            frame.f_code.co_name == "_try_get_data"
            for frame, _ in traceback.walk_tb(error.__traceback__)
        ):
            return True
        error = error.__cause__ or error.__context__
    return False
