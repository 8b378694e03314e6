"""What the leaderboard tells beside its table: means by training data, sections, leakage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from eval.general import GeneralScore, find_general
from eval.leaderboard.benchmark import BenchmarkScores, build_benchmark_scores
from eval.leaderboard.board import Leaderboard, Run
from eval.leaderboard.differences import Differences
from eval.leaderboard.references import Reference
from eval.leaderboard.summary import Summary, build_summaries
from eval.leaderboard.training_runs import find_training_run
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Leak:
    """How much of one evaluated split stands in the training data of one run."""

    run: str
    task: str
    split: str
    num_rows: int
    num_exact: int
    num_near: int
    are_dropped: bool
    """Whether the repeated rows were left out of training."""

    def to_json(self) -> dict[str, Json]:
        """Return the counts as JSON."""
        return {
            "task": self.task,
            "split": self.split,
            "num_rows": self.num_rows,
            "num_exact": self.num_exact,
            "num_near": self.num_near,
            "are_dropped": self.are_dropped,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Extras:
    """Everything beside the table."""

    summaries: tuple[Summary, ...]
    benchmark: tuple[BenchmarkScores, ...]
    leaks: tuple[Leak, ...]
    references: tuple[Reference, ...]
    general: Mapping[str, Sequence[GeneralScore]]
    """Run name -> benchmarks that lm-eval ran."""
    differences: Differences | None = None
    """All runs against one, where one was named."""

    def to_json(self) -> dict[str, Json]:
        """Return all parts as JSON."""
        leaks: dict[str, Json] = {}
        for leak in self.leaks:
            rows = leaks.setdefault(leak.run, [])
            assert isinstance(rows, list)
            rows.append(leak.to_json())
        return {
            "summary": {item.run: item.to_json() for item in self.summaries},
            "bfcl": {item.run: item.to_json() for item in self.benchmark},
            "leakage": leaks,
            "references": [item.to_json() for item in self.references],
            "general": {
                run: {score.benchmark: dict(asdict(score)) for score in scores}
                for run, scores in self.general.items()
            },
            "differences": None if self.differences is None else self.differences.to_json(),
        }


def build_extras(
    board: Leaderboard,
    references: Sequence[Reference] = (),
    differences: Differences | None = None,
) -> Extras:
    """Return everything beside the table; references to tasks not shown are left out."""
    tasks = {column.task for column in board.columns}
    return Extras(
        summaries=tuple(build_summaries(board)),
        benchmark=tuple(build_benchmark_scores(board)),
        leaks=tuple(leak for run in board.runs for leak in _leaks(run)),
        references=tuple(item for item in references if item.task in tasks),
        general={
            run.name: scores
            for run in board.runs
            if run.folder is not None and (scores := find_general(run.folder))
        },
        differences=differences,
    )


def _leaks(run: Run) -> list[Leak]:
    training = find_training_run(run)
    evaluated = None if training is None else training.overlap.get("evaluated")
    if training is None or not isinstance(evaluated, list):
        return []
    are_dropped = training.overlap.get("decontaminate") == "drop"
    found = []
    for item in evaluated:
        try:
            leak = Leak(
                run=run.name,
                task=str(item["task"]),
                split=str(item["split"]),
                num_rows=int(item["num_rows"]),
                num_exact=int(item["num_exact"]),
                num_near=int(item["num_near"]),
                are_dropped=are_dropped,
            )
        except (KeyError, TypeError, ValueError):
            continue
        if leak.task in run.cells:
            found.append(leak)
    return found
