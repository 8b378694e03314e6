"""All runs of a leaderboard against one of them, with paired intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from eval.compare import RunComparison, compare_runs
from eval.leaderboard.board import Column, Leaderboard
from eval.leaderboard.text import number
from eval.statistics import Comparison
from pipeline.errors import EvalError, did_you_mean
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Differences:
    """What each run gains over one run."""

    against: str
    """Name of that run on the leaderboard."""
    runs: Mapping[str, RunComparison]
    """By name, in the order of the leaderboard."""

    def of(self, run: str, task: str | None) -> Comparison | None:
        """Return what a run gains on a task, or in the mean over all; `None`: not compared.

        Where one of the two runs lacks tasks of the other there is no difference of means: that
        of the tasks they share would stand under a mean over others.
        """
        found = self.runs.get(run)
        if found is None:
            return None
        if task is None:
            return None if found.only_first or found.only_second else found.macro
        return next((item.comparison for item in found.tasks if item.task == task), None)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON."""
        return {
            "against": self.against,
            "runs": {name: comparison.to_json() for name, comparison in self.runs.items()},
        }


def build_differences(board: Leaderboard, against: str, *, seed: int = 0) -> Differences:
    """Compare every run of a leaderboard with the run named `against`.

    Args:
        board: The leaderboard; its majority baseline has no rows and is left out.
        against: Name of a run.
        seed: Of the bootstrap.

    Raises:
        EvalError: There is no such run (EVL062), or two runs cannot be compared (EVL020 to
            EVL025, EVL050, EVL051).
    """
    folders = {run.name: run.folder for run in board.runs if run.folder is not None}
    if against not in folders:
        raise EvalError(
            "EVL062",
            f"no run {against!r} to compare with",
            where="--against",
            hint=did_you_mean(against, folders),
        )
    return Differences(
        against=against,
        runs={
            name: compare_runs(folders[against], folder, seed=seed)
            for name, folder in folders.items()
            if name != against
        },
    )


def difference_text(item: Comparison, column: Column | None) -> str:
    """Return `+3.1 (+0.4 to +5.9)`: the difference and its interval, in the unit of the column."""
    difference, low, high = (
        _signed(value, column) for value in (item.difference, item.low, item.high)
    )
    return f"{difference} ({low} to {high})"


def _signed(value: float, column: Column | None) -> str:
    return f"{'' if value < 0.0 else '+'}{number(value, column)}"
