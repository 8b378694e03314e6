"""Numbers that are none, put in at random places: told in the same step, and nothing is learned."""

from __future__ import annotations

import json
import math
import random
import shutil
from pathlib import Path

import torch

from pipeline.errors import TrainingError
from tests.fixtures.tiny_runs import adapter_weights, make_recipe, make_tasks, make_trainer
from tests.soak.outcome import Outcome, timed

_NUM_STEPS = 6


def run(folder: Path, *, cases: int, seed: int = 0) -> Outcome:
    """Break one number in each of `cases` short runs."""
    chance = random.Random(seed)
    tasks = make_tasks(folder / "tasks")
    with timed("numbers_that_are_none") as outcome:
        for number in range(cases):
            where = ("loss", "activation", "gradient", "weight")[number % 4]
            _break_one(folder / "run", tasks, where, chance, outcome)
            outcome.cases += 1
            shutil.rmtree(folder / "run")
    return outcome


def _break_one(
    run_folder: Path, tasks: list, where: str, chance: random.Random, outcome: Outcome
) -> None:
    value = chance.choice([math.nan, math.inf, -math.inf])
    step = chance.randint(1, _NUM_STEPS - 2)
    fields = {
        "gradient_accumulation_steps": chance.choice([1, 2]),
        "packing": chance.random() < 0.5,
        "max_steps": _NUM_STEPS,
    }
    case = f"{where} {value} in step {step}, {fields}"
    trainer = make_trainer(make_recipe(run_folder, **fields), tasks)
    poison(trainer, where, {step}, value)
    seen = _weights_before_updates(trainer)
    error = None
    try:
        trainer.train()
    except TrainingError as raised:
        error = raised
    skipped = _skipped_steps(run_folder)
    # A broken weight stays broken, so the run ends with the third step it spoils.
    wanted = [step, step + 1, step + 2] if where == "weight" else [step]
    outcome.check([each["step"] for each in skipped] == wanted, f"{case}: told of {skipped}")
    outcome.check(all(each["rows"] for each in skipped), f"{case}: no rows are named")
    outcome.check((error is not None) == (where == "weight"), f"{case}: ended with {error}")
    seen.append(adapter_weights(trainer))
    same = all(_are_equal(seen[step - 1], each) for each in seen[step : step + len(wanted)])
    outcome.check(same, f"{case}: a weight has changed")


def _weights_before_updates(trainer: object) -> list[dict[str, torch.Tensor]]:
    """Fill the list with the weights as they are when each step has its gradients."""
    seen: list[dict[str, torch.Tensor]] = []
    judge = trainer._get_grad_norm

    def remember(*args: object, **options: object) -> object:
        seen.append(adapter_weights(trainer))
        return judge(*args, **options)

    trainer._get_grad_norm = remember
    return seen


def _are_equal(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    pairs = ((first[name], second[name]) for name in first)
    return all(torch.allclose(a, b, rtol=0, atol=0, equal_nan=True) for a, b in pairs)


def _skipped_steps(run_folder: Path) -> list[dict]:
    lines = map(json.loads, (run_folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line.get("event") == "skipped_step"]


def poison(trainer, where: str, steps: set[int], value: float) -> None:
    """Put `value` into the loss, a gradient, the activations or a weight of these steps, from 1."""
    model = trainer.model

    def is_due() -> bool:
        return trainer.model.training and trainer.state.global_step + 1 in steps

    if where == "activation":
        layer = model.get_base_model().model.norm
        layer.register_forward_hook(
            lambda module, inputs, output: output * value if is_due() else None
        )
    elif where == "weight":
        weight = next(each for name, each in model.named_parameters() if "lora_A" in name)

        def break_weight(module, inputs):
            if is_due():
                weight.data[0] = value

        model.register_forward_pre_hook(break_weight)
    elif where == "gradient":
        parameter = next(each for name, each in model.named_parameters() if "lora_B" in name)
        parameter.register_hook(lambda grad: torch.full_like(grad, value) if is_due() else grad)
    else:
        compute_loss = trainer.compute_loss

        def infinite_loss(module, inputs, *args, **options):
            forward = module.forward

            def changed(*values, **names):
                output = forward(*values, **names)
                if is_due() and output.label_mask is not None:
                    # Its gradient stays finite: only the number itself tells.
                    output.log_probs = output.log_probs - output.label_mask * abs(value)
                return output

            module.forward = changed
            try:
                return compute_loss(module, inputs, *args, **options)
            finally:
                module.forward = forward

        trainer.compute_loss = infinite_loss
