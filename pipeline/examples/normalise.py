"""From the rows of a source to the examples of one split of a task."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import pyarrow as pa

from pipeline.annotations.columns import check_columns
from pipeline.annotations.paths import Scope, parse_path
from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.row_operations import CapPer, Holdout, Lookup, SplitBy, Unique
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import raise_all
from pipeline.examples.columnar import Encoded
from pipeline.examples.making import (
    BatchMaker,
    ExampleMaker,
    RowCounts,
    SideFile,
    needed_columns,
    prefetched,
)
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.examples.workers import Job, made_by_processes
from pipeline.sources.batches import RowBatch
from pipeline.sources.rows import RowTable
from pipeline.types import SPLITS, Split

MAX_THREADS = 4
"""Threads that read and encode columns ahead of the writer."""
FIRST_BATCHES, SLOW_SECONDS = 16, 1.0
"""Other processes take over where the first batches needed longer than it takes to start them."""


def splits_made(annotation: DatasetAnnotation) -> tuple[Split, ...]:
    """Return the splits that the examples of a task have, made by `split_by` or by the source."""
    made = set(annotation.splits.present())
    for operation in annotation.rows:
        if isinstance(operation, SplitBy):
            made |= {"validation"} if operation.validation else set()
            made |= {"test"} if operation.test else set()
    return tuple(split for split in SPLITS if split in made)


def splits_read(annotation: DatasetAnnotation, split: Split) -> tuple[Split, ...]:
    """Return the splits whose rows must be read to make `split`."""
    across = any(
        op.deals_to(split) if isinstance(op, SplitBy) else isinstance(op, Unique | Holdout)
        for op in annotation.rows
    )
    present = annotation.splits.present()
    return present if across else tuple(name for name in present if name == split)


def compares_rows(annotation: DatasetAnnotation) -> bool:
    """Return whether an operation compares rows, so that they cannot be made in any order."""
    comparing = Unique | Holdout | SplitBy | CapPer
    return any(isinstance(operation, comparing) for operation in annotation.rows)


def recorded_class_names(
    annotation: DatasetAnnotation, tables: Iterable[RowTable]
) -> tuple[str, ...] | None:
    """Return the class names that the data record for the target, if they do."""
    path = annotation.label_path()
    if path is None:
        return None
    root = parse_path(path).root
    for table in tables:
        if root in table.class_names:
            return table.class_names[root]
    return None


@dataclass(frozen=True, slots=True)
class Work:
    """The examples of one split that are to be made."""

    annotation: DatasetAnnotation
    split: Split
    tables: Mapping[Split, RowTable]
    """Rows of every split in `splits_read`."""
    class_names: tuple[str, ...] | None = None
    """Labels recorded with the data or found in it, for an annotation that lists none."""
    num_proc: int = 1
    """Processes for a large source; the examples do not depend on it."""


def example_batches(
    work: Work, *, side_file: SideFile, counts: RowCounts
) -> Iterator[pa.RecordBatch]:
    """Yield the examples of one split as record batches, before any cap, in source order.

    Args:
        work: What to make.
        side_file: Reads the files that `lookup` names.
        counts: Filled while batches are taken; complete at the end.

    Raises:
        AnnotationError: A path leads to nothing, or a value is not provided for.
        SourceError: A row cannot be read, or a process died.
    """
    annotation, tables = work.annotation, work.tables
    for name, table in tables.items():
        columns = table.features or table.column_names
        raise_all(check_columns(annotation, columns, split=name))
    if compares_rows(annotation) or work.split not in tables:
        maker = ExampleMaker(annotation, work.class_names, counts)
        yield from _across_rows(maker, work.split, tables, side_file)
    else:
        yield from _by_batch(work, side_file, counts)


def _by_batch(work: Work, side_file: SideFile, counts: RowCounts) -> Iterator[pa.RecordBatch]:
    annotation = work.annotation
    maker = BatchMaker(annotation, work.class_names, side_file)
    batches = work.tables[work.split].batches(maker.columns)
    start = time.perf_counter()
    yield from _here(maker, itertools.islice(batches, FIRST_BATCHES))
    if work.num_proc > 1 and time.perf_counter() - start > SLOW_SECONDS:
        lookups = [op for op in annotation.rows if isinstance(op, Lookup)]
        job = Job(annotation, work.class_names, {op.file: side_file(op.file) for op in lookups})
        yield from made_by_processes(batches, job, counts, num_proc=work.num_proc)
    else:
        yield from _here(maker, batches)
    counts.add(maker.counts)


def _here(maker: BatchMaker, batches: Iterator[RowBatch]) -> Iterator[pa.RecordBatch]:
    """Yield the examples of batches, made in this process."""
    ahead: Iterator[tuple[RowBatch, Encoded | None]] = ((batch, None) for batch in batches)
    if maker.is_columnar:
        ahead = prefetched(batches, maker.encode, num_threads=_num_threads())
    for batch, encoded in ahead:
        yield from maker.make(batch, encoded)


def _num_threads() -> int:
    """Return how many threads read ahead; Arrow does its work outside of Python's lock."""
    return min(MAX_THREADS, len(os.sched_getaffinity(0)))


def _across_rows(
    maker: ExampleMaker, split: Split, tables: Mapping[Split, RowTable], side_file: SideFile
) -> Iterator[pa.RecordBatch]:
    annotation, counts = maker.annotation, maker.counts
    pipeline = RowPipeline(annotation, functions=REGISTERED_FUNCTIONS, side_file=side_file)
    needed = needed_columns(annotation)
    num_read: dict[Split, int] = {}

    def open_split(of: Split) -> Iterator[tuple[int, Scope]]:
        num_read[of] = 0
        for number, row in tables[of].numbered(needed) if of in tables else ():
            num_read[of] += 1
            yield number, row

    yield from maker.batches(pipeline.run(split, open_split))
    is_resplit = any(isinstance(operation, SplitBy) for operation in annotation.rows)
    for name, table in tables.items():
        if name == split or is_resplit:
            counts.num_rows += num_read.get(name, 0) + table.skipped.total()
            counts.skipped.update(table.skipped)
    counts.skipped.update(pipeline.skipped)
