"""`torch_compile`: the losses of a model that is not compiled. Generating code takes minutes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.tiny_runs import make_recipe, make_tasks, make_trainer
from tests.soak.outcome import Outcome, timed

_VARIANTS: dict[str, dict[str, Any]] = {
    "float32": {},
    "bfloat16_with_checkpointing": {"bf16": True, "gradient_checkpointing": True},
}


def run(folder: Path) -> Outcome:
    """Train some steps with and without `torch_compile`."""
    tasks = make_tasks(folder / "tasks")
    with timed("compiled_model") as outcome:
        for name, fields in _VARIANTS.items():
            plain = _losses(folder / name, tasks, fields)
            compiled = _losses(
                folder / f"{name}-compiled", tasks, {**fields, "torch_compile": True}
            )
            outcome.cases += 1
            tolerance = 1e-2 if "bf16" in fields else 1e-5
            same = compiled == pytest.approx(plain, rel=tolerance)
            outcome.check(same, f"{name}: {compiled} instead of {plain}")
            pairs = zip(plain, compiled, strict=True)
            outcome.note(f"relative_{name}", max(abs(a - b) / a for a, b in pairs))
    return outcome


def _losses(run_folder: Path, tasks: list, fields: dict[str, Any]) -> list[float]:
    trainer = make_trainer(make_recipe(run_folder, **fields), tasks)
    trainer.train()
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]
