"""The BoX study on real rows: one task or many, with and without instruction, many rows or 32.

    python -m benchmarks.studies.box --data-root MIRROR --base FOLDER --runs FOLDER [--only RUN ...]

Every run trains and evaluates what is not there yet; the runs of `--only` may be made one by one.
When all are there, their numbers are written to `results/study_box.json`.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.compare import compare_runs
from eval.joining import join_results
from eval.results import RESULTS_NAME, read_results
from pipeline.cli.main import main as taskloom
from pipeline.files import write_json
from pipeline.train import main as train

RECIPES = Path("recipes") / "box"
RESULTS = Path(__file__).parents[1] / "results" / "study_box.json"
TASKS = ("BC5CDR", "Chemprot", "HoC", "NCBI", "linnaeus")
"""Of the eight tasks of the recipes those with short prompts and answers."""
SEEDS = (1, 2, 3)
NUM_STEPS = 75
"""Of the runs of many tasks; a single task has its share of them, so that it reads as many rows."""
CHANGES = ("--max_length", "512", "--evaluation.max_length", "640", "--evaluation.max_rows", "60")


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One way to train."""

    recipe: str
    changes: tuple[str, ...] = ()
    seeds: tuple[int, ...] = SEEDS
    is_single: bool = False
    """Whether each task has an adapter of its own."""


ARMS = {
    "single_task": Arm(recipe="single_task", is_single=True, seeds=SEEDS[:1]),
    "multi_task": Arm(recipe="multi_task"),
    "multi_task_with_instruction": Arm(recipe="multi_task_with_instruction"),
    "few_shot": Arm(recipe="few_shot", changes=("--style", "no_instruction")),
    "few_shot_with_instruction": Arm(recipe="few_shot"),
}
PAIRS = (
    ("single_task", "multi_task"),
    ("single_task", "multi_task_with_instruction"),
    ("multi_task", "multi_task_with_instruction"),
    ("few_shot", "few_shot_with_instruction"),
)
"""What is compared: the second minus the first, on the same rows and with the same seed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One training and its evaluation."""

    recipe: Path
    folder: Path
    arguments: tuple[str, ...]

    @property
    def results(self) -> Path:
        """Return the folder of the adapter's evaluation."""
        return self.folder / "eval" / "adapter"


def main() -> int:
    """Run what is asked for and not there yet; write the numbers when nothing is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", nargs="+", metavar="RUN", choices=[n for n, _, _ in all_runs()])
    options = parser.parse_args()
    jobs = {
        name: jobs_of(arm, seed, options.runs / name, base=options.base)
        for name, arm, seed in all_runs()
    }
    for name in options.only or jobs:
        for job in jobs[name]:
            do(job, options.data_root)
    if all(is_done(job) for of_run in jobs.values() for job in of_run):
        write_json(RESULTS, summary(options.runs, jobs))
        print(f"numbers: {RESULTS}")
    return 0


def all_runs() -> Iterator[tuple[str, str, int]]:
    """Yield name, arm and seed of every run, seed by seed."""
    for seed in SEEDS:
        for arm, settings in ARMS.items():
            if seed in settings.seeds:
                yield f"{arm}-{seed}", arm, seed


def jobs_of(arm: str, seed: int, folder: Path, *, base: str) -> list[Job]:
    """Return the trainings of a run."""
    settings = ARMS[arm]
    jobs = []
    for tasks in [(task,) for task in TASKS] if settings.is_single else [TASKS]:
        own = folder / tasks[0] if settings.is_single else folder
        listed = f"[{', '.join(f'box/{task}' for task in tasks)}]"
        steps = NUM_STEPS * len(tasks) // len(TASKS)
        arguments = ["--model_name_or_path", base, "--output_dir", str(own), "--seed", str(seed)]
        arguments += ["--tasks", listed, "--evaluation.tasks", listed, "--max_steps", str(steps)]
        # The base is asked once in each wording.
        is_first = seed == SEEDS[0] and arm.startswith("multi_task")
        arguments += ["--evaluation.include_base", str(is_first).lower()]
        arguments += [*CHANGES, *settings.changes]
        jobs.append(Job(RECIPES / f"{settings.recipe}.yaml", own, tuple(arguments)))
    return jobs


def is_done(job: Job) -> bool:
    """Return whether a job has been evaluated."""
    return (job.results / RESULTS_NAME).is_file()


def do(job: Job, data_root: Path) -> None:
    """Train and evaluate, unless that has been done."""
    if is_done(job):
        return
    arguments = [str(job.recipe), *job.arguments]
    if not (job.folder / "adapter").is_dir():
        code = train([*arguments, "--data_root", str(data_root)])
        if code:
            sys.exit(code)
    try:
        taskloom(["--data-root", str(data_root), "eval", "--recipe", *arguments])
    except SystemExit as ended:
        if ended.code:
            raise


def summary(runs: Path, jobs: dict[str, list[Job]]) -> dict[str, Any]:
    """Return the numbers of all runs, and the differences with their intervals."""
    folders = {}
    for name, of_run in jobs.items():
        parts = [job.results for job in of_run]
        joined = len(parts) > 1
        folders[name] = (
            join_results(parts, runs / "joined" / name, name=name) if joined else parts[0]
        )
    bases = {
        f"base, {style}": runs / f"{arm}-{SEEDS[0]}" / "eval" / "base"
        for style, arm in (
            ("no instruction", "multi_task"),
            ("with instruction", "multi_task_with_instruction"),
        )
    }
    return {
        "schema_version": 1,
        "tasks": list(TASKS),
        "num_steps": NUM_STEPS,
        "changes": list(CHANGES),
        "runs": {name: numbers(folder) for name, folder in (folders | bases).items()},
        "means": {arm: mean_over_seeds(arm, folders) for arm in ARMS},
        "differences": [difference(first, second, folders) for first, second in PAIRS],
    }


def numbers(folder: Path) -> dict[str, Any]:
    """Return the headline number of every task, its majority baseline, and the mean."""
    results = read_results(folder)
    found = {}
    for task, entry in results["tasks"].items():
        majority = (entry["majority"] or {}).get(entry["headline"])
        found[task] = {
            "metric": entry["headline"],
            **entry["metrics"][entry["headline"]],
            "majority": None if majority is None else majority["value"],
            "num_rows": entry["num_rows"],
            "num_failures": entry["num_failures"],
        }
    return {"mean": results["macro_mean"], "tasks": found}


def mean_over_seeds(arm: str, folders: dict[str, Path]) -> dict[str, float]:
    """Return the mean over tasks of an arm: over seeds, with the deviation between them."""
    means = [read_results(folders[f"{arm}-{seed}"])["macro_mean"] for seed in ARMS[arm].seeds]
    deviation = statistics.stdev(means) if len(means) > 1 else 0.0
    return {"mean": statistics.fmean(means), "deviation": deviation, "num_seeds": len(means)}


def difference(first: str, second: str, folders: dict[str, Path]) -> dict[str, Any]:
    """Return the second arm minus the first: per seed with its interval, and over the seeds."""
    by_seed = {}
    for seed in ARMS[second].seeds:
        other = seed if seed in ARMS[first].seeds else ARMS[first].seeds[0]
        found = compare_runs(folders[f"{first}-{other}"], folders[f"{second}-{seed}"], seed=seed)
        by_seed[str(seed)] = found.to_json()
    values = [part["macro"]["difference"] for part in by_seed.values()]
    return {
        "first": first,
        "second": second,
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        "by_seed": by_seed,
    }


if __name__ == "__main__":
    sys.exit(main())
