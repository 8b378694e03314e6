"""The BoX study on real rows: one task or many, with and without instruction, many rows or 32.

    python -m benchmarks.studies.box --data-root MIRROR --base FOLDER --runs FOLDER [--only RUN ...]

Every run trains and evaluates what is not there yet; the runs of `--only` may be made one by one.
Of all runs the loss of the right answers is computed; those of the first seed answer the rows too.
When all are there, the numbers are written to `results/study_box.json`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.studies.jobs import Job
from eval.backends.base import Request
from eval.compare import compare_runs
from eval.joining import join_results
from eval.results import read_results
from eval.statistics import compare_scores
from eval.tasks import EvalTask, select_rows
from pipeline.annotations.catalogue import load_catalogue
from pipeline.cli.backends import model_backends
from pipeline.examples.cache import load_examples
from pipeline.files import write_json
from pipeline.recipe import Recipe, load_recipe
from pipeline.templates.styles import render_conversation

RECIPES = Path("recipes") / "box"
RESULTS = Path(__file__).parents[1] / "results" / "study_box.json"
LOSSES_NAME = "answer_losses.json"
TASKS = ("BC5CDR", "Chemprot", "HoC", "NCBI", "linnaeus")
"""Of the eight tasks of the recipes those with short prompts and answers."""
SEEDS = (1, 2, 3)
NUM_STEPS = 200
"""Of the runs of many tasks; a single task has its share of them, so that it reads as many rows."""
NUM_ROWS = 100
"""Test rows per task whose right answer's loss is computed."""
CHANGES = (
    *("--per_device_train_batch_size", "4", "--max_length", "512"),
    *("--evaluation.max_length", "640", "--evaluation.max_rows", "60"),
)


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
    "few_shot": Arm(recipe="few_shot", changes=("--style", "no_instruction"), seeds=SEEDS[:2]),
    "few_shot_with_instruction": Arm(recipe="few_shot", seeds=SEEDS[:2]),
}
PAIRS = (
    ("single_task", "multi_task"),
    ("single_task", "multi_task_with_instruction"),
    ("multi_task", "multi_task_with_instruction"),
    ("few_shot", "few_shot_with_instruction"),
)
"""What is compared: the second minus the first, on the same rows and with the same seed."""


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
            do(job, options.data_root, is_generated=name.endswith(f"-{SEEDS[0]}"))
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
        arguments = ["--model_name_or_path", base, "--seed", str(seed)]
        arguments += ["--tasks", listed, "--evaluation.tasks", listed, "--max_steps", str(steps)]
        # The base is asked once in each wording.
        is_first = seed == SEEDS[0] and arm.startswith("multi_task")
        arguments += ["--evaluation.include_base", str(is_first).lower()]
        arguments += [*CHANGES, *settings.changes]
        recipe = RECIPES / f"{settings.recipe}.yaml"
        jobs.append(Job(recipe=recipe, folder=own, arguments=tuple(arguments)))
    return jobs


def is_done(job: Job) -> bool:
    """Return whether a job has been evaluated."""
    return (job.folder / LOSSES_NAME).is_file()


def do(job: Job, data_root: Path, *, is_generated: bool) -> None:
    """Train and evaluate, unless that has been done."""
    if is_done(job):
        return
    job.train(data_root)
    if is_generated:
        job.evaluate(data_root)
    recipe = load_recipe(job.recipe, list(job.arguments))
    losses = {"adapter": answer_losses(recipe, data_root, adapter=job.adapter)}
    if recipe.evaluation is not None and recipe.evaluation.include_base:
        losses["base"] = answer_losses(recipe, data_root, adapter=None)
    write_json(job.folder / LOSSES_NAME, losses)


