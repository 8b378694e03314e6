"""Batches of rows made into examples by several processes, in the order of the source.

What a batch becomes depends on the batch alone, and batches do not depend on the number of
processes. So the examples are the same, byte for byte, however many processes make them. Processes
are started anew (`spawn`), because a fork of a process that holds threads or a GPU may hang.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import threading
import types
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import Any

import pyarrow as pa

from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import SourceError
from pipeline.examples.making import BatchMaker, RowCounts
from pipeline.sources.batches import RowBatch
from pipeline.types import Json

NUM_PROC_VARIABLE = "TASKLOOM_NUM_PROC"
MAX_AUTOMATIC = 8
"""More processes than this only when asked for: each holds its own copy of the libraries."""


@dataclass(frozen=True, slots=True)
class Job:
    """What every process must know before it can make examples."""

    annotation: DatasetAnnotation
    class_names: tuple[str, ...] | None
    side_files: Mapping[str, Sequence[dict[str, Json]]]
    """Rows of the files that `lookup` names."""

    def maker(self) -> BatchMaker:
        """Return the maker of this job's examples."""
        return BatchMaker(self.annotation, self.class_names, self.side_files.__getitem__)


def automatic_num_proc(given: int | None = None) -> int:
    """Return how many processes to use.

    Args:
        given: What the user asked for; else `TASKLOOM_NUM_PROC`, else one per usable core, at most
            `MAX_AUTOMATIC`. Training processes of one machine share the cores; a process that was
            itself started to help starts no others.

    Raises:
        SourceError: `TASKLOOM_NUM_PROC` is not a whole number from 1.
    """
    if given is not None:
        return given
    if multiprocessing.parent_process() is not None:
        return 1
    text = os.environ.get(NUM_PROC_VARIABLE)
    if not text:
        local_ranks = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        return min(MAX_AUTOMATIC, max(1, len(os.sched_getaffinity(0)) // local_ranks))
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise SourceError(
            "SRC160",
            f"a number of processes is needed, got {text!r}",
            where=NUM_PROC_VARIABLE,
            hint="Set it to a whole number from 1, or unset it",
        )
    return int(text)


def made_by_processes(
    batches: Iterable[RowBatch], job: Job, counts: RowCounts, *, num_proc: int
) -> Iterator[pa.RecordBatch]:
    """Yield the examples of batches in their order.

    Args:
        batches: The rows; at most `2 * num_proc` batches are held at a time.
        job: What the processes need.
        counts: Filled while batches are taken; complete at the end.
        num_proc: Number of processes.

    Raises:
        AnnotationError: A row holds a value that the annotation does not know.
        SourceError: A row cannot be read, or a process died.
    """
    with process_pool(num_proc, _start_batches, job, where=job.annotation.id) as pool:
        pending: deque[Future[tuple[list[pa.RecordBatch], RowCounts]]] = deque()
        for batch in batches:
            with _without_main_module():
                pending.append(pool.submit(_make_batch, batch))
            if len(pending) >= 2 * num_proc:
                yield from _taken(pending.popleft(), counts)
        while pending:
            yield from _taken(pending.popleft(), counts)


@contextlib.contextmanager
def process_pool(
    num_proc: int, start: Callable[[Any], None], argument: object, *, where: str
) -> Iterator[ProcessPoolExecutor]:
    """Give a pool of new processes, which end with the block, with this process, or on an error.

    Args:
        num_proc: Number of processes.
        start: Called in each of them with `argument`, before any work.
        argument: Is sent to every process once.
        where: What is being made, for messages.

    Raises:
        SourceError: A process died.
    """
    pool = ProcessPoolExecutor(
        num_proc,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_prepare,
        initargs=(start, argument),
    )
    try:
        yield pool
    except BrokenProcessPool as error:
        raise SourceError(
            "SRC161",
            f"one of {num_proc} processes died, so nothing was written",
            where=where,
            hint="It may have run out of memory: try fewer processes (dataset_num_proc in the "
            f"recipe, or {NUM_PROC_VARIABLE})",
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextlib.contextmanager
def _without_main_module() -> Iterator[None]:
    """Start processes that do not run the main script again: it may be slow, or unguarded."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _taken(
    future: Future[tuple[list[pa.RecordBatch], RowCounts]], counts: RowCounts
) -> list[pa.RecordBatch]:
    made, own = future.result()
    counts.add(own)
    return made


def _prepare(start: Callable[[Any], None], argument: object) -> None:
    """Set up a new process: the first one stops the others on Ctrl-C, none outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), daemon=True).start()
    start(argument)


def _end_with(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)


_maker: BatchMaker | None = None
"""Of this process, when it makes batches."""


def _start_batches(job: Job) -> None:
    global _maker
    _maker = job.maker()


def _make_batch(batch: RowBatch) -> tuple[list[pa.RecordBatch], RowCounts]:
    maker = _maker
    if maker is None:
        raise RuntimeError("this process was not started for batches")
    made = list(maker.make(batch, maker.encode(batch)))
    counts = RowCounts()
    counts.add(maker.counts)
    maker.counts.num_rows = 0
    maker.counts.skipped.clear()
    maker.counts.changed.clear()
    return made, counts
