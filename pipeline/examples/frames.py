"""A batch of rows as columns, while the values of fields are computed from it.

A column is an Arrow array of a type that is handled as a whole (`ARROW_TYPES`), or a list of JSON
values. Whatever happens to a row that is not plain sailing (a null, a value nobody provided for)
is not decided here: the row is left to the way by rows, which knows the reasons.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations.outcomes import RowSkipped
from pipeline.errors import AnnotationError
from pipeline.types import Json

Cells: TypeAlias = "pa.Array | list[Json]"
"""A column: an Arrow array, or one JSON value per row."""

Mask = npt.NDArray[np.bool_]


class NotPlain(Exception):
    """A batch that must be normalised row by row as a whole."""


class Frame:
    """Columns of equally many rows; rows that are left are computed on, but their values unused."""

    def __init__(self, numbers: npt.NDArray[np.int64], columns: dict[str, Cells]) -> None:
        """Keep the columns.

        Args:
            numbers: Row numbers `[N]`.
            columns: Name to `N` values.
        """
        self.numbers = numbers
        self.columns = columns
        self.left: Mask = np.zeros(len(numbers), dtype=np.bool_)
        """Rows `[N]` for the way by rows."""

    @classmethod
    def of(cls, numbers: Sequence[int], batch: pa.RecordBatch) -> Frame:
        """Return the frame of a record batch."""
        names = batch.schema.names
        columns = dict(zip(names, map(_handled, batch.columns), strict=True))
        return cls(np.asarray(numbers, dtype=np.int64), columns)

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.numbers)

    def column(self, name: str) -> Cells:
        """Return a column; rows have null where there is none of that name."""
        return self.columns[name] if name in self.columns else [None] * len(self)

    def leave(self, mask: pa.Array | Mask) -> None:
        """Leave the rows of `mask` `[N]` (null counts as yes) to the way by rows."""
        self.left |= mask if isinstance(mask, np.ndarray) else truths(mask, null=True)

    def filtered(self, keep: Mask) -> Frame:
        """Return the rows of `keep` `[N]`."""
        if keep.all():
            return self
        chosen = pa.array(keep)
        columns = {name: _filtered(cells, keep, chosen) for name, cells in self.columns.items()}
        frame = Frame(self.numbers[keep], columns)
        frame.left = self.left[keep]
        return frame

    def computed(self, roots: Sequence[str], compute: Callable[..., Json]) -> Cells:
        """Return `compute(*values)` for the values of each row in the columns `roots`.

        Where it refuses a row, the row is left. Over one column it is called once per distinct
        value, so it must depend on nothing else.
        """
        if len(roots) == 1:
            return self.by_value(self.column(roots[0]), compute)
        columns = [as_list(self.column(root)) for root in roots]
        rows = zip(*columns, strict=True) if roots else itertools.repeat((), len(self))
        values, refused = _each(compute, rows)
        self.left[refused] = True
        return cells_of(values)

    def by_value(self, cells: Cells, compute: Callable[[Json], Json]) -> Cells:
        """Return `compute(value)` for each value of a column; rows it refuses are left."""
        if isinstance(cells, list) or not _has_exact_equality(cells.type):
            values, refused = _each(compute, ((value,) for value in as_list(cells)))
            self.left[refused] = True
            return cells_of(values)
        coded = cells.dictionary_encode(null_encoding="encode")
        distinct = coded.dictionary.to_pylist()
        values, refused = _each(compute, ((value,) for value in distinct))
        indices = coded.indices
        if refused:
            is_refused = np.zeros(len(distinct), dtype=np.bool_)
            is_refused[refused] = True
            self.left |= is_refused[indices.to_numpy()]
        made = cells_of(values)
        if isinstance(made, list):
            return [made[index] for index in indices.to_pylist()]
        return made.take(indices)


def as_list(cells: Cells) -> list[Json]:
    """Return the values of a column."""
    return cells if isinstance(cells, list) else cast("list[Json]", cells.to_pylist())


def truths(mask: pa.Array, *, null: bool = False) -> Mask:
    """Return a Boolean array `[N]` with nulls replaced."""
    return np.asarray(pc.fill_null(mask, null).to_numpy(zero_copy_only=False), dtype=np.bool_)


def cells_of(values: list[Json]) -> Cells:
    """Return values as an Arrow array where they are of one plain type, nulls aside.

    Raises:
        NotPlain: A text is not valid Unicode.
    """
    kinds = set(map(type, values)) - {type(None)}
    kind = _PYTHON_TYPES.get(kinds.pop()) if len(kinds) == 1 else None
    if kind is None:
        return values
    try:
        return pa.array(values, type=kind)
    except OverflowError:
        return values
    except (UnicodeEncodeError, pa.ArrowException) as error:
        raise NotPlain from error


def list_of_texts(kind: pa.DataType) -> bool:
    """Return whether a column holds lists of texts."""
    return pa.types.is_list(kind) and pa.types.is_string(kind.value_type)


_PYTHON_TYPES = {str: pa.string(), bool: pa.bool_(), int: pa.int64()}


def _has_exact_equality(kind: pa.DataType) -> bool:
    """Return whether equal values are the same value; 0.0 and -0.0 are not."""
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def _handled(column: pa.Array) -> Cells:
    """Return a column with few types left to care about."""
    kind = column.type
    if pa.types.is_large_string(kind) or (
        pa.types.is_dictionary(kind) and pa.types.is_string(kind.value_type)
    ):
        return column.cast(pa.string())
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return column.cast(pa.int64())
    if pa.types.is_large_list(kind) and not pa.types.is_nested(kind.value_type):
        return column.cast(pa.list_(kind.value_type))
    is_kept = (
        pa.types.is_string(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_float64(kind)
        or pa.types.is_list(kind)
        or pa.types.is_struct(kind)
    )
    return column if is_kept else column.to_pylist()


def _filtered(cells: Cells, keep: Mask, chosen: pa.Array) -> Cells:
    if isinstance(cells, list):
        return list(itertools.compress(cells, keep))
    return cells.filter(chosen)


def _each(
    compute: Callable[..., Json], rows: Iterable[tuple[Json, ...]]
) -> tuple[list[Json], list[int]]:
    """Return the computed values, null for refused rows, and the positions of those."""
    values: list[Json] = []
    refused: list[int] = []
    for row in rows:
        try:
            values.append(compute(*row))
        except (RowSkipped, AnnotationError):
            refused.append(len(values))
            values.append(None)
    return values, refused
