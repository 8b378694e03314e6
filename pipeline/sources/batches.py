"""Rows in batches: what every kind of file gives, whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from pipeline.types import Json

Row = dict[str, Json]


class ReadRows(Protocol):
    """Reads `(row number, row)`, all rows or `only` some; those that are too large are left out."""

    def __call__(
        self, only: Container[int] | None = None, *, skipped: Counter[str] | None = None
    ) -> Iterator[tuple[int, Row]]:
        """Read the rows; `skipped` counts those that are left out, by reason."""
        ...


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Consecutive rows of one file; nothing is parsed before it is asked for.

    A batch may be sent to another process.
    """

    numbers: Sequence[int]
    """Row numbers, rising; within a file they follow each other, from 0 on."""
    read: ReadRows
    columns: Callable[[], pa.RecordBatch | None]
    """Reads all rows as Arrow columns of plain types, or gives `None` where that cannot be."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows that were left out while reading, by reason."""

    def rows(self, only: Container[int] | None = None) -> Iterator[tuple[int, Row]]:
        """Yield `(row number, row)`.

        Args:
            only: Numbers of the rows that are wanted; all when `None`.
        """
        return self.read(only, skipped=self.skipped)


class Part(Protocol):
    """One file of a split."""

    @property
    def num_seen(self) -> int:
        """Rows passed during the latest complete reading, those left out included."""
        ...

    def column_names(self) -> Sequence[str]:
        """All columns, as far as the first rows show them."""
        ...

    def count_rows(self) -> int:
        """Number of rows, those left out included."""
        ...

    def batches(self, columns: Sequence[str] | None) -> Iterator[RowBatch]:
        """Yield the rows in order, with at least the named columns where they exist."""
        ...
