"""What a comparison of training rows with evaluated rows found, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

from pipeline.types import Json

NEARLY_ALL = 0.95
"""Share of an evaluated split beyond which training on its rows is training on the split."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairOverlap:
    """What one training task repeats of one evaluated split."""

    training_task: str
    evaluated_task: str
    split: str
    num_evaluated: int
    """Rows of the evaluated split."""
    num_exact: int
    """Of those, rows that stand in the training task."""
    num_near: int
    """Further rows that nearly do."""
    num_training_rows: int
    """Training rows that repeat any of them."""

    @property
    def share(self) -> float:
        """Share of the evaluated rows that the training task repeats, 0 to 1."""
        return (self.num_exact + self.num_near) / max(1, self.num_evaluated)

    @property
    def is_whole_split(self) -> bool:
        """Whether the training task holds (nearly) the whole evaluated split."""
        return self.num_exact > 0 and self.num_exact >= NEARLY_ALL * self.num_evaluated


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOverlap:
    """How much of one training task repeats evaluated rows of any split."""

    task: str
    num_rows: int
    num_exact: int
    """Rows that equal an evaluated row."""
    num_near: int
    """Rows that nearly equal one, and equal none."""

    @property
    def num_repeated(self) -> int:
        """Rows that repeat evaluated rows; what `decontaminate: drop` leaves out."""
        return self.num_exact + self.num_near


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluatedOverlap:
    """How much of one evaluated split any training task repeats."""

    task: str
    split: str
    num_rows: int
    num_exact: int
    num_near: int
    num_only_exact: int
    """Rows too short, or too much like others of their split, to be found by anything but an
    exact copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NotCompared:
    """An evaluated split that could not be read."""

    task: str
    split: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapReport:
    """All that a comparison found."""

    pairs: tuple[PairOverlap, ...]
    """Only those that share rows."""
    training: tuple[TrainingOverlap, ...]
    evaluated: tuple[EvaluatedOverlap, ...]
    not_compared: tuple[NotCompared, ...] = ()

    def to_json(self) -> dict[str, Json]:
        """Return the report as plain JSON."""
        return cast("dict[str, Json]", asdict(self))

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> OverlapReport:
        """Return the report that `to_json` wrote."""
        kinds = {
            "pairs": PairOverlap,
            "training": TrainingOverlap,
            "evaluated": EvaluatedOverlap,
            "not_compared": NotCompared,
        }
        return cls(**{n: tuple(kind(**item) for item in value[n]) for n, kind in kinds.items()})

    def notes(self, *, are_dropped: bool) -> list[str]:
        """Return one sentence per training task that repeats evaluated rows, and per gap.

        Args:
            are_dropped: Whether the repeated rows are left out of training.
        """
        found = []
        for task in self.training:
            if task.num_repeated:
                others = [p for p in self.pairs if p.training_task == task.task]
                worst = max(others, key=lambda pair: (pair.share, pair.num_training_rows))
                done = "are left out: they" if are_dropped else ""
                found.append(
                    f"{task.task}: {task.num_repeated} of {task.num_rows} training rows {done} "
                    f"repeat evaluated rows, most of {worst.evaluated_task}/{worst.split} "
                    f"({worst.share:.1%} of it)".replace("  ", " ")
                )
        for gap in self.not_compared:
            found.append(f"{gap.task}/{gap.split} is not compared with training: {gap.reason}")
        return found
