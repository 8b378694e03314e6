"""Refuses to train on an evaluated split, whatever name it goes by.

Two splits are the same rows when they are read from the same files, told by content where the
files are at hand, and take common row numbers of them. That catches a split trained on under its
own name, under another annotation, from a mirror with another dataset id, and from a copied file.
Rows that were copied into a file of another form are found by comparing rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from pipeline.annotations.row_operations import (
    CapPer,
    Explode,
    Let,
    Lookup,
    Operation,
    Pairs,
    Where,
)
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import MixtureError, PipelineError
from pipeline.examples.cache import open_tables
from pipeline.sources.rows import RowTable
from pipeline.types import Split

_KEEP_ALL_ROWS = (Let, Lookup, Explode, Pairs, CapPer)
"""Operations after which rows of one file are rows of both tasks; others may tell them apart."""

_Operations = tuple[Operation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedSplit:
    """A split whose rows a score is made of."""

    annotation: DatasetAnnotation
    split: Split
    is_optional: bool = False
    """Whether nobody asked for it, so that it need not be there."""

    @property
    def name(self) -> str:
        """`task/split`."""
        return f"{self.annotation.id}/{self.split}"


def find_trained_on(
    training: Sequence[DatasetAnnotation],
    evaluated: Sequence[EvaluatedSplit],
    data_root: Path | None,
) -> list[PipelineError]:
    """Return one error per training task and evaluated split that are the same rows.

    Splits that cannot be opened are passed over; whoever reads them will say so.
    """
    train_tables = {task.id: _open(task, "train", data_root) for task in training}
    errors: list[PipelineError] = []
    for split in evaluated:
        table = _open(split.annotation, split.split, data_root)
        for task in training:
            num_rows = _num_common(task, train_tables[task.id], split, table)
            if num_rows:
                errors.append(_refusal(task, split, num_rows))
    return errors


def _open(annotation: DatasetAnnotation, split: Split, data_root: Path | None) -> RowTable | None:
    try:
        return open_tables(annotation, split, data_root).get(split)
    except PipelineError:
        return None


def _num_common(
    task: DatasetAnnotation, train: RowTable | None, split: EvaluatedSplit, other: RowTable | None
) -> int:
    """Return how many source rows two splits have in common, as far as files tell."""
    if train is None or other is None:
        return 0
    is_itself = task.id == split.annotation.id and split.split == "train"
    if not is_itself and not _take_same_rows(task.rows, split.annotation.rows):
        return 0
    common = {source.fingerprint for source in train.sources} & {
        source.fingerprint for source in other.sources
    }
    if not common:
        return 0
    mine, theirs = _rows_by_file(train), _rows_by_file(other)
    return sum(len(np.intersect1d(mine[file], theirs[file], assume_unique=True)) for file in common)


def _take_same_rows(first: _Operations, second: _Operations) -> bool:
    """Return whether two tasks surely make examples of the same rows of a file."""
    allowed = (*_KEEP_ALL_ROWS, Where) if first == second else _KEEP_ALL_ROWS
    return all(isinstance(operation, allowed) for operation in (*first, *second))


def _rows_by_file(table: RowTable) -> dict[str, npt.NDArray[np.int64]]:
    """Return which rows of each source split a table takes, by the content of its files."""
    chosen = table.selected_rows
    found: dict[str, npt.NDArray[np.int64]] = {}
    start = 0
    for source in table.sources:
        num_rows = source.count_rows()
        rows = np.arange(start, start + num_rows) if chosen is None else chosen
        inside = rows[(rows >= start) & (rows < start + num_rows)]
        found[source.fingerprint] = inside - start
        start += num_rows
    return found


def _refusal(task: DatasetAnnotation, split: EvaluatedSplit, num_rows: int) -> PipelineError:
    is_itself = task.id == split.annotation.id
    how = "its training split" if is_itself else "read from the same files"
    return MixtureError(
        "OVL001",
        f"trains on rows that are evaluated: {num_rows} rows of {split.name} are {how}",
        where=task.id,
        hint="Evaluate another split, or take one of the two out of the recipe",
    )
