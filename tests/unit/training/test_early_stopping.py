"""Early stopping on a summary of the tasks, and the best checkpoint at the end."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from pipeline.errors import CheckpointError, OutputError, PipelineError
from pipeline.training.data import validation_batches
from pipeline.training.early_stopping import EarlyStopping
from tests.fixtures.tiny_runs import (
    PAD_TOKEN_ID,
    adapter_weights,
    make_recipe,
    make_tasks,
    make_trainer,
)
from tests.soak.stopping import StopAt


def stops_after(stopping: EarlyStopping, metrics: list[dict[str, float]]) -> int | None:
    """Return the evaluation, from 1 on, after which training ends."""
    control = SimpleNamespace(should_training_stop=False)
    for number, each in enumerate(metrics, start=1):
        stopping.on_evaluate(None, None, control, each)
        if control.should_training_stop:
            return number
    return None


HISTORY = [
    {"eval_loss": 5 - step, "eval_macro_loss": abs(step - 2) + 1.0, "eval_worst_loss": 1.0 + step}
    for step in range(1, 6)
]


@pytest.mark.parametrize(
    ("metric", "patience", "expected"),
    [("weighted", 1, None), ("macro", 1, 3), ("macro", 2, 4), ("worst", 1, 2), ("worst", 3, 4)],
)
def test_a_run_ends_when_its_summary_has_not_improved_for_so_long(metric, patience, expected):
    assert stops_after(EarlyStopping(metric, patience), HISTORY) == expected


def test_other_evaluations_count_for_nothing():
    assert stops_after(EarlyStopping("macro", 1), [{"eval_loss": 1.0}] * 5) is None


def test_the_count_survives_a_stop():
    stopping = EarlyStopping("macro", 2)
    assert stops_after(stopping, HISTORY[:3]) is None
    resumed = EarlyStopping("macro", 2)
    resumed.load_state(json.loads(json.dumps(stopping.state(3))))
    assert stops_after(resumed, HISTORY[3:]) == 1


def trainer_with_worst_losses(tmp_path, losses, *, stop_at=0, stops_early=False, **fields):
    """Return a trainer that evaluates and saves at every step, with made-up losses."""
    tasks = make_tasks(tmp_path / "tasks")
    recipe = make_recipe(
        tmp_path / "run",
        **{
            "max_steps": 6,
            "eval_strategy": "steps",
            "eval_steps": 1,
            "save_strategy": "steps",
            "save_steps": 1,
            "save_total_limit": 2,
            "load_best_model_at_end": True,
            "metric_for_best_model": "worst",
            **fields,
        },
    )
    held_out = validation_batches(
        tasks,
        [task.name for task in tasks],
        rows_per_batch=4,
        max_length=48,
        pad_token_id=PAD_TOKEN_ID,
    )
    stop = StopAt(stop_at)
    trainer = make_trainer(recipe, tasks, validation_batches=held_out, signals=stop.signals)
    trainer.add_callback(stop)
    if stops_early:
        trainer.add_callback(stopping := EarlyStopping("worst", 1))
        # No loss is better.
        stopping.load_state({"best": 0.0, "num_worse": 0})
        trainer._checkpoints.parts["early_stopping"] = stopping
    summary = trainer.evaluate
    worst = iter(losses)

    def evaluate(*args, **options):
        return {**summary(*args, **options), "eval_worst_loss": next(worst)}

    trainer.evaluate = evaluate
    return trainer


def trainer_with_best_second(tmp_path):
    return trainer_with_worst_losses(tmp_path, [5.0, 3.0, 4.0, 4.5, 4.2, 6.0])


def checkpoints_of(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "run").glob("checkpoint-*"))


@pytest.mark.parametrize("damage", ["a bit", "gone"])
def test_a_best_checkpoint_that_was_damaged_since_is_told_and_not_loaded(tmp_path, damage):
    trainer = trainer_with_best_second(tmp_path)
    summary = trainer.evaluate
    best = tmp_path / "run" / "checkpoint-2"

    def evaluate(*args, **options):
        if trainer.state.global_step == 6 and damage == "gone":
            shutil.rmtree(best)
        elif trainer.state.global_step == 6:
            weights = best / "adapter_model.safetensors"
            content = bytearray(weights.read_bytes())
            content[-1] ^= 1
            weights.write_bytes(content)
        return summary(*args, **options)

    trainer.evaluate = evaluate
    with pytest.raises(CheckpointError) as caught:
        trainer.train()
    assert str(caught.value).startswith(f"{best}: ")


def test_the_best_checkpoint_is_kept_and_loaded_at_the_end(tmp_path):
    trainer = trainer_with_best_second(tmp_path)
    trainer.train()
    assert checkpoints_of(tmp_path) == ["checkpoint-2", "checkpoint-5", "checkpoint-6"]
    best, last = tmp_path / "run" / "checkpoint-2", tmp_path / "run" / "checkpoint-6"
    check_holds(trainer, best)
    with pytest.raises(AssertionError):
        check_holds(trainer, last)


def check_holds(trainer, checkpoint) -> None:
    """Check that the trainer's weights are those of a checkpoint."""
    wanted = load_file(checkpoint / "adapter_model.safetensors")
    mine = {name.replace(".default", ""): value for name, value in adapter_weights(trainer).items()}
    assert all(torch.equal(mine[name], wanted[name]) for name in wanted)


