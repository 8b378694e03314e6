"""From rows to examples: one by one, or a batch at a time by columns where that can be."""

from __future__ import annotations

import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar, cast

import numpy as np
import pyarrow as pa

from pipeline.annotations.columns import paths_used
from pipeline.annotations.field_values import compile_fields
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.paths import Scope
from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.annotations.task_kinds import CLUSTER, NO_INPUTS
from pipeline.examples.columnar import Encoded, columnar_plan
from pipeline.examples.encoding import ROW, DraftExample, encode_batch, example_schema
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.examples.usable import unusable
from pipeline.sources.batches import RowBatch
from pipeline.types import Json

BATCH_ROWS = 1000
"""Rows normalised at a time where they are made one by one."""

SideFile = Callable[[str], Sequence[dict[str, Json]]]

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


@dataclass(slots=True)
class RowCounts:
    """What became of the rows of a split."""

    num_rows: int = 0
    """Source rows, those left out included."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows that gave no example, by reason."""
    changed: Counter[str] = field(default_factory=Counter)
    """Rows whose DNA was not over `ACGTN` as it stood, by what was changed."""

    def add(self, other: RowCounts) -> None:
        """Add the counts of other rows."""
        self.num_rows += other.num_rows
        self.skipped.update(other.skipped)
        self.changed.update(other.changed)


class ExampleMaker:
    """Makes examples of rows and counts those that give none."""

    def __init__(
        self, annotation: DatasetAnnotation, class_names: Sequence[str] | None, counts: RowCounts
    ) -> None:
        """Compile the fields of `annotation`.

        Raises:
            AnnotationError: They cannot be compiled.
        """
        self.annotation = annotation
        self.counts = counts
        self.schema = examples_schema(annotation)
        self._compute = compile_fields(annotation, REGISTERED_FUNCTIONS, class_names=class_names)

    def batches(self, rows: Iterable[tuple[int | str, Scope]]) -> Iterator[pa.RecordBatch]:
        """Yield the examples of rows; at most `BATCH_ROWS` rows are held at a time."""
        rows = iter(rows)
        while group := list(itertools.islice(rows, BATCH_ROWS)):
            yield self._batch(group)

    def _batch(self, rows: Iterable[tuple[int | str, Scope]]) -> pa.RecordBatch:
        drafts: list[DraftExample] = []
        for row, scope in rows:
            try:
                drafts.append(self._draft(str(row), scope))
            except RowSkipped as skipped:
                self.counts.skipped[skipped.reason] += 1
        return encode_batch(drafts, self.schema, self.counts.skipped)

    def _draft(self, row: str, scope: Scope) -> DraftExample:
        values = self._compute(scope, row)
        reason = unusable(self.annotation, values)
        if reason is not None:
            raise RowSkipped(reason)
        self.counts.changed.update(cast("list[str]", values.get("changed", [])))
        return DraftExample(
            row=row,
            inputs=cast("dict[str, Json]", values["inputs"]),
            target=values["target"],
            choices=cast("list[str] | None", values["choices"]),
            cluster=values.get(CLUSTER),
        )


class BatchMaker:
    """Makes the examples of batches of rows, each by itself and in any order.

    Only for annotations whose operations treat each row by itself.
    """

    def __init__(
        self,
        annotation: DatasetAnnotation,
        class_names: Sequence[str] | None,
        side_file: SideFile,
    ) -> None:
        """Compile the operations and fields of `annotation`.

        Raises:
            AnnotationError: They cannot be compiled.
        """
        self.columns = needed_columns(annotation)
        """Columns of the source that are read."""
        self.counts = RowCounts()
        """Of the batches made so far; whoever takes them may empty it."""
        self._maker = ExampleMaker(annotation, class_names, self.counts)
        self._plan = columnar_plan(annotation, class_names)
        self._pipeline = RowPipeline(
            annotation, functions=REGISTERED_FUNCTIONS, side_file=side_file
        )

    @property
    def is_columnar(self) -> bool:
        """Whether plain rows need no Python object each."""
        return self._plan is not None

    def encode(self, batch: RowBatch) -> Encoded | None:
        """Return what the columns of a batch become; safe to call from several threads."""
        if self._plan is None:
            return None
        columns = batch.columns()
        if columns is None:
            return None
        return self._plan.encode(batch.numbers, columns, self._maker.schema)

    def make(self, batch: RowBatch, encoded: Encoded | None) -> Iterator[pa.RecordBatch]:
        """Yield the examples of a batch in the order of its rows, and count them.

        Args:
            batch: The rows.
            encoded: From `encode`.

        Raises:
            AnnotationError: A row holds a value that the annotation does not know.
            SourceError: A row cannot be read.
        """
        if encoded is None:
            yield from self._by_rows(batch.rows())
        else:
            self.counts.skipped.update(encoded.skipped)
            wanted = frozenset(encoded.left.tolist())
            singly = list(self._by_rows(batch.rows(wanted))) if wanted else []
            yield _in_order(encoded, singly)
        self.counts.num_rows += len(batch.numbers)
        self.counts.skipped.update(batch.skipped)

    def _by_rows(self, rows: Iterable[tuple[int, Scope]]) -> Iterator[pa.RecordBatch]:
        yield from self._maker.batches(self._pipeline.run("train", lambda _: rows))
        self.counts.skipped.update(self._pipeline.skipped)
        self._pipeline.skipped.clear()


def examples_schema(annotation: DatasetAnnotation) -> pa.Schema:
    """Return the Arrow columns of a task's examples."""
    inputs = [name for name in annotation.fields if name not in NO_INPUTS]
    return example_schema(
        inputs,
        has_choices=annotation.rules.has_choices,
        has_cluster=CLUSTER in annotation.fields,
    )


def needed_columns(annotation: DatasetAnnotation) -> tuple[str, ...]:
    """Return the columns of the source that an annotation reads."""
    return tuple(sorted({use.path.root for use in paths_used(annotation)}))


def prefetched(
    items: Iterable[_Item], compute: Callable[[_Item], _Result], *, num_threads: int
) -> Iterator[tuple[_Item, _Result]]:
    """Yield `(item, compute(item))` in order while threads compute the next few.

    At most `2 * num_threads` items are held.
    """
    pending: deque[tuple[_Item, Future[_Result]]] = deque()
    with ThreadPoolExecutor(num_threads, thread_name_prefix="examples") as threads:
        try:
            for item in items:
                pending.append((item, threads.submit(compute, item)))
                if len(pending) >= 2 * num_threads:
                    done, future = pending.popleft()
                    yield done, future.result()
            while pending:
                done, future = pending.popleft()
                yield done, future.result()
        finally:
            for _, future in pending:
                future.cancel()


def _in_order(encoded: Encoded, singly: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """Return the examples of a batch with those that were made singly in their places."""
    if not any(batch.num_rows for batch in singly):
        return encoded.examples
    numbers = [np.asarray(batch.column(ROW).cast(pa.int64())) for batch in singly]
    order = np.argsort(np.concatenate([encoded.numbers, *numbers]), kind="stable")
    table = pa.Table.from_batches([encoded.examples, *singly]).take(pa.array(order))
    return table.combine_chunks().to_batches()[0]
