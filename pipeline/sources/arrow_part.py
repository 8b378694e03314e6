"""Parquet files and Arrow tables as batches of rows."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.sources.batches import Row, RowBatch
from pipeline.sources.features import holds_json
from pipeline.sources.guards import read_errors
from pipeline.sources.remote import DataFile, open_bytes

if TYPE_CHECKING:
    import datasets

BATCH_ROWS = 2000
"""Rows held at a time; bounds the memory of reading."""

OpenBatches = Callable[[Sequence[str]], Iterator[pa.RecordBatch]]


class ArrowPart:
    """Rows that exist as Arrow record batches, read anew on every iteration."""

    def __init__(
        self,
        schema: pa.Schema,
        num_rows: int,
        open_batches: OpenBatches,
    ) -> None:
        """Keep how to read.

        Args:
            schema: Columns and their types.
            num_rows: Number of rows.
            open_batches: Reads the named columns in order.
        """
        self.schema = schema
        self.num_seen = num_rows
        self._open_batches = open_batches
        self._json_schema = schema if holds_json(schema) else None

    def column_names(self) -> Sequence[str]:
        """All columns."""
        return list(self.schema.names)

    def count_rows(self) -> int:
        """Number of rows."""
        return self.num_seen

    def batches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        """Yield the rows in order, with the named columns where they exist."""
        names = [name for name in self.schema.names if columns is None or name in columns]
        first_row = 0
        for batch in self._open_batches(names):
            yield RowBatch(
                range(first_row, first_row + batch.num_rows),
                functools.partial(_rows, batch, first_row, self._json_schema),
                functools.partial(_columns, batch, self._json_schema),
            )
            first_row += batch.num_rows


def open_parquet(path: DataFile) -> ArrowPart:
    """Open one Parquet file.

    Raises:
        SourceError: The file is damaged.
    """
    with read_errors(path), open_bytes(path) as stream, pq.ParquetFile(stream) as file:
        schema, num_rows = file.schema_arrow, file.metadata.num_rows

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        num_read = 0
        with (
            read_errors(path),
            open_bytes(path) as stream,
            pq.ParquetFile(stream, page_checksum_verification=True) as file,
        ):
            for batch in file.iter_batches(BATCH_ROWS, columns=list(columns), use_threads=False):
                num_read += batch.num_rows
                yield batch
            if columns and num_read != num_rows:
                # Arrow ends without an error at some damaged pages.
                raise OSError(f"{num_read} of {num_rows} rows can be read")

    return ArrowPart(schema, num_rows, read)


def part_of_dataset(dataset: datasets.Dataset) -> ArrowPart:
    """Wrap a `datasets.Dataset`."""
    plain = dataset.with_format("arrow")

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for table in plain.select_columns(list(columns)).iter(batch_size=BATCH_ROWS):
            yield from table.combine_chunks().to_batches()

    return ArrowPart(dataset.features.arrow_schema, len(dataset), read)


def _rows(
    batch: pa.RecordBatch,
    first_row: int,
    json_schema: pa.Schema | None,
    only: Container[int] | None = None,
    *,
    skipped: Counter[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    del skipped  # nothing is left out
    numbers = range(first_row, first_row + batch.num_rows)
    if only is not None:
        numbers = [number for number in numbers if number in only]  # type: ignore[assignment]
        batch = batch.take(pa.array([number - first_row for number in numbers], pa.int64()))
    rows = zip(numbers, _without_foreign_types(batch).to_pylist(), strict=True)
    if json_schema is None:
        return rows
    decode = _json_decoder(json_schema)
    return ((number, decode(row)) for number, row in rows)


def _columns(batch: pa.RecordBatch, json_schema: pa.Schema | None) -> pa.RecordBatch | None:
    return _without_foreign_types(batch) if json_schema is None else None


@functools.lru_cache(maxsize=16)
def _json_decoder(schema: pa.Schema) -> Callable[[Row], Row]:
    """Return a function that turns the text of `Json` columns into values."""
    import datasets

    decode: Callable[[Row], Row] = datasets.Features.from_arrow_schema(schema).decode_example
    return decode


def _without_foreign_types(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Turn top-level times, decimals and the like, which JSON lacks, into text."""
    columns: list[Any] = []
    for column in batch.columns:
        kind = column.type
        is_foreign = pa.types.is_temporal(kind) or pa.types.is_decimal(kind)
        columns.append(column.cast(pa.string()) if is_foreign else column)
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)
