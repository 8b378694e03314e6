"""Rows in batches: what every kind of file gives, whatever its format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from pipeline.types import Json

Row = dict[str, Json]


@dataclass(frozen=True, slots=True)
class RowBatch:
    """Consecutive rows of one file; nothing is parsed before it is asked for."""

    numbers: Sequence[int]
    """Row numbers, rising; within a file they follow each other, from 0 on."""
    rows: Callable[[], Iterator[tuple[int, Row]]]
    """Reads `(row number, row)`; rows that are too large are left out."""
    columns: Callable[[], pa.RecordBatch | None]
    """Reads all rows as Arrow columns of plain types, or gives `None` where that cannot be."""


class Part(Protocol):
    """One file of a split."""

    @property
    def num_seen(self) -> int:
        """Rows passed during the latest complete reading, those left out included."""
        ...

    @property
    def skipped(self) -> Counter[str]:
        """Rows left out during the latest reading, by reason."""
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
