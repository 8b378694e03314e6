"""Rates that follow the loss of a real run: bounded, recorded, and the same after a stop."""

from __future__ import annotations

import json

import pytest

from pipeline.mixture import batches as batches_module
from tests.fixtures.tiny_runs import LENGTHS, make_recipe, make_tasks, make_trainer

STEPS, UPDATE_STEPS = 48, 8
DYNAMIC = {
    "reference_losses": {"short": 5.5, "long": 0.0, "rare": 6.0},
    "update_steps": UPDATE_STEPS,
    "step_size": 5.0,
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tokens"))


@pytest.fixture(autouse=True)
def short_windows(monkeypatch):
    """1024 draws, which are 16 steps of 64 rows."""
    monkeypatch.setattr(batches_module, "WINDOW_LENGTH", 1024)


def recipe_of(folder, **changes):
    mixture = {"policy": "uniform", "max_epochs_per_task": None, "dynamic": DYNAMIC}
    fields = {
        "mixture": mixture,
        "packing": False,
        "max_steps": STEPS,
        "per_device_train_batch_size": 32,
        "gradient_accumulation_steps": 2,
        "learning_rate": 1e-4,
    }
    return make_recipe(folder, **(fields | changes))


def lines_of(folder) -> list[dict]:
    text = (folder / "metrics.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def rates_by_step(folder) -> dict[int, list[float]]:
    return {
        line["step"]: [line[f"mixture_rate/{task}"] for task in LENGTHS]
        for line in lines_of(folder)
        if "mixture_rate/short" in line
    }


def examples_by_task(trainer, step: int) -> dict[str, int]:
    batches = trainer.get_train_dataloader().dataset
    names = [task for task, _ in batches.step_examples(step)]
    return {task: names.count(task) for task in LENGTHS}


def test_task_far_above_its_reference_is_drawn_more_from_the_next_window_on(tmp_path, tasks):
    trainer = make_trainer(recipe_of(tmp_path), tasks)
    trainer.train()
    rates = rates_by_step(tmp_path)
    assert sorted(rates) == [8, 16, 24, 32, 40, 48]
    for found in rates.values():
        assert sum(found) == pytest.approx(1.0)
        assert all(1 / 6 - 1e-9 <= rate <= 2 / 3 + 1e-9 for rate in found)
    # The updates after steps 8 and 16 hold from the first window that begins after step 24: step
    # 32, counted from 0. Until then the rates are those of the recipe, and are logged as such.
    assert all(rates[step] == pytest.approx([1 / 3] * 3) for step in (8, 16, 24, 32))
    assert all(abs(n - 64 / 3) <= 3 for n in examples_by_task(trainer, 31).values())
    short, long, rare = rates[40]
    assert long > short
    assert long > rare
    assert examples_by_task(trainer, 33)["long"] == pytest.approx(64 * long, abs=3)


def test_updates_do_not_depend_on_how_often_is_logged(tmp_path, tasks):
    found = []
    for logging_steps in (1, 3):
        folder = tmp_path / str(logging_steps)
        make_trainer(recipe_of(folder, logging_steps=logging_steps), tasks).train()
        found.append(rates_by_step(folder))
    assert found[0] == found[1]


@pytest.mark.parametrize("save_steps", [12, 32])
def test_resumed_run_draws_and_weighs_as_if_never_stopped(tmp_path, tasks, save_steps):
    saving = {"save_strategy": "steps", "save_steps": save_steps, "save_total_limit": None}
    make_trainer(recipe_of(tmp_path / "whole", **saving), tasks).train()
    checkpoint = tmp_path / "whole" / f"checkpoint-{save_steps}"
    resumed = make_trainer(recipe_of(tmp_path / "resumed", **saving), tasks)
    resumed.train(resume_from_checkpoint=str(checkpoint))
    expected = {s: r for s, r in rates_by_step(tmp_path / "whole").items() if s > save_steps}
    assert expected
    assert rates_by_step(tmp_path / "resumed") == expected

    def losses(folder):
        return [line["loss"] for line in lines_of(folder) if "loss" in line]

    assert losses(tmp_path / "resumed") == losses(tmp_path / "whole")[save_steps:]


def test_rates_are_those_of_the_recipe_when_none_are_asked_for(tmp_path, tasks):
    recipe = recipe_of(tmp_path, mixture={"policy": "uniform"}, max_steps=2)
    make_trainer(recipe, tasks).train()
    assert rates_by_step(tmp_path) == {}


def test_workers_that_fetch_beyond_the_next_update_are_refused(tmp_path):
    with pytest.raises(
        ValueError, match="100 batches are fetched ahead, but rates change after 16"
    ):
        recipe_of(tmp_path, dataloader_num_workers=50)


def test_loader_workers_draw_the_same(tmp_path, tasks):
    found = []
    for workers in (0, 2):
        folder = tmp_path / str(workers)
        recipe = recipe_of(folder, dataloader_num_workers=workers)
        make_trainer(recipe, tasks).train()
        found.append([line.get("loss") for line in lines_of(folder)])
    assert found[0] == found[1]
