"""What a run would train on."""

from __future__ import annotations

import json

import pytest

from pipeline.mixture.batches import BatchShape
from pipeline.mixture.build import MixtureSettings, build_batches
from pipeline.mixture.plan import build_plan
from pipeline.mixture.rates import RateRule
from tests.unit.mixture.tasks import make_task


def plan_of(
    tasks,
    *,
    rule=None,
    max_epochs=4.0,
    loss_reduction="token",
    packing=False,
    steps=100,
    update_steps=None,
):
    settings = MixtureSettings(
        max_length=256,
        max_steps=steps,
        packing=packing,
        rule=rule or RateRule(policy="uniform", max_epochs=None),
    )
    shape = BatchShape(per_device_batch_size=4, gradient_accumulation_steps=2)
    batches = build_batches(tasks, settings, shape, pad_token_id=0)
    return build_plan(
        batches,
        max_epochs=max_epochs,
        loss_reduction=loss_reduction,
        update_steps=update_steps,
    )


def test_plan_counts_draws_epochs_and_tokens(tmp_path) -> None:
    tasks = [
        make_task(tmp_path, "a", [10] * 400, num_answer_tokens=1),
        make_task(tmp_path, "b", [30] * 400, num_answer_tokens=3),
    ]
    plan = plan_of(tasks)
    assert (plan.num_steps, plan.global_batch_size, plan.num_draws) == (100, 8, 800)
    a, b = plan.tasks
    assert (a.rate, b.rate) == (0.5, 0.5)
    assert a.num_draws + b.num_draws == 800
    assert abs(a.num_draws - 400) <= 2
    assert a.epochs == pytest.approx(1.0, abs=0.01)
    assert b.num_tokens == 30 * b.num_draws
    assert b.num_loss_tokens == 3 * b.num_draws
    assert b.loss_share == pytest.approx(0.75, abs=0.01)
    assert plan.num_tokens == a.num_tokens + b.num_tokens
    assert plan.warnings == ()


def test_packed_plan_estimates_draws_from_the_first_rows(tmp_path) -> None:
    plan = plan_of([make_task(tmp_path, "a", [25] * 400)], packing=True)
    assert plan.num_draws == pytest.approx(8 * 100 * 10, rel=0.01)
    assert plan.fill_fraction == pytest.approx(250 / 256, rel=0.01)


def test_rates_that_come_too_late_are_warned_of(tmp_path) -> None:
    tasks = [make_task(tmp_path, "a", [10] * 4000), make_task(tmp_path, "b", [10] * 4000)]
    (warning,) = plan_of(tasks, steps=512, update_steps=10).warnings
    assert warning == (
        "mixture.dynamic changes nothing: a change holds from the first 4096 draws on that begin "
        "after step 20, and none begin before the end of the run"
    )
    assert plan_of(tasks, steps=513, update_steps=10).warnings == ()
    assert plan_of(tasks, steps=1030, update_steps=512).warnings == (
        warning.replace("20,", "1024,"),
    )


def test_task_seen_too_often_is_warned_of(tmp_path) -> None:
    tasks = [make_task(tmp_path, "a", [10] * 1000), make_task(tmp_path, "b", [10] * 10)]
    assert plan_of(tasks, steps=128).warnings == (
        "b: its 10 examples are seen 51.2 times, more than 4",
    )
    assert plan_of(tasks, max_epochs=40).warnings == ()


def test_task_with_little_of_the_loss_is_warned_of(tmp_path) -> None:
    tasks = [
        make_task(tmp_path, "a", [200] * 400, num_answer_tokens=150),
        make_task(tmp_path, "b", [10] * 400),
    ]
    assert plan_of(tasks, steps=128).warnings == (
        "b: 0.66 % of the loss at 50 % of the draws",
        "answers of a are 150 times as long as those of b; consider a loss averaged per task",
    )
    assert plan_of(tasks, steps=128, loss_reduction="task").warnings == ()


def test_task_without_usable_rows_is_warned_of(tmp_path) -> None:
    tasks = [make_task(tmp_path, "a", [10] * 1000), make_task(tmp_path, "b", [])]
    assert plan_of(tasks).warnings == ("b: none of 0 rows can be trained on",)


def test_plan_is_plain_json(tmp_path) -> None:
    plan = plan_of([make_task(tmp_path, "a", [10] * 1000)])
    written = json.loads(json.dumps(plan.to_json()))
    assert written["tasks"][0]["task"] == "a"
    assert written["num_draws"] == 800


def test_loss_share_is_that_of_the_reduction(tmp_path) -> None:
    tasks = [
        make_task(tmp_path, "a", [10] * 4000, num_answer_tokens=1),
        make_task(tmp_path, "b", [30] * 4000, num_answer_tokens=3),
    ]

    def shares(reduction):
        return [task.loss_share for task in plan_of(tasks, loss_reduction=reduction).tasks]

    assert shares("token") == pytest.approx([0.25, 0.75])
    assert shares("example") == pytest.approx([0.5, 0.5])
    assert shares("task") == pytest.approx([0.5, 0.5])


def test_rare_task_has_no_even_share_of_the_loss_averaged_by_task(tmp_path) -> None:
    tasks = [make_task(tmp_path, "a", [10] * 4000), make_task(tmp_path, "b", [10] * 4000)]
    rule = RateRule(policy="explicit", weights={"a": 99, "b": 1}, max_epochs=None)
    plan = plan_of(tasks, rule=rule, loss_reduction="task")
    present = 1 - 0.99**8
    assert plan.tasks[1].loss_share == pytest.approx(present / (1 + present), rel=1e-6)


def test_task_seen_fifty_times_is_warned_of_without_a_ceiling_too(tmp_path) -> None:
    tasks = [make_task(tmp_path, "a", [10] * 400), make_task(tmp_path, "b", [10] * 8)]
    assert plan_of(tasks, max_epochs=None).warnings == (
        "b: its 8 examples are seen 50.0 times, more than 10",
    )


def test_many_small_shares_are_told_in_one_line(tmp_path) -> None:
    tasks = [make_task(tmp_path, f"t{i}", [10] * 40) for i in range(200)]
    (warning,) = plan_of(tasks, max_epochs=None).warnings
    assert warning.startswith("200 tasks have less than 1 % of the loss each; least has t")
