"""The study of granular tasks on real rows: all seven against whole calls only.

    python -m benchmarks.studies.granular --data-root MIRROR --base FOLDER --runs FOLDER

Trains what is not there yet. When all runs are there, the loss on held-out answers of both, and of
the base, is written to `results/study_granular.json`: models this small write no right call after
so few steps, but the loss on right calls tells them apart.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from pipeline.adapters.registry import load_adapter
from pipeline.annotations.catalogue import load_catalogue
from pipeline.chat.tokenise import ExampleTooLong, tokenise_many
from pipeline.examples.cache import load_examples
from pipeline.files import write_json
from pipeline.models.loading import load_model, load_tokenizer
from pipeline.templates.styles import render_conversation
from pipeline.train import main as train

RECIPES = Path("recipes") / "function_calling"
RESULTS = Path(__file__).parents[1] / "results" / "study_granular.json"
ARMS = ("granular", "composite_only")
SEEDS = (1, 2)
NUM_STEPS = 100
MAX_LENGTH = 1024
NUM_ROWS = 100
"""Held-out rows per task."""
SCORED = {
    "seq_snips/calls": "test",
    "seq_snips/names": "test",
    "top_v2/calls": "test",
    "seal_tools/calls": "test",
    "toolalpaca/calls": "test",
    "api_bank/response": "test",
}
"""Tasks of both arms (calls), of the granular one only (names), and of none (the last two)."""

Losses = npt.NDArray[np.float64]
"""Mean loss per answer token, in nats, of each row."""


def main() -> int:
    """Train what is asked for and not there yet; write the numbers when nothing is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", type=Path, required=True, help="the mirror")
    parser.add_argument("--base", type=Path, required=True, help="folder of the base model")
    parser.add_argument("--runs", type=Path, required=True, help="folder of the runs")
    names = [f"{arm}-{seed}" for seed in SEEDS for arm in ARMS]
    parser.add_argument("--only", choices=names)
    options = parser.parse_args()
    for name in [options.only] if options.only else names:
        if not (options.runs / name / "adapter").is_dir():
            code = train(arguments_of(name, options.runs / name, options.base, options.data_root))
            if code:
                return code
    if all((options.runs / name / "adapter").is_dir() for name in names):
        adapters = {name: options.runs / name / "adapter" for name in names}
        write_json(RESULTS, compare(options.base, adapters, options.data_root))
        print(f"numbers: {RESULTS}")
    return 0


def arguments_of(name: str, folder: Path, base: Path, data_root: Path) -> list[str]:
    """Return the arguments of one training."""
    arm, _, seed = name.rpartition("-")
    scored = f"[{', '.join(name for name, split in SCORED.items())}]"
    settings = {
        "data_root": data_root,
        "model_name_or_path": base,
        "output_dir": folder,
        "seed": seed,
        "max_steps": NUM_STEPS,
        "max_length": MAX_LENGTH,
        "evaluation.tasks": scored,
    }
    given = [part for key, value in settings.items() for part in (f"--{key}", str(value))]
    return [str(RECIPES / f"{arm}.yaml"), *given]


def compare(base: Path, adapters: dict[str, Path], data_root: Path) -> dict[str, Any]:
    """Return the losses of the base and of every run, and their differences."""
    examples = held_out(base, data_root)
    model = load_model(str(base), device="cpu").eval()
    losses = {"base": losses_of(model, examples)}
    for name, folder in adapters.items():
        adapted = load_adapter(model, folder).eval()
        losses[name] = losses_of(adapted, examples)
        model = adapted.unload()
    return {
        "num_steps": NUM_STEPS,
        "tokens_per_step": 4 * MAX_LENGTH,
        "loss": {
            task: {name: mean_and_error(of_run[task]) for name, of_run in losses.items()}
            for task in SCORED
        },
        "composite_only_minus_granular": {
            task: {
                "by_seed": [
                    mean_and_error(
                        losses[f"composite_only-{s}"][task] - losses[f"granular-{s}"][task]
                    )
                    for s in SEEDS
                ],
                "mean": statistics.fmean(
                    float(
                        (losses[f"composite_only-{s}"][task] - losses[f"granular-{s}"][task]).mean()
                    )
                    for s in SEEDS
                ),
            }
            for task in SCORED
        },
    }


def held_out(base: Path, data_root: Path) -> dict[str, list[tuple[Any, Any]]]:
    """Return ids and loss masks of the first rows of each task; longer rows lose context."""
    tokenizer = load_tokenizer(str(base))
    catalogue = load_catalogue()
    found = {}
    for task, split in SCORED.items():
        rows = load_examples(catalogue.get(task), split, data_root=data_root)  # type: ignore[arg-type]
        chosen = [rows[number] for number in range(min(NUM_ROWS, len(rows)))]
        conversations = [render_conversation(row, rows.spec) for row in chosen]
        made = tokenise_many(conversations, tokenizer, task_index=0, max_length=2 * MAX_LENGTH)
        kept = [each for each in made if not isinstance(each, ExampleTooLong)]
        found[task] = [(each.input_ids, each.loss_mask) for each in kept]
    return found


@torch.inference_mode()
def losses_of(model: Any, examples: dict[str, list[tuple[Any, Any]]]) -> dict[str, Losses]:
    """Return the loss of every row of every task, one row at a time."""
    return {
        task: np.array([row_loss(model, ids, mask) for ids, mask in rows])
        for task, rows in examples.items()
    }


def row_loss(model: Any, ids: Any, mask: Any) -> float:
    """Return the mean loss of the tokens that are learned."""
    input_ids = torch.from_numpy(ids.astype(np.int64))[None]
    logits = model(input_ids=input_ids).logits[0, :-1].float()
    loss = torch.nn.functional.cross_entropy(logits, input_ids[0, 1:], reduction="none")
    return float(loss[torch.from_numpy(mask[1:])].mean())


def mean_and_error(values: Losses) -> dict[str, float]:
    """Return the mean over rows with its standard error."""
    error = float(values.std(ddof=1) / len(values) ** 0.5)
    return {"mean": round(float(values.mean()), 4), "standard_error": round(error, 4)}


if __name__ == "__main__":
    raise SystemExit(main())
