"""The study of merging on real rows: single-task experts, all methods, and joint training.

The base knows no answer forms, so all experts go on from one adapter that was trained on all tasks
for a short while, as experts of a larger model go on from one that follows instructions.

    python -m benchmarks.studies.merging --data-root MIRROR --base BASE --runs RUNS [--only GROUP]

Makes what is not there yet; `--only` makes one group of runs. The numbers of what is there are
written to `results/study_merging.json`, each row with the number of its seeds.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.studies.jobs import run_command
from eval.results import read_results
from pipeline.files import read_json, write_json
from pipeline.train import main as train

RESULTS = Path(__file__).parents[1] / "results" / "study_merging.json"
TASKS = {
    "intent": "snips_custom_intents",
    "question": "manuals/question_type",
    "section": "pubmedqa/sections",
    "promoter": "gue/prom_core_tata",
}
SEEDS = (1, 2, 3)
WARM = "warm"
"""The adapter from which experts and joint training go on; one for all seeds."""
NUM_STEPS = {WARM: 120, "expert": 300, "joint": 1200}
"""The joint run makes as many steps as the experts of one seed together."""
MAX_ROWS = 200
TRAINING: dict[str, Any] = {
    "max_length": 256,
    "decontaminate": "drop",
    "lora_r": 16,
    "lora_alpha": 32,
    "learning_rate": 2e-3,
    "lr_scheduler_type": "linear",
    "warmup_steps": 10,
    "per_device_train_batch_size": 4,
    "packing": True,
    "loss_reduction": "example",
    "logging_steps": 100,
    "save_strategy": "no",
}
FIT = {"split": "train", "num_prompts": 48, "batch_size": 8, "max_new_tokens": 12}
LEARNED = {"num_steps": 80, "learning_rate": 2e-2}
"""Few steps at a high rate: one core."""
NORMED = "weighted"
"""Weights inverse to the norm of an adapter's change, as many do by hand."""
METHODS: dict[str, dict[str, Any]] = {
    "uniform": {"method": "linear"},
    "weighted": {"method": "linear"},
    "best_uniform": {
        "method": "best_uniform",
        "fit": {"objective": "supervised", "grid": [0.1, 0.2, 0.25, 0.3, 0.4, 0.5]},
    },
    "svd": {"method": "linear", "rank": 16},
    "ties": {"method": "ties", "density": 0.5},
    "dare": {"method": "dare", "density": 0.5},
    "dare_ties": {"method": "dare_ties", "density": 0.5},
    "magnitude": {"method": "magnitude", "density": 0.5},
    "regmean_gold": {"method": "regmean", "fit": {"objective": "supervised"}},
    "regmean_own": {"method": "regmean", "fit": {"objective": "expert_kl"}},
    "expert_kl_task": {
        "method": "learned",
        "fit": {"objective": "expert_kl", "granularity": "task", **LEARNED},
    },
    "expert_kl_block": {
        "method": "learned",
        "fit": {"objective": "expert_kl", "granularity": "block", **LEARNED},
    },
    "entropy_block": {
        "method": "learned",
        "fit": {"objective": "entropy", "granularity": "block", **LEARNED},
    },
    "supervised_block": {
        "method": "learned",
        "fit": {"objective": "supervised", "granularity": "block", **LEARNED},
    },
}
TRANSFER = "scalearn_uniform"
"""One adapter per task, so no merge: what the experts' scales give each task by itself."""


