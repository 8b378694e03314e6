"""The Berkeley Function Calling Leaderboard's sections from the categories that were run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from eval.bfcl.aggregate import SECTION_WEIGHTS, SectionScore, section_scores
from eval.bfcl.categories import CATEGORIES
from eval.leaderboard.board import Leaderboard, Run
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchmarkScores:
    """One run's sections, with the official weights."""

    run: str
    sections: Mapping[str, SectionScore]
    """The five sections, and `overall`."""

    def to_json(self) -> dict[str, Json]:
        """Return accuracy, weight and the categories not run of each section."""
        return {
            name: {
                "accuracy": score.accuracy,
                "weight": SECTION_WEIGHTS.get(name),
                "not_run": [*asdict(score)["missing"]],
            }
            for name, score in self.sections.items()
        }


def build_benchmark_scores(board: Leaderboard) -> list[BenchmarkScores]:
    """Return the sections of every run that answered rows of the benchmark."""
    found = []
    for run in board.runs:
        accuracies, num_rows = _categories(run)
        if accuracies:
            sections = section_scores(accuracies, num_rows)
            found.append(BenchmarkScores(run=run.name, sections=sections))
    return found


def _categories(run: Run) -> tuple[dict[str, float], dict[str, int]]:
    accuracies: dict[str, float] = {}
    num_rows: dict[str, int] = {}
    for task, entry in run.entries.items():
        category = task.rsplit("/", 1)[-1]
        is_benchmark = (entry.get("settings") or {}).get("checker") == "bfcl"
        if is_benchmark and category in CATEGORIES and "call_ast_accuracy" in entry["metrics"]:
            accuracies[category] = entry["metrics"]["call_ast_accuracy"]["value"]
            num_rows[category] = entry["num_rows"]
    return accuracies, num_rows
