"""Adapter types of equal size on real rows: same base, same batches, as many trained weights.

    python -m benchmarks.studies.adapters --data-root MIRROR --base FOLDER --runs FOLDER

Runs that are there already are not made again, so that they can be made one by one: `--only
smora-2` is the type and the seed. When all are there, `results/study_adapters.json` is written and
the table is printed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.paired import RESULTS, hardware
from benchmarks.studies.jobs import Job
from eval.compare import compare_rows
from eval.metrics import METRICS
from eval.results import read_results, read_samples_by_task, spec_from_results
from eval.statistics import Comparison, PairedDraws, compare_means
from pipeline.adapters.parameter_counts import AdapterSize, measure_adapter
from pipeline.files import write_json
from pipeline.models.loading import build_skeleton
from pipeline.recipe import load_recipe
from pipeline.types import Json

RECIPE = Path("recipes") / "mixed" / "adapters.yaml"
SEEDS = (1, 2, 3)
BASELINE = "lora"


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One type; ranks give all types the same number of trained weights on the study's base."""

    type: str
    options: dict[str, int]
    lora_alpha: int
    """Twice the ranks the update is divided by, so that its scale is 2 for all types."""

    def fields(self) -> list[str]:
        """Return what it changes in the recipe."""
        fields = ["--adapter.type", self.type, "--lora_alpha", str(self.lora_alpha)]
        for name, value in self.options.items():
            fields += [f"--adapter.{name}", str(value)]
        return fields


ARMS = {
    "lora": Arm(type="lora", options={"r": 32}, lora_alpha=64),
    "smora": Arm(type="smora", options={"r": 22, "num_active_ranks": 6}, lora_alpha=12),
    "moe_lora": Arm(
        type="moe_lora", options={"r": 26, "block_size": 2, "num_active_ranks": 6}, lora_alpha=12
    ),
    "mtlora": Arm(type="mtlora", options={"r": 16, "task_rank": 2}, lora_alpha=32),
}


def main() -> int:
    """Make what is asked for and not there yet; report when nothing is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--base", required=True, help="folder of the base model")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    names = [f"{arm}-{seed}" for seed in SEEDS for arm in ARMS]
    parser.add_argument("--only", nargs="+", metavar="RUN", choices=names)
    options = parser.parse_args()
    for name in options.only or names:
        job = job_of(options.runs / name, options.base)
        job.train(options.data_root)
        job.evaluate(options.data_root)
    if all(job_of(options.runs / name, options.base).is_evaluated for name in names):
        found = summary(options.runs, options.base)
        write_json(RESULTS / "study_adapters.json", found)
        print(markdown(found))
    return 0


def job_of(run: Path, base: str) -> Job:
    """Return what a run trains, from its name."""
    arm, _, seed = run.name.rpartition("-")
    arguments = ("--model_name_or_path", base, "--seed", seed, *ARMS[arm].fields())
    return Job(recipe=RECIPE, folder=run, arguments=arguments)


def summary(runs: Path, base: str) -> dict[str, Json]:
    """Return sizes, numbers of every run, and differences from the baseline with intervals."""
    entries = {
        arm: [read_results(job_of(runs / f"{arm}-{seed}", base).results) for seed in SEEDS]
        for arm in ARMS
    }
    found: dict[str, Any] = {
        "schema_version": 1,
        "hardware": hardware(),
        "recipe": str(RECIPE),
        "training": [training_facts(runs, seed) for seed in SEEDS],
        "sizes": {arm: asdict(size_of(runs / f"{arm}-{SEEDS[0]}", base)) for arm in ARMS},
        "arms": {arm: asdict(settings) for arm, settings in ARMS.items()},
        "majority": majority(entries[BASELINE][0]),
        "by_seed": {
            arm: [
                {"mean": each["macro_mean"], "tasks": headlines(each["tasks"], "metrics")}
                for each in of_arm
            ]
            for arm, of_arm in entries.items()
        },
        "differences": {
            arm: differences(runs, base, arm, entries[BASELINE][0]["tasks"])
            for arm in ARMS
            if arm != BASELINE
        },
    }
    return cast("dict[str, Json]", found)


def size_of(run: Path, base: str) -> AdapterSize:
    """Return the numbers of weights of a run's adapter."""
    recipe = load_recipe(RECIPE, list(job_of(run, base).arguments))
    tasks = [entry.task for entry in recipe.tasks]
    return measure_adapter(build_skeleton(base), recipe.adapter_settings, tasks)


