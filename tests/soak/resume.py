"""A run stopped after every step: what follows is the undisturbed run, bit by bit."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from tests.fixtures.tiny_runs import adapter_weights, make_recipe, make_tasks, make_trainer
from tests.soak.outcome import Outcome, timed
from tests.soak.stopping import StopAt

_OF_THE_CLOCK = {
    "tokens_per_second",
    "train_runtime",
    "train_loss",
    "total_flos",
    "train_samples_per_second",
    "train_steps_per_second",
}


def run(
    folder: Path,
    *,
    num_steps: int,
    stops: Iterable[int],
    variants: Iterable[tuple[bool, int]] = tuple(itertools.product((True, False), (1, 4))),
) -> Outcome:
    """Stop after each of `stops` and go on.

    Args:
        folder: Where runs are written.
        num_steps: Steps of the whole run.
        stops: Steps after which it is stopped.
        variants: Packing, and accumulated micro-batches.
    """
    tasks = make_tasks(folder / "tasks")
    stops, variants = list(stops), list(variants)
    names = [f"{'packed' if packing else 'padded'}_{count}" for packing, count in variants]
    with timed(f"resume_after_every_step_{'_'.join(names)}") as outcome:
        for name, (packing, accumulation) in zip(names, variants, strict=True):
            fields = {
                "packing": packing,
                "gradient_accumulation_steps": accumulation,
                "lora_dropout": 0.1,
                "max_steps": num_steps,
                "save_total_limit": 1,
            }
            whole = make_trainer(make_recipe(folder / name, **fields), tasks)
            whole.train()
            weights = adapter_weights(whole)
            for stop in stops:
                found = _stop_and_resume(folder / f"{name}-{stop}", tasks, fields, stop, outcome)
                outcome.cases += 1
                same = numbers(found.state.log_history) == numbers(whole.state.log_history)
                outcome.check(same, f"{name}, stopped after {stop}: other numbers are logged")
                mine = adapter_weights(found)
                same = all(torch.equal(weights[each], mine[each]) for each in weights)
                outcome.check(same, f"{name}, stopped after {stop}: other weights")
    return outcome


def _stop_and_resume(
    run: Path, tasks: list, fields: dict[str, Any], stop: int, outcome: Outcome
) -> Any:
    stopping = StopAt(stop)
    first = make_trainer(make_recipe(run, **fields), tasks, signals=stopping.signals)
    stopping.train(first)
    outcome.check(first.stopped_by == "SIGTERM", f"{run.name} was not stopped")
    outcome.check(first.state.global_step == stop, f"{run.name} stopped elsewhere")
    second = make_trainer(make_recipe(run, **fields), tasks)
    second.train(resume_from_checkpoint=str(run / f"checkpoint-{stop}"))
    return second


def numbers(history: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return what was logged of the steps, without what the clock decides."""
    return [
        {name: value for name, value in log.items() if name not in _OF_THE_CLOCK}
        for log in history
        if "loss" in log
    ]
