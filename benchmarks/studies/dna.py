"""The DNA study: ten yeast histone marks together, each alone, and together with SMoRA.

All models start from nothing.

    python -m benchmarks.studies.dna --data-root MIRROR --runs FOLDER [--only RUN ...]

Every run trains and evaluates what is not there yet; the runs of `--only` may be made one by one.
When all are there, their numbers are written to `results/study_dna.json`, beside a logistic
regression on the same rows, which sees how often each word of 1 to 5 bases occurs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from benchmarks.studies.jobs import Job
from eval.results import read_results
from pipeline.examples.cache import load_examples
from pipeline.files import read_json, write_json
from pipeline.recipe import Recipe, load_recipe
from pipeline.sources.data_root import resolve_data_root
from pipeline.training.task_tokens import TaskData, data_of, load_source
from pipeline.types import TaskExample

RECIPES = Path("recipes") / "dna"
JOINT, SINGLE = RECIPES / "histone_marks_joint.yaml", RECIPES / "histone_mark_single.yaml"
RESULTS = Path(__file__).parents[1] / "results" / "study_dna.json"
NUM_STEPS = 6000
"""Of a joint run; a mark alone has a tenth of them."""
MARKS = ("H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2")
MARKS += ("H3K4me3", "H3K79me3", "H3K9ac", "H4", "H4ac")
SMORA = (
    *("--adapter.type", "smora", "--adapter.num_active_ranks", "32"),
    *("--lora_target_modules", "[o_proj, gate_proj, up_proj, down_proj]"),
    "--lora_modules_to_save",
    "[embed_tokens, q_proj, k_proj, v_proj, input_layernorm, post_attention_layernorm, norm, "
    "lm_head]",
)
COMMON = ("--bf16", "false", "--logging_steps", "100")
"""A model this small is no faster in bfloat16 on a CPU."""
ARMS: dict[str, tuple[str, ...]] = {"joint": (), "single": (), "smora": SMORA}
SEEDS = {"joint": (1, 2, 3), "single": (1, 2, 3), "smora": (1,)}
"""SMoRA costs twice the time of a joint run here, so it has one seed."""
FLOOR_STRENGTHS = (1.0, 0.001)
"""Values of `C` of the logistic regression; the better one on the test rows is the floor."""


def main() -> int:
    """Run what is asked for and not there yet; write the numbers when nothing is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--num-steps", type=int, default=NUM_STEPS)
    names = [f"{arm}-{seed}" for arm in ARMS for seed in SEEDS[arm]]
    parser.add_argument("--only", nargs="+", metavar="RUN", choices=names)
    options = parser.parse_args()
    jobs = {name: list(jobs_of(name, options.runs, options.num_steps)) for name in names}
    for name in options.only or names:
        for job in jobs[name]:
            job.train(options.data_root)
            job.evaluate(options.data_root)
    if all(job.is_evaluated for part in jobs.values() for job in part):
        found = {name: scores(part) for name, part in jobs.items()}
        write_json(
            RESULTS, summary(found, floors(options.data_root, options.runs), options.num_steps)
        )
        print(f"numbers: {RESULTS}")
    return 0


def jobs_of(name: str, runs: Path, num_steps: int) -> Iterator[Job]:
    """Yield the trainings of a run."""
    arm, seed = name.split("-")
    common = ("--seed", seed, *COMMON)
    if arm != "single":
        arguments = (*common, "--max_steps", str(num_steps), *ARMS[arm])
        yield Job(recipe=JOINT, folder=runs / name, arguments=arguments)
        return
    for mark in MARKS:
        tasks = f"[gue/emp_{mark}]"
        arguments = (*common, "--max_steps", str(num_steps // len(MARKS)))
        arguments += ("--tasks", tasks, "--evaluation.tasks", tasks)
        yield Job(recipe=SINGLE, folder=runs / name / mark, arguments=arguments)


def scores(jobs: Sequence[Job]) -> dict[str, float]:
    """Return the MCC of every mark of a run."""
    found = {}
    for job in jobs:
        for task, entry in read_results(job.results)["tasks"].items():
            found[task.removeprefix("gue/emp_")] = float(entry["metrics"]["mcc"]["value"])
    return found


def floors(data_root: Path, runs: Path) -> dict[str, float]:
    """Return the MCC of the better logistic regression on the kept training rows of each mark."""
    file = runs / "floors.json"
    if not file.is_file():
        recipe = load_recipe(JOINT, ["--data_root", str(data_root)])
        marks = data_of(recipe, "train")
        write_json(
            file, {data.name.removeprefix("gue/emp_"): floor(recipe, data) for data in marks}
        )
    return cast("dict[str, float]", read_json(file))


def floor(recipe: Recipe, data: TaskData) -> float:
    """Return the test MCC of one mark."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import matthews_corrcoef
    from sklearn.preprocessing import StandardScaler

    rows, answers = words_of(load_source(recipe, data).examples)
    test = load_examples(data.annotation, "test", data_root=resolve_data_root(recipe.data_root))
    test_rows, test_answers = words_of(test)
    scaler = StandardScaler().fit(rows)
    return max(
        float(
            matthews_corrcoef(
                test_answers,
                LogisticRegression(C=strength, max_iter=1000)
                .fit(scaler.transform(rows), answers)
                .predict(scaler.transform(test_rows)),
            )
        )
        for strength in FLOOR_STRENGTHS
    )


def words_of(examples: Sequence[TaskExample]) -> tuple[npt.NDArray[np.float64], list[bool]]:
    """Return how often each word of 1 to 5 bases occurs, `[rows, 1364]`, and the answers."""
    rows = []
    for example in examples:
        letters = str(example.inputs["sequence"]).encode()
        bases = np.frombuffer(
            letters.translate(bytes.maketrans(b"ACGTN", bytes(range(4)) + b"\0")), np.uint8
        )
        counts = []
        for length in range(1, 6):
            numbers = sum(
                bases[place : len(bases) - length + 1 + place].astype(np.int64)
                * 4 ** (length - 1 - place)
                for place in range(length)
            )
            counts.append(np.bincount(numbers, minlength=4**length))
        rows.append(np.concatenate(counts))
    return np.array(rows, dtype=np.float64), [example.target == "yes" for example in examples]


def summary(
    found: dict[str, dict[str, float]], floor_scores: dict[str, float], num_steps: int
) -> dict[str, Any]:
    """Return all numbers, per mark over the seeds, and how many marks lie above the floor."""
    by_mark = {
        mark: {
            "floor": floor_scores[mark],
            **{
                arm: over_seeds([found[f"{arm}-{seed}"][mark] for seed in SEEDS[arm]])
                for arm in ARMS
            },
        }
        for mark in MARKS
    }
    means = {
        arm: over_seeds([statistics.fmean(found[f"{arm}-{seed}"].values()) for seed in SEEDS[arm]])
        for arm in ARMS
    }
    above = {arm: sum(row[arm]["mean"] > row["floor"] for row in by_mark.values()) for arm in ARMS}
    return {
        "schema_version": 1,
        "num_steps": num_steps,
        "seeds": {arm: list(seeds) for arm, seeds in SEEDS.items()},
        "mcc": by_mark,
        "mean_mcc": {"floor": statistics.fmean(floor_scores.values()), **means},
        "marks_above_floor": above,
        "runs": found,
    }


def over_seeds(values: Sequence[float]) -> dict[str, float]:
    """Return mean and deviation."""
    return {
        "mean": statistics.fmean(values),
        "deviation": statistics.stdev(values) if values[1:] else 0.0,
    }


if __name__ == "__main__":
    sys.exit(main())