def main() -> int:
    """Make what is asked for and not there yet; write the numbers when nothing is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", required=True, help="the mirror")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--only", metavar="GROUP", choices=list(groups()))
    options = parser.parse_args()
    for group, names in groups().items():
        if options.only in (None, group):
            for name in names:
                if not is_done(options.runs / name):
                    Run(name, options.runs, options.data_root, options.base).make()
    write_json(RESULTS, summary(options.runs))
    print(f"numbers: {RESULTS}")
    return 0


def groups() -> dict[str, list[str]]:
    """Return the names of all runs by group, in an order in which each finds what it needs."""
    found = {"base": ["base", WARM]}
    for seed in SEEDS:
        found[f"experts-{seed}"] = [f"expert-{task}-{seed}" for task in TASKS]
        found[f"merges-{seed}"] = [f"{method}-{seed}" for method in METHODS]
        found[f"joint-{seed}"] = [f"joint-{seed}"]
    found |= {
        f"transfers-{seed}": [f"{TRANSFER}-{task}-{seed}" for task in TASKS] for seed in SEEDS
    }
    return found


def is_done(folder: Path) -> bool:
    """Return whether a run has been evaluated."""
    return (folder / "done.json").is_file()


class Run:
    """One training or merge, and its evaluation."""

    def __init__(self, name: str, runs: Path, data_root: str, base: str) -> None:
        self.folder = runs / name
        self.runs = runs
        self.data_root = data_root
        self.base = base
        self.kind, _, rest = name.partition("-")
        self.seed = int(name.rpartition("-")[2]) if rest else 0
        self.task = rest.rpartition("-")[0]

    def make(self) -> None:
        """Make the adapter and evaluate it; written last is how long it took, and how large."""
        self.folder.mkdir(parents=True, exist_ok=True)
        started = time.monotonic()
        forget_peak()
        tasks = list(TASKS.values())
        adapter: Path | None = self.folder / "adapter"
        if self.kind == "base":
            adapter = None
        elif self.kind in NUM_STEPS:
            tasks = [TASKS[self.task]] if self.task else tasks
            self.train(tasks)
        elif self.kind == TRANSFER:
            tasks = [TASKS[self.task]]
            recipe = self.merge_recipe("learned", {"fit": {**FIT, **LEARNED}})
            options = ["--target", self.task, "--variant", "uniform", "--out", str(adapter)]
            self.taskloom("transfer", str(recipe), *options)
        else:
            self.taskloom("merge", str(self.merge_recipe(self.kind, METHODS[self.kind])))
        seconds = time.monotonic() - started
        peak_mib = peak_kib() / 1024
        options = ["--request", "choices", "--max-rows", str(MAX_ROWS), "--tasks", ",".join(tasks)]
        options += [] if adapter is None else ["--adapter", str(adapter)]
        self.taskloom("eval", self.base, *options, "--out", str(self.folder / "eval"))
        found = {"seconds": round(seconds, 1), "peak_mib": round(peak_mib), "tasks": self.scores()}
        write_json(self.folder / "done.json", found)

    def train(self, tasks: list[str]) -> None:
        """Train an adapter on one task, or on all."""
        recipe = {
            "model_name_or_path": self.base,
            "data_root": self.data_root,
            "tasks": tasks,
            "output_dir": str(self.folder),
            "overwrite_output_dir": True,
            "max_steps": NUM_STEPS[self.kind],
            "mixture": {"policy": "uniform", "max_epochs_per_task": None},
            "seed": self.seed,
            **TRAINING,
        }
        if self.kind != WARM:
            recipe["adapter"] = {"start_from": str(self.runs / WARM / "adapter")}
        path = self.runs / f"{self.folder.name}.yaml"
        path.write_text(json.dumps(recipe))
        if code := train([str(path)]):
            sys.exit(code)

    def merge_recipe(self, name: str, fields: dict[str, Any]) -> Path:
        """Write the recipe of a merge of this seed's experts, and return its path."""
        adapters = [
            {
                "name": short,
                "path": str(self.runs / f"expert-{short}-{self.seed}" / "adapter"),
                "task": task,
            }
            for short, task in TASKS.items()
        ]
        if name == NORMED:
            norms = [change_norm(Path(str(each["path"]))) for each in adapters]
            mean = statistics.fmean(norms)
            for each, norm in zip(adapters, norms, strict=True):
                each["weight"] = mean / norm / len(adapters)
        recipe: dict[str, Any] = {"adapters": adapters, "seed": self.seed, **fields}
        recipe["output_dir"] = str(self.folder / "adapter")
        if "fit" in recipe:
            recipe["fit"] = {"model_name_or_path": self.base, **FIT, **recipe["fit"]}
        path = self.folder / "merge.yaml"
        path.write_text(json.dumps(recipe))
        return path

    def taskloom(self, *arguments: str) -> None:
        """Run a command, and stop at its mistakes."""
        run_command("--data-root", self.data_root, *arguments)

    def scores(self) -> dict[str, Any]:
        """Return the headline number of every task, and its majority baseline."""
        name = "base" if self.kind == "base" else "adapter"
        found = {}
        for task, entry in read_results(self.folder / "eval" / name)["tasks"].items():
            majority = (entry["majority"] or {}).get("accuracy")
            found[task] = {
                **entry["metrics"]["accuracy"],
                "majority": None if majority is None else majority["value"],
                "num_rows": entry["num_rows"],
            }
        return found


