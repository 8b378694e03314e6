"""Compares training tasks with evaluated splits: which rows of the one repeat rows of the other."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

from pipeline.examples.overlap.content import ComparedRow, compared_row
from pipeline.examples.overlap.index import IndexBuilder, OverlapIndex
from pipeline.examples.overlap.report import (
    EvaluatedOverlap,
    OverlapReport,
    PairOverlap,
    TrainingOverlap,
)
from pipeline.examples.overlap.search import RowMatches, search
from pipeline.examples.stored import StoredExamples
from pipeline.types import Examples

MAX_LISTED = 100
"""Evaluated rows listed per training row; all are counted."""

_ROWS_AT_A_TIME = 1024
_EXACT, _NEAR = 2, 1

Progress = Callable[[int], None]
"""Told how many more rows were read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What `compare` found."""

    report: OverlapReport
    repeated: tuple[npt.NDArray[np.int64], ...]
    """By training task: sorted positions of the rows that repeat evaluated rows."""


def compare(
    training: Sequence[StoredExamples],
    evaluated: Sequence[StoredExamples],
    *,
    matches: IO[str] | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Find all training rows that repeat evaluated rows, exactly or nearly.

    Rows are equal when their content is (see `content`); near duplicates hold at least half of
    the windows of every part of an evaluated row (see `search`), which includes rows embedded in
    longer text, cut short, or with some letters changed. DNA is found on both strands.

    Args:
        training: The training tasks.
        evaluated: The evaluated splits.
        matches: Receives one JSON line per pair of rows: keys of both, kind and share.
        progress: Told how many more rows, of either side, were read.
    """
    builder = IndexBuilder()
    for number, examples in enumerate(evaluated):
        for group in _groups(_rows(examples)):
            builder.add(group, number)
            if progress is not None:
                progress(len(group))
    tally = _Tally(builder.build(), evaluated)
    repeated = []
    for examples in training:
        found = search(tally.index, _rows(examples), progress)
        repeated.append(tally.take(examples, found, matches))
    return Comparison(report=tally.report(), repeated=tuple(repeated))


class _Tally:
    """Counts matches by pair of tasks, by training task, and by evaluated split."""

    def __init__(self, index: OverlapIndex, evaluated: Sequence[StoredExamples]) -> None:
        self.index = index
        self._evaluated = evaluated
        numbers = (row.split_number for row in index.rows)
        self._split_of_row = np.fromiter(numbers, dtype=np.int64, count=len(index.rows))
        self._best = np.zeros(len(index.rows), dtype=np.uint8)
        """Of every evaluated row, over all training tasks: not found, near or exact."""
        self._pairs: list[PairOverlap] = []
        self._training: list[TrainingOverlap] = []

    def take(
        self, examples: StoredExamples, found: Iterator[RowMatches], matches: IO[str] | None
    ) -> npt.NDArray[np.int64]:
        """Count what one training task repeats; return the positions of its repeating rows."""
        kinds = np.zeros(len(self.index.rows), dtype=np.uint8)
        training_rows = np.zeros(len(self._evaluated), dtype=np.int64)
        splits_of_digest: dict[bytes, set[int]] = {}
        positions: list[int] = []
        num_exact = 0
        for match in found:
            positions.append(match.position)
            num_exact += bool(match.exact)
            if match.exact and match.digest not in splits_of_digest:
                kinds[list(match.exact)] = _EXACT
                exact_splits = set(self._split_of_row[list(match.exact)].tolist())
                splits_of_digest[match.digest] = exact_splits
            for row in match.near:
                kinds[row] = max(kinds[row], _NEAR)
            splits = {int(self._split_of_row[row]) for row in match.near}
            training_rows[list(splits | splits_of_digest.get(match.digest, set()))] += 1
            if matches is not None:
                matches.writelines(self._lines(match))
        self._best = np.maximum(self._best, kinds)
        self._count(examples, kinds, training_rows)
        self._training.append(
            TrainingOverlap(
                task=examples.spec.id,
                num_rows=len(examples),
                num_exact=num_exact,
                num_near=len(positions) - num_exact,
            )
        )
        return np.array(positions, dtype=np.int64)

    def report(self) -> OverlapReport:
        """Return all counts."""
        exact, near = (self._per_split(self._best == kind) for kind in (_EXACT, _NEAR))
        has_windows = np.zeros(len(self.index.rows), dtype=bool)
        for rows in self.index.rows_of_part.values():
            has_windows[rows] = True
        only_exact = self._per_split(~has_windows)
        evaluated = tuple(
            EvaluatedOverlap(
                task=examples.spec.id,
                split=examples.report.split,
                num_rows=len(examples),
                num_exact=exact[number],
                num_near=near[number],
                num_only_exact=only_exact[number],
            )
            for number, examples in enumerate(self._evaluated)
        )
        return OverlapReport(
            pairs=tuple(self._pairs), training=tuple(self._training), evaluated=evaluated
        )

    def _count(
        self,
        examples: StoredExamples,
        kinds: npt.NDArray[np.uint8],
        training_rows: npt.NDArray[np.int64],
    ) -> None:
        exact, near = (self._per_split(kinds == kind) for kind in (_EXACT, _NEAR))
        for number, evaluated in enumerate(self._evaluated):
            if exact[number] or near[number]:
                self._pairs.append(
                    PairOverlap(
                        training_task=examples.spec.id,
                        evaluated_task=evaluated.spec.id,
                        split=evaluated.report.split,
                        num_evaluated=len(evaluated),
                        num_exact=exact[number],
                        num_near=near[number],
                        num_training_rows=int(training_rows[number]),
                    )
                )

    def _per_split(self, is_counted: npt.NDArray[np.bool_]) -> list[int]:
        chosen = self._split_of_row[is_counted]
        return np.bincount(chosen, minlength=len(self._evaluated)).tolist()

    def _lines(self, match: RowMatches) -> Iterator[str]:
        pairs = [(row, "exact", 1.0) for row in match.exact[:MAX_LISTED]]
        pairs += [(row, "near", share) for row, share in match.near.items()]
        for row, kind, share in pairs[:MAX_LISTED]:
            line = {
                "training": match.key,
                "evaluated": self.index.rows[row].key,
                "kind": kind,
                "share": round(share, 3),
            }
            yield json.dumps(line, ensure_ascii=False) + "\n"


def _rows(examples: Examples) -> Iterator[ComparedRow]:
    kind = examples.spec.kind
    return (compared_row(example, kind) for example in examples)


def _groups(rows: Iterator[ComparedRow]) -> Iterator[list[ComparedRow]]:
    group: list[ComparedRow] = []
    for row in rows:
        group.append(row)
        if len(group) == _ROWS_AT_A_TIME:
            yield group
            group = []
    if group:
        yield group
