"""`report_to`: names as in TRL, and trackers are told all that stands in `metrics.jsonl`."""

from __future__ import annotations

import json
from typing import ClassVar

import pytest
from transformers import TrainerCallback
from transformers.integrations import INTEGRATION_TO_CALLBACK

from pipeline.errors import TrainingError
from pipeline.training import arguments as arguments_module
from pipeline.training.arguments import build_training_arguments
from pipeline.training.routing_record import RoutingRecord
from tests.fixtures.tiny_runs import LENGTHS, make_recipe, make_tasks, make_trainer

DYNAMIC = {
    "policy": "uniform",
    "max_epochs_per_task": None,
    "dynamic": {"reference_losses": dict.fromkeys(LENGTHS, 1.0), "update_steps": 2},
}


class FakeTracker(TrainerCallback):
    """Keeps what it is told, as it is at that moment."""

    told: ClassVar[list[dict[str, float]]] = []

    def on_log(self, args, state, control, logs=None, **kwargs):
        self.told.append({"step": state.global_step, **logs})


@pytest.fixture(autouse=True)
def _installed(monkeypatch):
    for name in ("tensorboard", "trackio"):
        monkeypatch.setitem(INTEGRATION_TO_CALLBACK, name, FakeTracker)
    for module in (arguments_module, "transformers.integrations.integration_utils"):
        path = module if isinstance(module, str) else module.__name__
        monkeypatch.setattr(
            f"{path}.get_available_reporting_integrations", lambda: ["tensorboard", "trackio"]
        )
    monkeypatch.setattr(FakeTracker, "told", [])


@pytest.mark.parametrize(
    ("report_to", "trackers"),
    [
        ("none", []),
        (["none"], []),
        ([], []),
        ("tensorboard", ["tensorboard"]),
        (["tensorboard", "trackio"], ["tensorboard", "trackio"]),
        ("all", ["tensorboard", "trackio"]),
        (["all"], ["tensorboard", "trackio"]),
    ],
)
def test_names_mean_what_they_mean_in_trl(tmp_path, report_to, trackers):
    recipe = make_recipe(tmp_path, report_to=report_to)
    assert build_training_arguments(recipe, tmp_path).report_to == trackers


def test_one_of_several_that_is_not_installed_is_refused(tmp_path):
    recipe = make_recipe(tmp_path, report_to=["tensorboard", "wandb"])
    with pytest.raises(TrainingError) as caught:
        build_training_arguments(recipe, tmp_path)
    assert str(caught.value) == (
        "report_to: this needs the package 'wandb', which is not installed. pip install wandb. "
        "[TRN011]"
    )


@pytest.mark.parametrize(
    "fields",
    [{}, {"mixture": DYNAMIC}, {"adapter": {"type": "smora", "num_active_ranks": 2}}],
    ids=["lora", "dynamic", "routed"],
)
def test_a_tracker_is_told_what_stands_in_the_log(tmp_path, fields):
    recipe = make_recipe(tmp_path / "run", report_to="trackio", **fields)
    routing = RoutingRecord(list(LENGTHS)) if "adapter" in fields else None
    make_trainer(recipe, make_tasks(tmp_path / "tasks"), routing=routing).train()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert FakeTracker.told == [json.loads(line) for line in lines]
    steps = [told for told in FakeTracker.told if "loss" in told]
    assert len(steps) == 4
    assert all(any(name.startswith("task_loss/") for name in told) for told in steps)