def forget_peak() -> None:
    """Begin to measure the process's largest memory anew (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_kib() -> int:
    """Return the process's largest memory since then."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


def change_norm(adapter: Path) -> float:
    """Return the Frobenius norm of all changes of an adapter."""
    from pipeline.adapters.merging.factors import load_expert

    modules = load_expert("one", adapter).modules.values()
    return float(sum((each.B @ each.A).square().sum() for each in modules)) ** 0.5


def summary(runs: Path) -> dict[str, Any]:
    """Return all numbers by row of the table: per task and for the mean, over seeds."""
    base, warm = (read_json(runs / name / "done.json") for name in ("base", WARM))
    majority = {task: each["majority"] for task, each in base["tasks"].items()}
    names = ["experts", *METHODS, "joint", TRANSFER]
    rows = [found for name in names if (found := row(name, seeds_of(name, runs))) is not None]
    return {
        "schema_version": 1,
        "tasks": TASKS,
        "num_steps": NUM_STEPS,
        "training": TRAINING,
        "fit": FIT,
        "methods": METHODS,
        "majority": {**majority, "mean": statistics.fmean(majority.values())},
        "rows": [row("base", [base]), row(WARM, [warm]), *rows],
    }


def seeds_of(name: str, runs: Path) -> list[dict[str, Any]]:
    """Return the finished runs of a row; those of single tasks joined by seed."""
    kind = {"experts": "expert", TRANSFER: TRANSFER}.get(name)
    found = []
    for seed in SEEDS:
        parts = [f"{kind}-{task}-{seed}" for task in TASKS] if kind else [f"{name}-{seed}"]
        if all(is_done(runs / part) for part in parts):
            found.append(joined([read_json(runs / part / "done.json") for part in parts]))
    return found


def joined(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return runs of one seed as one: seconds add up, of memory the most counts."""
    return {
        "seconds": sum(part["seconds"] for part in parts),
        "peak_mib": max(part["peak_mib"] for part in parts),
        "tasks": {task: each for part in parts for task, each in part["tasks"].items()},
    }


def row(name: str, seeds: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return one row: mean and deviation over seeds, of each task and of their mean."""
    if not seeds:
        return None
    by_seed = [{task: seed["tasks"][task]["value"] for task in TASKS.values()} for seed in seeds]
    means = [statistics.fmean(each.values()) for each in by_seed]
    return {
        "name": name,
        "num_seeds": len(seeds),
        "mean": statistics.fmean(means),
        "deviation": statistics.stdev(means) if len(means) > 1 else None,
        "means_by_seed": means,
        "tasks": {
            task: statistics.fmean(each[task] for each in by_seed) for task in TASKS.values()
        },
        "seconds": statistics.median(seed["seconds"] for seed in seeds),
        "peak_mib": max(seed["peak_mib"] for seed in seeds),
    }


if __name__ == "__main__":
    sys.exit(main())
