"""Parquet files and Arrow tables as batches of rows."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import SourceError
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
        *,
        where: str = "",
    ) -> None:
        """Keep how to read.

        Args:
            schema: Columns and their types.
            num_rows: Number of rows.
            open_batches: Reads the named columns in order.
            where: The file, for messages.
        """
        self.schema = schema
        self.num_seen = num_rows
        self._open_batches = open_batches
        self._where = where
        self._json_schema = schema if holds_json(schema) else None

    def column_names(self) -> Sequence[str]:
        """All columns."""
        return list(self.schema.names)

    def count_rows(self) -> int:
        """Number of rows."""
        return self.num_seen

    def batches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        """Yield the rows in order, with the named columns where they exist.

        Columns of bytes, which are no JSON, are left out unless they are named.

        Raises:
            SourceError: A named column holds bytes.
        """
        bytes_in = {field.name for field in self.schema if _holds_bytes(field.type)}
        if columns is None:
            names = [name for name in self.schema.names if name not in bytes_in]
        else:
            names = [name for name in self.schema.names if name in columns]
        if wrong := sorted(bytes_in.intersection(names)):
            raise SourceError(
                "SRC206",
                f"column {wrong[0]!r} holds bytes, such as a picture, which are no text",
                where=self._where or None,
                hint="Read another column, or store the data as text",
            )
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

    return ArrowPart(schema, num_rows, read, where=str(path))


def part_of_dataset(dataset: datasets.Dataset, *, where: str = "") -> ArrowPart:
    """Wrap a `datasets.Dataset` that was read from the file `where`."""
    plain = dataset.with_format("arrow")

    def read(columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
        for table in plain.select_columns(list(columns)).iter(batch_size=BATCH_ROWS):
            yield from table.combine_chunks().to_batches()

    return ArrowPart(dataset.features.arrow_schema, len(dataset), read, where=where)


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
    """Turn times, decimals and the like, which JSON lacks, into text, inside of columns too.

    Short floats become the number that their shortest decimal spells, 0.1 and not 0.10000000149.
    """
    columns: list[Any] = []
    for column in batch.columns:
        text = _with_leaves(column.type, lambda kind: pa.string() if _is_foreign(kind) else kind)
        plain = _with_leaves(column.type, _plain_leaf)
        if text != column.type:
            column = column.cast(text)
        columns.append(column if plain == text else column.cast(plain))
    return pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _is_foreign(kind: pa.DataType) -> bool:
    is_time = pa.types.is_temporal(kind) or pa.types.is_decimal(kind)
    return is_time or pa.types.is_float32(kind) or pa.types.is_float16(kind)


def _plain_leaf(kind: pa.DataType) -> pa.DataType:
    if not _is_foreign(kind):
        return kind
    return pa.float64() if pa.types.is_floating(kind) else pa.string()


def _with_leaves(kind: pa.DataType, leaf: Callable[[pa.DataType], pa.DataType]) -> pa.DataType:
    """Return a type with `leaf` of each scalar type inside of it."""
    if pa.types.is_struct(kind):
        members = [kind.field(index) for index in range(kind.num_fields)]
        return pa.struct([field.with_type(_with_leaves(field.type, leaf)) for field in members])
    if pa.types.is_map(kind):
        return pa.map_(_with_leaves(kind.key_type, leaf), _with_leaves(kind.item_type, leaf))
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(_with_leaves(kind.value_type, leaf)))
    if pa.types.is_list(kind) or pa.types.is_fixed_size_list(kind):
        field = kind.value_field.with_type(_with_leaves(kind.value_type, leaf))
        return pa.list_(field, kind.list_size if pa.types.is_fixed_size_list(kind) else -1)
    if pa.types.is_dictionary(kind):
        return kind if leaf(kind.value_type) == kind.value_type else leaf(kind.value_type)
    return leaf(kind)


def _holds_bytes(kind: pa.DataType) -> bool:
    found: list[pa.DataType] = []

    def note(leaf: pa.DataType) -> pa.DataType:
        found.append(leaf)
        return leaf

    _with_leaves(kind, note)
    return any(
        pa.types.is_binary(leaf)
        or pa.types.is_large_binary(leaf)
        or pa.types.is_fixed_size_binary(leaf)
        for leaf in found
    )
