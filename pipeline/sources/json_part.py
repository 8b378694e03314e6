"""A JSON Lines file as batches, with plain columns read by Arrow where that changes nothing.

Columns whose values are all of one plain type need no Python object per row. Arrow and Python's
`json` read such values the same; a block that Arrow refuses, or where it counts other rows, is
read row by row instead.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Sequence

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj

from pipeline.sources.batches import Row, RowBatch
from pipeline.sources.json_lines import MAX_ROW_BYTES, JsonLinesFile, LineBlock
from pipeline.types import Json

NAMING_ROWS = 1000
"""First rows that are looked at for column names."""
TYPING_ROWS = 100
"""First rows that decide the type of a column; later ones that differ are noticed."""


class JsonPart:
    """The rows of one JSON file."""

    def __init__(self, file: JsonLinesFile, convert: Callable[[Row], Row] | None) -> None:
        """Keep what to read.

        Args:
            file: The file.
            convert: Fits a row to the declared types, where there are any.
        """
        self._file = file
        self._convert = convert

    @property
    def num_seen(self) -> int:
        """Rows passed during the latest complete reading, those left out included."""
        return self._file.num_seen

    def column_names(self) -> Sequence[str]:
        """All columns, as far as the first rows show them."""
        rows = itertools.islice(self._file, NAMING_ROWS)
        return list(dict.fromkeys(name for _, row in rows for name in row))

    def count_rows(self) -> int:
        """Number of rows, those left out included."""
        return self._file.count_rows()

    def batches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        """Yield the rows in order; rows hold all columns, whatever `columns` says."""
        if self._file.is_array():
            yield RowBatch(range(self._file.count_rows()), self._array_rows, _no_columns)
            return
        first = itertools.islice(self._file, TYPING_ROWS) if columns else ()
        schema = plain_schema([row for _, row in first], columns or (), self._convert)
        for block in self._file.blocks():
            yield RowBatch(
                range(block.first_row, block.first_row + block.num_rows),
                functools.partial(self._block_rows, block),
                functools.partial(read_columns, block, schema),
            )

    def _array_rows(
        self, only: Container[int] | None = None, *, skipped: Counter[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        del skipped  # an array is read as a whole, however long its rows are
        rows = self._converted(iter(self._file))
        return ((number, row) for number, row in rows if only is None or number in only)

    def _block_rows(
        self,
        block: LineBlock,
        only: Container[int] | None = None,
        *,
        skipped: Counter[str] | None = None,
    ) -> Iterator[tuple[int, Row]]:
        return self._converted(self._file.rows_of(block, only, skipped=skipped))

    def _converted(self, rows: Iterable[tuple[int, Row]]) -> Iterator[tuple[int, Row]]:
        convert = self._convert
        if convert is None:
            return iter(rows)
        return ((number, convert(row)) for number, row in rows)


def plain_schema(
    rows: Sequence[Row], columns: Sequence[str], convert: Callable[[Row], Row] | None
) -> pa.Schema | None:
    """Return the Arrow types of columns, or `None` if one of them has no plain type.

    Args:
        rows: Some rows of the file.
        columns: The columns that are needed.
        convert: What is done to rows because of declared types; it must not change any value.
    """
    if convert is not None:
        fitted = [convert(row) for row in rows]
        if any(
            new.get(name) != row.get(name)
            for new, row in zip(fitted, rows, strict=True)
            for name in columns
        ):
            return None
    types = [_type_of([row[name] for row in rows if name in row]) for name in columns]
    if not types or any(kind is None for kind in types):
        return None
    return pa.schema(list(zip(columns, types, strict=True)))


def read_columns(block: LineBlock, schema: pa.Schema | None) -> pa.RecordBatch | None:
    """Return the columns of a block with one row per non-empty line, or `None` if Arrow cannot."""
    if schema is None or block.num_rows == 0 or block.max_bytes > MAX_ROW_BYTES:
        return None
    text = block.text
    try:
        if not text.isascii():
            text.decode("utf-8")  # Arrow does not check
        table = pj.read_json(
            pa.BufferReader(text),
            read_options=pj.ReadOptions(use_threads=False, block_size=len(text) + 1),
            parse_options=pj.ParseOptions(
                explicit_schema=schema, unexpected_field_behavior="ignore"
            ),
        )
    except (pa.ArrowException, UnicodeDecodeError):
        return None
    if table.num_rows != block.num_rows:
        return None
    batch = table.select(schema.names).combine_chunks().to_batches()[0]
    return None if any(map(_may_be_integers, batch.columns)) else batch


def _may_be_integers(column: pa.Array) -> bool:
    """Return whether a column of floats may have been written with integers among them.

    Python tells `1` from `1.0`; Arrow does not.
    """
    if not pa.types.is_floating(column.type):
        return False
    return bool(pc.any(pc.equal(pc.floor(column), column)).as_py())


def _no_columns() -> None:
    """Stand for the columns of a file that is read by rows."""


def _type_of(values: Sequence[Json]) -> pa.DataType | None:
    known = [value for value in values if value is not None]
    kinds = {type(value) for value in known}
    if not kinds:
        return pa.null()
    if kinds == {list}:
        inner = {type(item) for value in known if isinstance(value, list) for item in value}
        return pa.list_(pa.string()) if inner == {str} else None
    plain = {str: pa.string(), bool: pa.bool_(), int: pa.int64(), float: pa.float64()}
    return plain.get(kinds.pop()) if len(kinds) == 1 else None
