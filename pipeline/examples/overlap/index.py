"""The rows of evaluated splits, laid out so that training rows can be looked up in them.

Memory does not depend on the training rows. Per evaluated row it is at most 3 KB: of a long text a
fixed sample of its windows is kept, which gives its share found to within a few percent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pipeline.examples.overlap.content import ComparedRow, Part, part_digest
from pipeline.examples.overlap.shingles import Hashes, dna_shingles, text_shingles

MAX_WINDOWS = 256
"""Windows kept of one part: those with the smallest hashes, which is a random sample."""
MAX_PARTS_PER_WINDOW = 32
"""A window that more parts share is wording of the dataset, and no sign of a copy."""
MAX_ROWS_PER_PART = 100
"""A part of more rows than that is a question or heading of the dataset, and not compared."""
MIN_TEXT_WINDOWS = 20
"""Windows that a row needs to be compared by them; 29 letters."""
MIN_DNA_WINDOWS = 8
"""The same for DNA, whose windows never agree by chance: 23 bases."""

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class EvaluatedRow:
    """One row of an evaluated split."""

    key: str
    split_number: int
    """Which evaluated split it belongs to."""
    parts: tuple[int, ...]
    """Numbers of its parts."""


@dataclass(slots=True)
class _Growing:
    """What an index is while rows are added."""

    rows: list[EvaluatedRow] = field(default_factory=list)
    by_digest: dict[bytes, list[int]] = field(default_factory=lambda: defaultdict(list))
    part_numbers: dict[bytes, int] = field(default_factory=dict)
    hashes: list[Hashes] = field(default_factory=list)
    owners: list[Positions] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    """Windows of each part, before sampling."""
    needed: list[int] = field(default_factory=list)
    """Windows that a row made of this part needs."""


class IndexBuilder:
    """Collects evaluated rows; `build` makes the index."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._made = _Growing()

    def add(self, rows: Sequence[ComparedRow], split_number: int) -> None:
        """Add rows of one evaluated split; rows without content are left out."""
        made = self._made
        fresh: list[Part] = []
        for row in rows:
            if not row.digest:
                continue
            numbers = []
            for part in row.parts:
                digest = part_digest(part)
                number = made.part_numbers.get(digest)
                if number is None:
                    number = made.part_numbers[digest] = len(made.part_numbers)
                    fresh.append(part)
                numbers.append(number)
            made.by_digest[row.digest].append(len(made.rows))
            made.rows.append(EvaluatedRow(row.key, split_number, tuple(dict.fromkeys(numbers))))
        self._add_windows(fresh)

    def build(self) -> OverlapIndex:
        """Return the index of all added rows."""
        return OverlapIndex(self._made)

    def _add_windows(self, parts: Sequence[Part]) -> None:
        made, first = self._made, len(self._made.lengths)
        made.needed += [MIN_DNA_WINDOWS if part.is_dna else MIN_TEXT_WINDOWS for part in parts]
        hashes, owners = part_windows(parts)
        order = np.lexsort((hashes, owners))
        hashes, owners = hashes[order], owners[order]
        is_new = np.ones(len(hashes), dtype=bool)
        is_new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
        hashes, owners = hashes[is_new], owners[is_new]
        counts = np.bincount(owners, minlength=len(parts))
        made.lengths += counts.tolist()
        rank = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        made.hashes.append(hashes[rank < MAX_WINDOWS])
        made.owners.append(owners[rank < MAX_WINDOWS] + first)