def training_facts(runs: Path, seed: int) -> dict[str, Json]:
    """Return the steps and tokens of a seed.

    Raises:
        ValueError: The types have not read the same number of tokens.
    """
    found = []
    for arm in ARMS:
        metrics = (runs / f"{arm}-{seed}" / "metrics.jsonl").read_text(encoding="utf-8")
        lines = [line for line in map(json.loads, metrics.splitlines()) if "num_tokens" in line]
        found.append({"steps": lines[-1]["step"], "tokens": lines[-1]["num_tokens"]})
    if any(facts != found[0] for facts in found):
        raise ValueError(f"seed {seed}: the types were not trained alike: {found}")
    return {"seed": seed, **found[0]}


def headlines(tasks: dict[str, Any], values: str) -> dict[str, float | None]:
    """Return the headline number of every task."""
    found = {}
    for task, entry in tasks.items():
        value = (entry[values] or {}).get(entry["headline"])
        found[task] = None if value is None else value["value"]
    return found


def majority(results: dict[str, Any]) -> dict[str, float | None]:
    """Return what the most common answer gets."""
    return headlines(results["tasks"], "majority")


def differences(runs: Path, base: str, arm: str, tasks: dict[str, Any]) -> dict[str, Any]:
    """Compare a type with the baseline, on the answers of all seeds together.

    The three answers to a row, and rows of one source, are drawn together. So an interval tells
    what other rows would change; what other seeds would change the numbers of each seed tell.
    """
    pairs = {
        name: [
            read_samples_by_task(job_of(runs / f"{name}-{seed}", base).results, tasks)
            for seed in SEEDS
        ]
        for name in (BASELINE, arm)
    }
    draws: list[PairedDraws] = []
    found: dict[str, Any] = {}
    for place, (task, entry) in enumerate(tasks.items()):
        sources = sources_of(pairs[BASELINE][-1][task])
        first, second = (
            [
                {**row, "cluster": source}
                for samples in pairs[name]
                for source, row in zip(sources, samples[task], strict=True)
            ]
            for name in (BASELINE, arm)
        )
        metric = METRICS[entry["headline"]]
        spec = spec_from_results(task, entry)
        draws.append(compare_rows(metric, (first, second), spec, seed=place))
        found[task] = {"metric": metric.name, **asdict(draws[-1].comparison)}
    return {"tasks": found, "mean": asdict(compare_means(draws))}


def sources_of(rows: Sequence[dict[str, Any]]) -> list[int]:
    """Return what is drawn together with each row: its source, or the row alone."""
    known = [row.get("cluster") for row in rows]
    return [place if source is None else int(source) for place, source in enumerate(known)]


def markdown(found: dict[str, Any]) -> str:
    """Return the table: the baseline's numbers, and each type with its difference, times 100."""
    others = [arm for arm in ARMS if arm != BASELINE]
    head = ["task", "metric", "majority", BASELINE, *(f"{arm}, difference" for arm in others)]
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    first = found["differences"][others[0]]["tasks"]
    for task, item in first.items():
        most = found["majority"][task]
        cells = [task, item["metric"], "-" if most is None else f"{100 * most:.1f}"]
        cells.append(f"{100 * item['first']:.1f}")
        cells += [_cell(Comparison(**_numbers(found, arm, task))) for arm in others]
        lines.append(f"| {' | '.join(cells)} |")
    means = [found["differences"][arm]["mean"] for arm in others]
    cells = ["mean", "", "", f"{100 * means[0]['first']:.1f}"]
    cells += [_cell(Comparison(**mean)) for mean in means]
    lines.append(f"| {' | '.join(cells)} |")
    for arm in ARMS:
        seeds = ", ".join(f"{100 * run['mean']:.1f}" for run in found["by_seed"][arm])
        size = found["sizes"][arm]
        lines.append(f"{arm}: means of the seeds {seeds}; {size['trainable']:,} weights")
    return "\n".join(lines)


def _numbers(found: dict[str, Any], arm: str, task: str) -> dict[str, Any]:
    item: dict[str, Any] = dict(found["differences"][arm]["tasks"][task])
    del item["metric"]
    return item


def _cell(item: Comparison) -> str:
    low, high = 100 * item.low, 100 * item.high
    return f"{100 * item.second:.1f}, {100 * item.difference:+.1f} [{low:+.1f}, {high:+.1f}]"


if __name__ == "__main__":
    sys.exit(main())
