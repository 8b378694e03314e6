"""Which rows of a source split belong to which split of a task, when one is cut out of another."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from pipeline.annotations.source import Take
from pipeline.errors import SourceError
from pipeline.types import Split


def partition_rows(
    num_rows: int, takes: Mapping[Split, Take], *, where: str
) -> dict[Split | None, npt.NDArray[np.int64]]:
    """Divide rows among the splits that take some, and those that remain under `None`.

    Rows are ordered by a hash of their number and the seed, so the same rows are taken on every
    machine; the parts never overlap, and each keeps the source order.

    Args:
        num_rows: Rows of the source split.
        takes: What each split takes, in order.
        where: Name of the source, for messages.

    Raises:
        SourceError: More rows are taken than there are, or none remain.
    """
    free = np.arange(num_rows, dtype=np.int64)
    parts: dict[Split | None, npt.NDArray[np.int64]] = {}
    for split, take in takes.items():
        wanted = round(num_rows * take.take) if take.take < 1 else int(take.take)
        if wanted >= len(free):
            raise SourceError(
                "SRC120",
                f"split {split!r} takes {wanted} of {len(free)} rows, which leaves none",
                where=where,
                hint="Take fewer rows",
            )
        order = np.argsort(hash_numbers(free, take.seed), kind="stable")
        parts[split] = np.sort(free[order[:wanted]])
        free = np.sort(free[order[wanted:]])
    parts[None] = free
    return parts


def hash_numbers(numbers: npt.NDArray[np.int64], seed: int) -> npt.NDArray[np.uint64]:
    """Return 64 well-mixed bits per number (SplitMix64 over number and seed)."""
    start = (seed * 0xD1342543DE82EF95 + 0x9E3779B97F4A7C15) & 0xFFFF_FFFF_FFFF_FFFF
    with np.errstate(over="ignore"):
        mixed = numbers.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15) + np.uint64(start)
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def choose_rows(num_rows: int, limit: int, seed: int) -> npt.NDArray[np.int64]:
    """Return `limit` of `num_rows` row numbers in order, chosen by their hash alone."""
    numbers = np.arange(num_rows, dtype=np.int64)
    if limit >= num_rows:
        return numbers
    order = np.argsort(hash_numbers(numbers, seed), kind="stable")
    return np.sort(numbers[order[: max(limit, 0)]])