class OverlapIndex:
    """Evaluated rows by digest and by window."""

    def __init__(self, made: _Growing) -> None:
        """Sort the windows, and forget those that too many parts share."""
        self.rows = tuple(made.rows)
        self.by_digest = dict(made.by_digest)
        num_parts = len(made.lengths)
        hashes = np.concatenate([*made.hashes, np.zeros(0, dtype=np.uint64)])
        owners = np.concatenate([*made.owners, np.zeros(0, dtype=np.int64)])
        order = np.argsort(hashes, kind="stable")
        windows, counts = np.unique(hashes, return_counts=True)
        is_kept = counts <= MAX_PARTS_PER_WINDOW
        owners = owners[order][np.repeat(is_kept, counts)].astype(np.int32)
        self._windows: Hashes = windows[is_kept]
        self._first: Positions = np.concatenate([[0], np.cumsum(counts[is_kept])])
        self._owners = owners
        self._filter = _Filter(self._windows)
        self.num_windows: Positions = np.bincount(owners, minlength=num_parts)
        self.num_windows[_rows_per_part(self.rows, num_parts) > MAX_ROWS_PER_PART] = 0
        """Windows of each part that count."""
        self.lengths: Positions = np.array(made.lengths, dtype=np.int64)
        """All windows of each part."""
        self._needed = np.array(made.needed, dtype=np.int64)
        self.rows_of_part = self._main_parts()

    @property
    def num_only_exact(self) -> int:
        """Rows too short, or too much like others, to be compared by windows."""
        return len(self.rows) - sum(map(len, self.rows_of_part.values()))

    def shared_windows(
        self, hashes: Hashes, owners: Positions
    ) -> tuple[Positions, Positions, Positions]:
        """Count the different windows that training rows share with evaluated parts.

        Args:
            hashes: Windows of training rows.
            owners: The training row of each.

        Returns:
            Training row, part and number of shared windows of every pair that shares any.
        """
        maybe = self._filter.may_have(hashes)
        hashes, owners = hashes[maybe], owners[maybe]
        if not len(self._windows) or not len(hashes):
            none = np.zeros(0, dtype=np.int64)
            return none, none, none
        # In order, neighbouring searches end in memory that is still in the cache.
        order = np.argsort(hashes)
        hashes, owners = hashes[order], owners[order]
        found = np.searchsorted(self._windows, hashes)
        found[found == len(self._windows)] = 0
        is_hit = self._windows[found] == hashes
        pairs, _ = _count(owners[is_hit] * len(self._windows) + found[is_hit])
        training, window = np.divmod(pairs, len(self._windows))
        counts = self._first[window + 1] - self._first[window]
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        parts = self._owners[np.repeat(self._first[window], counts) + offsets].astype(np.int64)
        num_parts = max(1, len(self.lengths))
        both, shared = _count(np.repeat(training, counts) * num_parts + parts)
        return both // num_parts, both % num_parts, shared

    def _main_parts(self) -> dict[int, list[int]]:
        """Return, by their longest part, the rows that have enough windows to be compared."""
        found: dict[int, list[int]] = defaultdict(list)
        for number, row in enumerate(self.rows):
            main = max(row.parts, key=lambda part: int(self.num_windows[part]))
            if self.num_windows[list(row.parts)].sum() >= self._needed[main]:
                found[main].append(number)
        return dict(found)


def _count(numbers: Positions) -> tuple[Positions, Positions]:
    """Return the different numbers in order, and how often each occurs; faster than `np.unique`."""
    numbers = np.sort(numbers)
    first = np.flatnonzero(np.diff(numbers, prepend=-1))
    return numbers[first], np.diff(first, append=len(numbers))


def _rows_per_part(rows: Sequence[EvaluatedRow], num_parts: int) -> Positions:
    parts = (part for row in rows for part in row.parts)
    return np.bincount(np.fromiter(parts, dtype=np.int64), minlength=num_parts)


def part_windows(parts: Sequence[Part]) -> tuple[Hashes, Positions]:
    """Return the windows of parts, text and DNA alike, and the part that each is of."""
    hashes, owners = [], []
    for is_dna, shingles in ((False, text_shingles), (True, dna_shingles)):
        chosen = [number for number, part in enumerate(parts) if part.is_dna == is_dna]
        if chosen:
            found, local = shingles([parts[number].text for number in chosen])
            hashes.append(found)
            owners.append(np.array(chosen, dtype=np.int64)[local])
    if not hashes:
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    return np.concatenate(hashes), np.concatenate(owners)


class _Filter:
    """Tells at once of most windows that they are not in the index (one-hash Bloom filter)."""

    def __init__(self, windows: Hashes) -> None:
        bits = min(28, max(16, (16 * len(windows)).bit_length()))
        self._shift = np.uint64(64 - bits)
        self._present = np.zeros(1 << bits, dtype=bool)
        self._present[windows >> self._shift] = True

    def may_have(self, hashes: Hashes) -> npt.NDArray[np.bool_]:
        """Return, per window, whether it may be in the index."""
        return self._present[hashes >> self._shift]