def answer_losses(
    recipe: Recipe, data_root: Path, *, adapter: Path | None
) -> dict[str, dict[str, float]]:
    """Return the loss of right answers by task and key of the row, in nats per token.

    It tells small models apart that answer no row of a task rightly.
    """
    ((_, backend),) = model_backends(
        recipe.model_name_or_path,
        recipe.model_name_or_path,
        adapter=adapter,
        include_base=adapter is None,
        max_length=640,
    )
    catalogue = load_catalogue()
    found: dict[str, dict[str, float]] = {}
    for entry in recipe.tasks:
        examples = load_examples(catalogue.get(entry.task), "test", data_root=data_root)
        rows = select_rows(EvalTask(spec=examples.spec, examples=examples), NUM_ROWS, seed=0)
        worded = [render_conversation(row, examples.spec, style=recipe.style) for row in rows]
        requests = [
            Request(kind="choices", conversation=item, choices=(item.messages[-1].content,))
            for item in worded
        ]
        prompts = backend.prompts(requests, max_new_tokens=128)
        found[entry.task] = losses = {}
        for batch in backend.batches(prompts, max_new_tokens=128):
            for prompt, answer in zip(batch, backend.score_choices(batch), strict=True):
                (log_likelihood,) = answer.choice_log_likelihoods or (0.0,)
                losses[prompt.key] = -log_likelihood / max(1, len(prompt.choice_ids[0]))
    return found


def summary(runs: Path, jobs: dict[str, list[Job]]) -> dict[str, Any]:
    """Return the numbers of all runs, and the differences with their intervals."""
    losses = {name: losses_of(of_run, "adapter") for name, of_run in jobs.items()}
    first = f"-{SEEDS[0]}"
    folders = {}
    for name, of_run in jobs.items():
        if name.endswith(first):
            parts = [job.results for job in of_run]
            joined = runs / "joined" / name
            folders[name] = join_results(parts, joined, name=name) if len(parts) > 1 else parts[0]
    for style, arm in (
        ("no instruction", "multi_task"),
        ("with instruction", "multi_task_with_instruction"),
    ):
        losses[f"base, {style}"] = losses_of(jobs[f"{arm}{first}"], "base")
        folders[f"base, {style}"] = jobs[f"{arm}{first}"][0].folder / "eval" / "base"
    return {
        "schema_version": 1,
        "tasks": list(TASKS),
        "num_steps": NUM_STEPS,
        "changes": list(CHANGES),
        "answer_loss": {
            name: {task: statistics.fmean(rows.values()) for task, rows in of_run.items()}
            for name, of_run in losses.items()
        },
        "loss_differences": [loss_difference(one, other, losses) for one, other in PAIRS],
        "scores": {name: numbers(folder) for name, folder in folders.items()},
        "score_differences": {
            f"{other} - {one}": compare_runs(
                folders[f"{one}{first}"], folders[f"{other}{first}"]
            ).to_json()
            for one, other in PAIRS
        },
    }


def losses_of(jobs: list[Job], name: str) -> dict[str, dict[str, float]]:
    """Return the losses of the trainings of a run, which are of different tasks."""
    found: dict[str, dict[str, float]] = {}
    for job in jobs:
        found |= json.loads((job.folder / LOSSES_NAME).read_text(encoding="utf-8"))[name]
    return found


def loss_difference(
    first: str, second: str, losses: dict[str, dict[str, dict[str, float]]]
) -> dict[str, Any]:
    """Return the loss of the second arm minus that of the first, per seed and over the seeds."""
    by_seed = {}
    for seed in ARMS[second].seeds:
        other = seed if seed in ARMS[first].seeds else ARMS[first].seeds[0]
        # Tasks have equally many rows, so the mean over rows is that over tasks.
        sides = [
            [loss for task in TASKS for _, loss in sorted(losses[name][f"box/{task}"].items())]
            for name in (f"{first}-{other}", f"{second}-{seed}")
        ]
        by_seed[str(seed)] = asdict(compare_scores(sides[0], sides[1], seed=seed))
    values = [item["difference"] for item in by_seed.values()]
    return {
        "first": first,
        "second": second,
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if len(values) > 1 else 0.0,
        "by_seed": by_seed,
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


if __name__ == "__main__":
    sys.exit(main())
