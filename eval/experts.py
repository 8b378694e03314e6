"""A multi-task run against a single-task expert per task: what sharing gained and what it cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from eval.compare import TaskComparison, compare_mean_of_tasks, compare_task
from eval.results import read_results, read_samples_by_task
from eval.statistics import Comparison, PairedDraws
from pipeline.errors import EvalError, PipelineError, raise_all
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpertComparison:
    """One run minus its experts."""

    run: str
    tasks: tuple[TaskComparison, ...]
    """`comparison.first` is the expert, `comparison.second` the run."""
    mean: Comparison | None
    """Of the unweighted mean over tasks; `None` where no metric can be averaged."""
    without_expert: tuple[str, ...]
    """Tasks of the run that no expert was given for."""

    @property
    def negative_transfer(self) -> tuple[str, ...]:
        """Return the tasks on which the run is worse than its expert beyond chance."""
        return tuple(item.task for item in self.tasks if item.gain < 0.0 and item.is_beyond_chance)

    def to_json(self) -> dict[str, Json]:
        """Return everything as JSON."""
        return {
            "schema_version": 1,
            "run": self.run,
            "mean": None if self.mean is None else asdict(self.mean),
            "negative_transfer": [*self.negative_transfer],
            "without_expert": [*self.without_expert],
            "tasks": {
                item.task: {"metric": item.metric, "gain": item.gain, **asdict(item.comparison)}
                for item in self.tasks
            },
        }


def compare_with_experts(
    run: Path, experts: Mapping[str, Path], *, seed: int = 0
) -> ExpertComparison:
    """Compare a run with the expert of each task, row by row.

    Args:
        run: Output folder of the multi-task run's evaluation.
        experts: Task id -> output folder of its expert's evaluation.
        seed: Of the bootstrap.

    Raises:
        EvalError: A folder is no finished evaluation (EVL020 to EVL025), a task was not evaluated
            by the run or its expert (EVL052), or on other rows (EVL051).
    """
    results = read_results(run)
    samples = read_samples_by_task(run, results["tasks"])
    found: list[TaskComparison] = []
    averaged: dict[str, PairedDraws] = {}
    errors: list[PipelineError] = []
    for task, folder in experts.items():
        other = read_results(folder)["tasks"]
        lacking = next(
            (p for p, tasks in ((run, samples), (folder, other)) if task not in tasks), None
        )
        if lacking is not None:
            errors.append(_not_evaluated(task, lacking))
            continue
        compared, draws = compare_task(
            task,
            (other[task], results["tasks"][task]),
            (read_samples_by_task(folder, other)[task], samples[task]),
            seed=seed,
        )
        found.append(compared)
        if compared.higher_is_better:
            averaged[task] = draws
    raise_all(errors)
    return ExpertComparison(
        run=str(results.get("name") or run.name),
        tasks=tuple(found),
        mean=compare_mean_of_tasks(averaged),
        without_expert=tuple(task for task in results["tasks"] if task not in experts),
    )


def _not_evaluated(task: str, folder: Path) -> EvalError:
    return EvalError(
        "EVL052",
        "this run did not evaluate the task",
        where=f"{task}, {folder}",
        hint="Evaluate it with `taskloom eval`, or leave the expert out",
    )
