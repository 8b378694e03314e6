"""Examples read from an Arrow file, memory-mapped and decoded row by row."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.examples.encoding import decode_batch
from pipeline.types import Split, TaskExample, TaskSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class ExamplesReport:
    """Where examples come from, and what became of the rows."""

    task: str
    split: Split
    origin: str
    """Mirror folder, or hub dataset and commit."""
    fingerprint: str
    """Changes with the annotation, the data or the code."""
    num_rows: int
    """Source rows."""
    num_available: int
    """Examples made of them, before caps."""
    num_examples: int
    """Examples after caps."""
    skipped: dict[str, int] = field(default_factory=dict)
    """Rows that gave no example, by reason."""
    changed: dict[str, int] = field(default_factory=dict)
    """Rows whose DNA had to be cleaned or cut, by what was changed."""
    seconds: float = 0.0
    """Time the normalising took; that of the first time when it was cached."""
    is_cached: bool = False
    """Whether the examples were found in the cache."""


class StoredExamples:
    """The examples of one task and split in an Arrow file; memory does not grow with rows."""

    def __init__(
        self,
        path: Path,
        spec: TaskSpec,
        report: ExamplesReport,
        *,
        choices: tuple[str, ...] | None,
        chosen: npt.NDArray[np.int64] | None = None,
    ) -> None:
        """Open the file.

        Args:
            path: Arrow IPC file written by `pipeline.examples.cache`.
            spec: The task.
            report: Where the examples come from.
            choices: Answers open to rows that bring no choices of their own.
            chosen: Sorted positions of the examples to show; all when `None`.
        """
        self.spec = spec
        self.report = report
        self._path = path
        self._choices = choices
        self._chosen = chosen
        self._open()

    def __len__(self) -> int:
        """Number of examples."""
        return self._offsets[-1] if self._chosen is None else len(self._chosen)

    def __getitem__(self, index: int) -> TaskExample:
        """The example at `index`, 0-based; negative positions count from the end.

        Raises:
            IndexError: There is no such example.
        """
        if not -len(self) <= index < len(self):
            raise IndexError(f"example {index} of {len(self)}")
        index %= len(self)
        position = index if self._chosen is None else int(self._chosen[index])
        number = bisect.bisect_right(self._offsets, position) - 1
        batch = self._batches[number]
        local = position - self._offsets[number]
        return next(self._decode(batch.slice(local, 1)))

    def __iter__(self) -> Iterator[TaskExample]:
        """All examples in order."""
        for batch, start, end in zip(self._batches, self._offsets, self._offsets[1:], strict=False):
            if self._chosen is not None:
                first, last = np.searchsorted(self._chosen, [start, end])
                if first == last:
                    continue
                batch = batch.take(pa.array(self._chosen[first:last] - start))
            yield from self._decode(batch)

    def without(self, positions: npt.NDArray[np.int64]) -> StoredExamples:
        """Return the same examples but for those at the given positions, counted from 0."""
        return self.only(np.delete(np.arange(len(self), dtype=np.int64), positions))

    def only(self, kept: npt.NDArray[np.int64]) -> StoredExamples:
        """Return the examples at the given sorted positions, counted from 0."""
        return StoredExamples(
            self._path,
            self.spec,
            dataclasses.replace(self.report, num_examples=len(kept)),
            choices=self._choices,
            chosen=kept if self._chosen is None else self._chosen[kept],
        )

    def __getstate__(self) -> dict[str, Any]:
        """Leave the memory map out, so that worker processes open the file themselves."""
        return {k: v for k, v in self.__dict__.items() if k not in {"_batches", "_offsets"}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Open the file again."""
        self.__dict__.update(state)
        self._open()

    def _open(self) -> None:
        with pa.memory_map(str(self._path)) as source:
            table = pa.ipc.open_file(source).read_all()
        self._batches: list[pa.RecordBatch] = table.to_batches()
        sizes = (batch.num_rows for batch in self._batches)
        self._offsets = list(itertools.accumulate(sizes, initial=0))

    def _decode(self, batch: pa.RecordBatch) -> Iterator[TaskExample]:
        return decode_batch(batch, task=self.spec.id, split=self.report.split, labels=self._choices)
