"""Steps with numbers that are none: nothing learned, rows named, three in a row end the run."""

from __future__ import annotations

import json
import math

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training.step_guard import StepGuard, StepNumbers, shown
from tests.fixtures.tiny_runs import adapter_weights, make_recipe, make_tasks, make_trainer
from tests.soak.numbers import poison


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def events(folder, name: str) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if line.get("event") == name]


@pytest.mark.parametrize("accumulation", [1, 2])
@pytest.mark.parametrize(
    ("where", "value", "what"),
    [
        ("activation", math.nan, "loss"),
        ("activation", math.inf, "loss"),
        ("loss", math.inf, "loss"),
        ("gradient", math.nan, "gradient norm"),
        ("gradient", math.inf, "gradient norm"),
    ],
)
def test_a_step_with_a_number_that_is_none_changes_no_weight(
    tmp_path, tasks, where, value, what, accumulation
):
    recipe = make_recipe(tmp_path, gradient_accumulation_steps=accumulation)
    trainer = make_trainer(recipe, tasks)
    poison(trainer, where, {2}, value)
    seen: list[dict[str, torch.Tensor]] = []
    step = trainer._get_grad_norm

    def remember(*args, **options):
        seen.append(adapter_weights(trainer))
        return step(*args, **options)

    trainer._get_grad_norm = remember
    trainer.train()
    before, after = seen[1], seen[2]
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert any(not torch.equal(seen[0][name], before[name]) for name in before)
    (event,) = events(tmp_path, "skipped_step")
    assert (event["step"], event["what"]) == (2, what)
    assert not math.isfinite(float(event["value"]))
    assert trainer.state.global_step == 4
    logged = [log for log in trainer.state.log_history if "loss" in log]
    assert [log["step"] for log in logged] == [1, 3, 4]
    assert all(math.isfinite(log["loss"]) and math.isfinite(log["grad_norm"]) for log in logged)
    assert all(torch.isfinite(each).all() for each in adapter_weights(trainer).values())


def test_what_is_logged_after_a_skipped_step_is_the_mean_of_the_others(tmp_path, tasks):
    recipe = make_recipe(tmp_path / "a", logging_steps=4, lr_scheduler_type="constant")
    trainer = make_trainer(recipe, tasks)
    poison(trainer, "activation", {3}, math.nan)
    trainer.train()
    (log,) = [log for log in trainer.state.log_history if "loss" in log]
    single = make_trainer(make_recipe(tmp_path / "b", lr_scheduler_type="constant"), tasks)
    poison(single, "activation", {3}, math.nan)
    single.train()
    losses = [each["loss"] for each in single.state.log_history if "loss" in each]
    assert len(losses) == 3
    assert log["loss"] == pytest.approx(sum(losses) / 3, rel=1e-6)
    tokens = [each["num_tokens"] for each in single.state.log_history if "loss" in each]
    assert log["num_tokens"] == tokens[-1]


def test_three_steps_in_a_row_end_the_run_and_name_the_rows(tmp_path, tasks):
    trainer = make_trainer(make_recipe(tmp_path, max_steps=9), tasks)
    poison(trainer, "activation", {2, 4, 5, 6}, math.nan)
    before = adapter_weights(trainer)
    pattern = r"step 6: the loss is nan, as in the 2 steps before; rows .*/train/\d+.*\[TRN005\]"
    with pytest.raises(TrainingError, match=pattern):
        trainer.train()
    assert [event["step"] for event in events(tmp_path, "skipped_step")] == [2, 4, 5, 6]
    assert before.keys() == adapter_weights(trainer).keys()


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("accumulation", [1, 3])
def test_exactly_the_rows_with_the_broken_loss_are_named(tmp_path, tasks, packing, accumulation):
    recipe = make_recipe(
        tmp_path, packing=packing, gradient_accumulation_steps=accumulation, max_steps=2
    )
    trainer = make_trainer(recipe, tasks)
    batches = trainer._checkpoints.parts["data"]
    row = 2 * accumulation - 1
    expected = [
        f"{tasks[task].name}/train/{tasks[task].source_row(example)}"
        for task, example in batches.plan.draws(batches.step_keys(1)[row])
    ]
    calls = []

    def break_last_row(module, inputs, output):
        if not trainer.model.training:
            return None
        calls.append(1)
        if len(calls) == 2 * accumulation:
            output = output.clone()
            output[-1] = math.nan
        return output

    trainer.model.get_base_model().model.norm.register_forward_hook(break_last_row)
    trainer.train()
    (event,) = events(tmp_path, "skipped_step")
    broken = {name.rsplit("/", 2)[0] for name in expected} & set(event["tasks"])
    assert event["rows"] == [key for key in expected if key.rsplit("/", 2)[0] in broken]
    assert event["rows"]


def test_a_loss_far_above_its_past_is_recorded_and_trained_on():
    guard = StepGuard()
    quiet = [guard.accept(2.0 + 0.01 * (step % 5)) for step in range(40)]
    assert quiet == [None] * 40
    assert guard.accept(20.0) > 6
    assert guard.accept(2.02) is None


def test_a_slow_rise_is_no_spike():
    guard = StepGuard()
    assert all(guard.accept(1.0 + 0.02 * step) is None for step in range(200))


def test_the_past_survives_a_stop():
    guard, resumed = StepGuard(), StepGuard()
    for step in range(50):
        guard.accept(1 / (step + 3))
    with pytest.raises(TrainingError):
        for _ in range(3):
            guard.skip(("loss", math.nan), step=1, rows=())
    resumed.load_state(json.loads(json.dumps(guard.state(50))))
    assert resumed.state(50) == guard.state(50)
    assert resumed.accept(0.9) == guard.accept(0.9)


def test_the_loss_is_named_before_the_norm():
    assert StepNumbers(loss=math.nan, grad_norm=math.nan).fault[0] == "loss"
    assert StepNumbers(loss=1.0, grad_norm=math.inf).fault == ("gradient norm", math.inf)
    assert StepNumbers(loss=1.0, grad_norm=None).fault is None


def test_long_lists_of_rows_are_cut():
    assert shown([str(i) for i in range(11)]).endswith("7 and 3 more")
    assert shown([]) == "none"
