"""Finds the training rows that repeat evaluated rows, exactly or nearly."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline.examples.overlap.content import ComparedRow
from pipeline.examples.overlap.index import OverlapIndex, Positions, part_windows

MIN_SHARE = 0.5
"""Share of the windows of each part of an evaluated row that a near duplicate holds."""
MIN_SHARE_OF_PIECE = 0.25
"""The same where the training row is a piece of the evaluated one ..."""
MIN_SHARE_IN_PIECE = 0.8
"""... that is, where this share of the training row stands in the evaluated one."""

BATCH_ROWS = 4096
BATCH_BYTES = 1 << 18
"""Text compared at a time: what fits in a processor's cache."""


@dataclass(frozen=True, slots=True)
class RowMatches:
    """A training row, and the evaluated rows that it repeats."""

    position: int
    """Of the training row among those searched."""
    key: str
    """Of the training row."""
    digest: bytes
    """Of its content."""
    exact: Sequence[int]
    """Equal rows, as positions in `OverlapIndex.rows`."""
    near: dict[int, float]
    """Nearly equal ones, with the share of their windows that the training row holds."""


def search(
    index: OverlapIndex, rows: Iterable[ComparedRow], progress: Callable[[int], None] | None = None
) -> Iterator[RowMatches]:
    """Yield the training rows that repeat evaluated rows.

    Args:
        index: The evaluated rows.
        rows: Training rows; read once, in order.
        progress: Told now and then how many rows were searched since it was last told.
    """
    first = 0
    for batch in _batches(rows):
        near = _near(index, batch)
        for number, row in enumerate(batch):
            exact = index.by_digest.get(row.digest, ())
            found = near.get(number, {})
            if exact or found:
                others = {n: share for n, share in found.items() if n not in exact}
                yield RowMatches(first + number, row.key, row.digest, exact, others)
        first += len(batch)
        if progress is not None:
            progress(len(batch))


def _batches(rows: Iterable[ComparedRow]) -> Iterator[list[ComparedRow]]:
    batch: list[ComparedRow] = []
    num_bytes = 0
    for row in rows:
        batch.append(row)
        num_bytes += sum(len(part.text) for part in row.parts)
        if num_bytes >= BATCH_BYTES or len(batch) == BATCH_ROWS:
            yield batch
            batch, num_bytes = [], 0
    if batch:
        yield batch


def _near(index: OverlapIndex, batch: Sequence[ComparedRow]) -> dict[int, dict[int, float]]:
    """Return, by training row, the evaluated rows of which every part is found, and the share."""
    parts = [part for row in batch for part in row.parts]
    row_of_part = np.repeat(np.arange(len(batch)), [len(row.parts) for row in batch])
    hashes, owners = part_windows(parts)
    row_of_window: Positions = row_of_part[owners]
    row_lengths = np.bincount(row_of_window, minlength=len(batch))
    training, evaluated, shared = index.shared_windows(hashes, row_of_window)
    share = shared / np.maximum(1, index.num_windows[evaluated])
    in_piece = share * index.lengths[evaluated] / np.maximum(1, row_lengths[training])
    is_piece = (share >= MIN_SHARE_OF_PIECE) & (in_piece >= MIN_SHARE_IN_PIECE)
    is_found = ((share >= MIN_SHARE) | is_piece) & (index.num_windows[evaluated] > 0)
    found: dict[int, dict[int, float]] = defaultdict(dict)
    columns = (training[is_found], evaluated[is_found], share[is_found])
    for row, part, value in zip(*(column.tolist() for column in columns), strict=True):
        found[row][part] = value
    return {row: _whole_rows(index, shares) for row, shares in found.items()}


def _whole_rows(index: OverlapIndex, shares: dict[int, float]) -> dict[int, float]:
    """Return the evaluated rows all of whose parts are found, with the smallest share of a part.

    Parts without a window of their own, such as `yes`, are not asked for.
    """
    rows = itertools.chain.from_iterable(index.rows_of_part.get(part, ()) for part in shares)
    whole = {}
    for number in rows:
        asked = [part for part in index.rows[number].parts if index.num_windows[part]]
        if all(part in shares for part in asked):
            whole[number] = min(shares[part] for part in asked)
    return whole
