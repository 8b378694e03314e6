"""Runs that are resumed, have little data or a model of another kind, from recipe to adapter."""

from __future__ import annotations

import json
import shutil

import pytest

from pipeline.errors import CheckpointError, TrainingError
from pipeline.mixture import batches as batches_module
from pipeline.mixture import schedule as schedule_module
from pipeline.training import run as run_module
from pipeline.training.run import run_training
from tests.fixtures.tiny_recipe import tiny_recipe, write_tiny_recipe

FIELDS = {
    "mixture": {"max_epochs_per_task": None},
    "max_steps": 4,
    "logging_steps": 1,
    "save_strategy": "steps",
    "save_steps": 2,
    "save_total_limit": None,
    "per_device_train_batch_size": 2,
}


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))


def checkpoints(folder) -> list[str]:
    return sorted(path.name for path in (folder / "run").glob("checkpoint-*"))


def test_a_link_to_a_checkpoint_is_the_checkpoint(tmp_path):
    whole = run_training(write_tiny_recipe(tmp_path, **FIELDS))
    (tmp_path / "run" / "latest").symlink_to("checkpoint-2")
    recipe = tiny_recipe(
        tmp_path, **FIELDS, resume_from_checkpoint=str(tmp_path / "run" / "latest")
    )
    resumed = run_training(recipe)
    assert (resumed.num_steps, checkpoints(tmp_path)) == (4, ["checkpoint-2", "checkpoint-4"])
    assert resumed.adapter == whole.adapter


def test_a_resumed_run_follows_the_steps_that_its_recipe_has_now(tmp_path):
    run_training(write_tiny_recipe(tmp_path, **FIELDS | {"max_steps": 6}))
    for step in (4, 6):
        shutil.rmtree(tmp_path / "run" / f"checkpoint-{step}")
    shutil.rmtree(tmp_path / "run" / "adapter")
    changed = {"max_steps": 6, "save_steps": 3, "logging_steps": 3}
    run_training(tiny_recipe(tmp_path, **FIELDS | changed, resume_from_checkpoint="auto"))
    assert checkpoints(tmp_path) == [f"checkpoint-{step}" for step in (2, 3, 6)]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    steps = [line["step"] for line in map(json.loads, lines) if "loss" in line]
    assert steps == [1, 2, 3, 6]


def test_a_checkpoint_under_another_name_is_refused_and_nothing_is_removed(tmp_path):
    run_training(write_tiny_recipe(tmp_path, **FIELDS))
    kept = (tmp_path / "run" / "checkpoint-4").rename(tmp_path / "kept")
    with pytest.raises(CheckpointError, match="its name is not checkpoint-N"):
        run_training(tiny_recipe(tmp_path, **FIELDS, resume_from_checkpoint=str(kept)))
    assert kept.is_dir()
    assert checkpoints(tmp_path) == ["checkpoint-2"]


def test_a_run_with_dynamic_rates_goes_on_after_they_have_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(batches_module, "WINDOW_LENGTH", 64)
    monkeypatch.setattr(batches_module, "BLOCK_LENGTH", 16)
    monkeypatch.setattr(schedule_module, "BLOCK_LENGTH", 16)
    losses = {"tiny/colour": 0.1, "tiny/calls": 0.1}
    dynamic = {"reference_losses": losses, "update_steps": 1}
    fields = FIELDS | {
        "mixture": {"max_epochs_per_task": None, "dynamic": dynamic},
        "max_steps": 14,
        "save_steps": 10,
        "packing": False,
        "per_device_train_batch_size": 8,
    }
    recipe = write_tiny_recipe(tmp_path, **fields)

    class Stopped(run_module.MultiTaskTrainer):
        def _get_grad_norm(self, *arguments, **options):
            if self.state.global_step == 12:
                raise KeyboardInterrupt
            return super()._get_grad_norm(*arguments, **options)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(run_module, "MultiTaskTrainer", Stopped)
        run_training(recipe)
    assert checkpoints(tmp_path) == ["checkpoint-10"]
    resumed = run_training(tiny_recipe(tmp_path, **fields, resume_from_checkpoint="auto"))
    assert resumed.num_steps == 14


def test_rows_are_named_by_their_keys_where_not_all_are_used(tmp_path, monkeypatch):
    found = []

    def kept(batches, example_key):
        look_up = row_keys(batches, example_key)
        found.append(look_up)
        return look_up

    row_keys = run_module.row_keys
    monkeypatch.setattr(run_module, "row_keys", kept)
    tasks = [{"task": "tiny/colour", "max_train_rows": 6}]
    run_training(write_tiny_recipe(tmp_path, **FIELDS, tasks=tasks))
    (entry,) = map(json.loads, (tmp_path / "run" / "rows.jsonl").read_text().splitlines())
    chosen = {f"tiny/colour/train/{row}" for row in entry["rows"]}
    assert chosen != {f"tiny/colour/train/{index}" for index in range(6)}
    named = {key for step in range(4) for row in found[0](step) for key in row}
    assert named == chosen


def lengthen(path, column: str) -> None:
    """Make every row longer than any limit."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    long = "very long words " * 300
    path.write_text("".join(json.dumps({**row, column: long}) + "\n" for row in rows))


def test_a_task_of_which_no_row_fits_is_left_at_rate_0(tmp_path):
    recipe = write_tiny_recipe(tmp_path, **FIELDS)
    lengthen(tmp_path / "mirror/tiny/calls/train.jsonl", "query")
    assert run_training(recipe).num_steps == 4


def test_validation_rows_of_which_none_fits_are_one_mistake(tmp_path, monkeypatch):
    load = run_module.load_tasks_together

    def load_without_validation(*arguments):
        return load(*arguments) | {"validation": [[]]}

    monkeypatch.setattr(run_module, "load_tasks_together", load_without_validation)
    recipe = write_tiny_recipe(tmp_path, **FIELDS, eval_strategy="steps", eval_steps=2)
    with pytest.raises(TrainingError, match="none of the tasks has rows to validate on"):
        run_training(recipe)


def test_packing_is_refused_where_examples_would_read_each_other(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "carries_state", lambda model: True)
    recipe = write_tiny_recipe(tmp_path, **FIELDS)
    with pytest.raises(TrainingError, match="Set `packing: false`"):
        run_training(recipe)
    assert not (tmp_path / "run").exists()
    assert run_training(tiny_recipe(tmp_path, **FIELDS, packing=False)).num_steps == 4