def test_a_best_checkpoint_that_could_not_be_saved_gives_way_to_the_best_that_was(tmp_path):
    trainer = trainer_with_worst_losses(tmp_path, [5.0, 4.0, 3.0, 3.5, 6.0, 6.0])
    store = trainer._checkpoints
    save = store.save

    def save_or_fail(step, *args, **options):
        if step == 3:
            raise OutputError("OUT001", "no space left on device", where=store.folder)
        return save(step, *args, **options)

    store.save = save_or_fail
    trainer.train()
    assert checkpoints_of(tmp_path) == ["checkpoint-4", "checkpoint-5", "checkpoint-6"]
    check_holds(trainer, tmp_path / "run" / "checkpoint-4")


def test_the_best_checkpoint_is_kept_when_a_better_step_is_not_saved(tmp_path):
    losses = [5.0, 3.0, 2.5, 4.0, 4.0, 4.0, 4.0, 4.0]
    trainer = trainer_with_worst_losses(
        tmp_path, losses, max_steps=8, save_steps=2, save_total_limit=1
    )
    trainer.train()
    assert checkpoints_of(tmp_path) == ["checkpoint-2", "checkpoint-8"]
    check_holds(trainer, tmp_path / "run" / "checkpoint-2")


def test_the_checkpoint_of_a_signal_is_kept_beside_the_best(tmp_path):
    trainer = trainer_with_worst_losses(
        tmp_path, [3.0, 4.0, 4.5], stop_at=5, save_total_limit=1, eval_steps=2, save_steps=2
    )
    trainer.train()
    assert trainer.stopped_by == "SIGTERM"
    assert checkpoints_of(tmp_path) == ["checkpoint-2", "checkpoint-5"]
    assert trainer.last_saved == tmp_path / "run" / "checkpoint-5"


def test_a_run_that_ended_early_makes_no_further_step_at_a_resume(tmp_path):
    fields = {"save_total_limit": None, "load_best_model_at_end": False}
    trainer = trainer_with_worst_losses(tmp_path, [4.0], stops_early=True, **fields)
    trainer.train()
    ended = tmp_path / "run" / "checkpoint-1"
    assert checkpoints_of(tmp_path) == ["checkpoint-1"]
    trainer = trainer_with_worst_losses(tmp_path, [4.0] * 6, stops_early=True, **fields)
    trainer.train(resume_from_checkpoint=str(ended))
    assert trainer.state.global_step == 1
    check_holds(trainer, ended)


@pytest.mark.parametrize(
    "fields",
    [
        {"early_stopping_patience": 2},
        {"load_best_model_at_end": True},
        {"load_best_model_at_end": True, "eval_strategy": "steps", "save_strategy": "epoch"},
        {
            "load_best_model_at_end": True,
            "eval_strategy": "steps",
            "eval_steps": 20,
            "save_strategy": "steps",
            "save_steps": 30,
        },
    ],
)
def test_fields_that_could_not_work_are_refused(tmp_path, fields):
    with pytest.raises((PipelineError, ValueError), match="evaluat"):
        make_recipe(tmp_path, **fields)
