"""The same work in this process or spread over several, with all mistakes told at once."""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

from pipeline.errors import MixtureError, PipelineError, PipelineErrors, raise_all
from pipeline.examples.workers import process_pool

WorkerT = TypeVar("WorkerT")
ValueT = TypeVar("ValueT")
ResultT = TypeVar("ResultT")

Done = Callable[[int], None]
"""Called with the number of values that are done, in order."""

_worker: Any = None
"""The worker of a helping process."""


class Crew(Generic[WorkerT]):
    """A worker in this process and, once there is much to do, its copies in others.

    Use as a context manager; the other processes end with it.
    """

    def __init__(
        self,
        start: Callable[[], WorkerT],
        *,
        worker: WorkerT | None = None,
        most_workers: int = 1,
    ) -> None:
        """Nothing is started yet.

        Args:
            start: Makes a worker; travels to the other processes, so it must be picklable.
            worker: The worker of this process; made by `start` when left out.
            most_workers: Processes that may work at a time.
        """
        self.worker = start() if worker is None else worker
        self._start = start
        self._most_workers = most_workers
        self._pool: ProcessPoolExecutor | None = None
        self._ends = contextlib.ExitStack()

    def __enter__(self) -> Self:
        """Return the crew."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End the other processes; after an error, without finishing what waits."""
        self._ends.__exit__(kind, error, traceback)

    def run(
        self,
        method: Callable[[WorkerT, ValueT], ResultT],
        values: Sequence[ValueT],
        *,
        is_much: bool,
        done: Done | None = None,
    ) -> list[ResultT]:
        """Return `method(worker, value)` for every value, in order.

        Args:
            method: A method of the worker's class.
            values: What to call it with.
            is_much: Whether the work pays for starting other processes.
            done: Told how many values are done.

        Raises:
            PipelineError: One value failed, or a process was killed (MIX007).
            PipelineErrors: Several values failed; all errors, each once.
        """
        is_spread = is_much and len(values) > 1 and self._most_workers > 1
        results = self._spread(method, values) if is_spread else self._here(method, values)
        return all_or_errors(_told(results, done))

    def _here(
        self, method: Callable[[WorkerT, ValueT], ResultT], values: Sequence[ValueT]
    ) -> Iterator[Callable[[], ResultT]]:
        for value in values:
            yield functools.partial(method, self.worker, value)

    def _spread(
        self, method: Callable[[WorkerT, ValueT], ResultT], values: Sequence[ValueT]
    ) -> Iterator[Callable[[], ResultT]]:
        if self._pool is None:
            pool = process_pool(self._most_workers, _start_worker, self._start, where="prepare")
            self._pool = self._ends.enter_context(pool)
        futures = [self._pool.submit(_call_worker, method, value) for value in values]
        for future in futures:
            yield future.result


def all_or_errors(outcomes: Iterator[Callable[[], ResultT]]) -> list[ResultT]:
    """Return what all outcomes give.

    Raises:
        PipelineError: One of them failed, or a helping process was killed (MIX007).
        PipelineErrors: Several failed; all errors, each once.
    """
    results: list[ResultT] = []
    errors: dict[str, PipelineError] = {}
    for outcome in outcomes:
        try:
            results.append(outcome())
        except PipelineErrors as several:
            errors |= {str(error): error for error in several.errors}
        except PipelineError as error:
            errors[str(error)] = error
        except BrokenProcessPool as error:
            raise MixtureError(
                "MIX007",
                "a process that prepared data was killed, probably for want of memory",
                where="prepare",
                hint="Use fewer processes: dataset_num_proc in the recipe, or --workers",
            ) from error
    raise_all(list(errors.values()))
    return results


def _told(
    outcomes: Iterator[Callable[[], ResultT]], done: Done | None
) -> Iterator[Callable[[], ResultT]]:
    for num_done, outcome in enumerate(outcomes, start=1):
        yield outcome
        if done is not None:
            done(num_done)


def _start_worker(start: Callable[[], object]) -> None:
    global _worker
    # All processes together have the cores, not each of them.
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker = start()


def _call_worker(method: Callable[[Any, ValueT], ResultT], value: ValueT) -> ResultT:
    return method(_worker, value)
