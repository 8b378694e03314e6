"""A fixed number of examples chosen while they pass, in memory that does not grow with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from pipeline.sources.selection import hash_numbers

_SLACK_ROWS = 4096


class PassingSample:
    """Those examples that `choose_rows` would choose, had all of them been kept.

    At most `2 * limit` examples and a few batches are held.
    """

    def __init__(self, limit: int, seed: int) -> None:
        """Start with no example.

        Args:
            limit: Examples to choose, at least 1.
            seed: Of the hash of their positions.
        """
        self._limit = limit
        self._seed = seed
        self.num_passed = 0
        """Examples that have passed."""
        self._held: list[pa.RecordBatch] = []
        self._positions = np.empty(0, dtype=np.int64)

    def chosen(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """Take all batches, then yield the chosen examples in their order."""
        for batch in batches:
            new = np.arange(self.num_passed, self.num_passed + batch.num_rows, dtype=np.int64)
            self.num_passed += batch.num_rows
            self._held.append(batch)
            self._positions = np.concatenate([self._positions, new])
            if len(self._positions) > 2 * self._limit + _SLACK_ROWS:
                self._choose()
        if len(self._positions) > self._limit:
            self._choose()
        yield from self._held

    def _choose(self) -> None:
        """Keep the examples with the smallest hashes."""
        order = np.argsort(hash_numbers(self._positions, self._seed), kind="stable")
        kept = np.sort(order[: self._limit])
        table = pa.Table.from_batches(self._held).take(pa.array(kept))
        self._held = table.combine_chunks().to_batches()
        self._positions = self._positions[kept]
