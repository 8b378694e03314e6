"""Batches of ranks: the same rows whatever the number of ranks, workers and restarts."""

from __future__ import annotations

import json
import pickle
from collections import Counter

import numpy as np
import pytest
import torch

from pipeline.errors import MixtureError
from pipeline.mixture.batches import (
    WINDOW_LENGTH,
    BatchShape,
    MicroBatchSampler,
    RowPlan,
    TrainingBatches,
)
from pipeline.mixture.build import MixtureSettings, build_batches, mixture_rates, run_length
from pipeline.mixture.rates import RateRule, TaskGroup
from pipeline.mixture.schedule import MixtureSchedule
from tests.unit.mixture.tasks import make_task

LENGTHS = {
    "a": [5 + i % 60 for i in range(300)],
    "b": [100 + i for i in range(28)],
    "c": [7, 9, 11],
}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return [make_task(folder, name, lengths) for name, lengths in LENGTHS.items()]


def settings(**changes) -> MixtureSettings:
    return MixtureSettings(**({"max_length": 128, "max_steps": 60} | changes))


def shape(world_size: int = 1, *, batch: int = 8, accumulation: int = 1, rank: int = 0):
    return BatchShape(
        per_device_batch_size=batch,
        world_size=world_size,
        rank=rank,
        gradient_accumulation_steps=accumulation,
    )


def build(tasks, which: BatchShape, **changes) -> TrainingBatches:
    return build_batches(tasks, settings(**changes), which, pad_token_id=1)


SHAPES = [(1, 8, 1), (2, 4, 1), (4, 2, 1), (8, 1, 1), (2, 2, 2), (1, 2, 4), (4, 1, 2)]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize(("world_size", "batch", "accumulation"), SHAPES)
def test_global_step_holds_the_same_rows_for_every_world_size(
    tasks, packing: bool, world_size: int, batch: int, accumulation: int
) -> None:
    reference = build(tasks, shape(), packing=packing)
    ranks = [
        list(
            build(
                tasks,
                shape(world_size, batch=batch, accumulation=accumulation, rank=rank),
                packing=packing,
            ).micro_steps()
        )
        for rank in range(world_size)
    ]
    assert {len(micro_steps) for micro_steps in ranks} == {60 * accumulation}
    for step in range(60):
        window = slice(step * accumulation, (step + 1) * accumulation)
        keys = [key for micro in ranks for rows in micro[window] for key in rows]
        assert sorted(keys) == sorted(reference.step_keys(step))


def test_rows_hold_every_draw_of_the_schedule_once(tasks) -> None:
    batches = build(tasks, shape(), packing=True)
    plan = batches.plan
    drawn = sorted(draw for row in range(plan.num_rows(0)) for draw in plan.draws((0, row)))
    expected, examples = plan.schedule.entries(0, WINDOW_LENGTH)
    assert drawn == sorted(zip(expected.tolist(), examples.tolist(), strict=True))


@pytest.mark.parametrize("packing", [True, False])
def test_resume_goes_on_where_the_state_was_taken(tasks, packing: bool) -> None:
    whole = build(tasks, shape(), packing=packing)
    micro_steps = list(whole.micro_steps())
    for step in (1, 17, 59):
        resumed = build(tasks, shape(), packing=packing)
        resumed.load_state(whole.state(step))
        assert resumed.first_step == step
        assert list(resumed.micro_steps()) == micro_steps[step:]
        assert resumed.state(min(60, step + 3)) == whole.state(min(60, step + 3))
        assert len(resumed.loader().batch_sampler) == 60 - step


def test_resume_on_another_number_of_ranks_loses_and_doubles_nothing(tasks) -> None:
    rule = RateRule(max_epochs=None)
    whole = build(tasks, shape(), rule=rule)
    state = whole.state(20)
    resumed = [build(tasks, shape(2, batch=8, rank=rank), rule=rule) for rank in range(2)]
    for rank in resumed:
        rank.load_state(state)
    # Twice the ranks at the same batch size take twice the rows per step.
    keys = [key for rank in resumed for key in next(rank.micro_steps())]
    assert sorted(keys) == sorted(whole.step_keys(20) + whole.step_keys(21))


def test_state_of_other_data_is_refused(tasks) -> None:
    state = build(tasks, shape()).state(3)
    other = build(tasks, shape(), seed=1)
    with pytest.raises(MixtureError) as error:
        other.load_state(state)
    assert str(error.value) == (
        "mixture: the checkpoint was made with another order of data "
        f"({state['fingerprint'][:12]}), this run has {other.fingerprint[:12]}. Restore the data "
        "and the mixture settings, or start a new run. [MIX005]"
    )


def test_packed_batch_has_no_attention_mask_and_restarts_positions(tasks) -> None:
    batch = next(iter(build(tasks, shape(batch=4), packing=True).loader()))
    assert set(batch) == {"input_ids", "labels", "position_ids", "task_ids"}
    assert {value.dtype for value in batch.values()} == {torch.int64}
    assert {value.shape for value in batch.values()} == {batch["input_ids"].shape}
    assert batch["input_ids"].shape[0] == 4
    assert batch["input_ids"].shape[1] <= 128
    assert (batch["position_ids"] == 0).sum() > 8
    padding = batch["task_ids"] == -1
    assert (batch["labels"][padding] == -100).all()
    assert (batch["input_ids"][padding] == 1).all()


def test_padded_batch_masks_its_padding(tasks) -> None:
    batch = next(iter(build(tasks, shape(batch=4), packing=False).loader()))
    assert set(batch) == {"input_ids", "labels", "position_ids", "task_ids", "attention_mask"}
    assert ((batch["attention_mask"] == 0) == (batch["task_ids"] == -1)).all()
    assert batch["input_ids"].shape[1] % 8 == 0


def test_padding_free_batch_is_one_row_without_padding(tasks) -> None:
    batches = build_batches(tasks, settings(), shape(batch=4), pad_token_id=1, padding_free=True)
    batch = next(iter(batches.loader()))
    rows = [batches.plan.row(key) for key in next(batches.micro_steps())]
    assert batch["input_ids"].shape == (1, sum(len(row) for row in rows))
    assert (batch["task_ids"] >= 0).all()
    assert "attention_mask" not in batch


def test_batches_travel_to_other_processes(tasks) -> None:
    batches = build(tasks, shape())
    copied = pickle.loads(pickle.dumps(batches))
    key = batches.step_keys(2)[0]
    draws = batches.plan.draws(key)
    assert copied[draws].input_ids.tolist() == batches.plan.row(key).input_ids.tolist()


def test_step_tells_the_source_rows_of_its_examples(tasks) -> None:
    batches = build(tasks, shape(), packing=False)
    named = batches.step_examples(4)
    assert len(named) == 8
    assert all(0 <= row < len(LENGTHS[name]) for name, row in named)


def test_epochs_become_steps_over_all_drawn_examples(tasks) -> None:
    unpacked = settings(packing=False, max_steps=None, num_epochs=2)
    assert run_length(tasks, unpacked, shape()).num_draws == 2 * 331
    batches = build_batches(tasks, unpacked, shape(), pad_token_id=1)
    assert batches.num_steps == -(-2 * 331 // 8)
    packed = build(tasks, shape(), max_steps=None, num_epochs=2)
    tokens = sum(
        len(packed.plan.row(key))
        for step in range(packed.num_steps)
        for key in packed.step_keys(step)
    )
    draws = sum(len(packed.step_examples(step)) for step in range(packed.num_steps))
    assert 0.9 * 662 < draws < 1.2 * 662
    assert tokens > 0.98 * packed.num_steps * 8 * 128 * 0.98


@pytest.mark.parametrize("changes", [{"max_steps": None}, {"max_steps": 5, "num_epochs": 1}])
def test_length_of_the_run_is_given_once(tasks, changes) -> None:
    with pytest.raises(MixtureError) as error:
        build(tasks, shape(), **changes)
    assert str(error.value) == (
        "mixture: the length of the run is not given, or given twice. Set either max_steps or "
        "num_train_epochs. [MIX004]"
    )


def test_rates_in_tokens_are_shares_of_tokens(tasks) -> None:
    rule = RateRule(policy="uniform", max_epochs=None)
    rates = mixture_rates(tasks, settings(rule=rule, units="tokens"), length=None)
    tokens = [
        rate * task.counts.num_tokens / len(task) for rate, task in zip(rates, tasks, strict=True)
    ]
    assert tokens == pytest.approx([sum(tokens) / 3] * 3)


def test_nested_group_decides_over_rates(tasks) -> None:
    uniform = RateRule(policy="uniform", max_epochs=None)
    pair = TaskGroup(name="pair", members=("b", "c"), rule=uniform)
    group = TaskGroup(name="all", members=("a", pair), rule=uniform)
    assert mixture_rates(tasks, settings(group=group), length=None) == [0.5, 0.25, 0.25]


def passes_of(batches: TrainingBatches) -> dict[str, float]:
    """Count every draw of every step of a run."""
    drawn = Counter(
        name for step in range(batches.num_steps) for name, _ in batches.step_examples(step)
    )
    return {task.name: drawn[task.name] / len(task) for task in batches.plan.tasks}


@pytest.mark.parametrize(
    ("units", "packing", "expected"),
    # Half of the tokens of 960 draws are 1.92 passes; the other runs could make more than 4.
    [
        ("examples", True, 4.0),
        ("tokens", True, 4.0),
        ("examples", False, 4.0),
        ("tokens", False, 1.92),
    ],
)
def test_no_task_is_passed_over_more_often_than_allowed_where_others_can_fill_the_run(
    tmp_path, units: str, packing: bool, expected: float
) -> None:
    # Limiting the long task leaves short examples, many more of which fill the rows.
    tasks = [
        make_task(tmp_path, "small_long", [110 + i % 10 for i in range(40)]),
        make_task(tmp_path, "big_short", [8 + i % 5 for i in range(6000)]),
    ]
    rule = RateRule(policy="uniform", max_epochs=4.0)
    run = build(tasks, shape(), rule=rule, units=units, packing=packing, max_steps=120)
    passes = passes_of(run)
    assert passes["small_long"] == pytest.approx(expected, rel=0.05)
    assert 0 < passes["big_short"] < 4.0


@pytest.mark.parametrize("units", ["examples", "tokens"])
def test_the_ceiling_counts_rows_as_full_as_they_get(tmp_path, units: str) -> None:
    # Two examples of 70 tokens never share a row of 128, so half of it stays empty.
    tasks = [
        make_task(tmp_path, "small", [70] * 60),
        make_task(tmp_path, "big", [70 + i % 3 for i in range(900)]),
    ]
    rule = RateRule(policy="uniform", max_epochs=4.0)
    run = build(tasks, shape(), rule=rule, units=units, max_steps=100)
    assert passes_of(run)["small"] == pytest.approx(4.0, rel=0.05)
    packed = settings(rule=rule, max_steps=100)
    length = run_length(tasks, packed, shape())
    means = np.array([task.counts.num_tokens / len(task) for task in tasks])
    assert round(length.draws_at(mixture_rates(tasks, packed, length=length), means)) == 800


def test_token_rates_are_limited_by_the_tokens_that_the_run_draws(tmp_path) -> None:
    tasks = [make_task(tmp_path, "short", [5] * 5000), make_task(tmp_path, "long", [100] * 50)]
    rule = RateRule(policy="uniform", max_epochs=4.0)
    run = build(
        tasks, shape(), rule=rule, units="tokens", packing=False, max_steps=None, num_epochs=1.0
    )
    # Half of the tokens would be 5050 / 21 draws of `long`, 4.8 passes.
    assert passes_of(run)["long"] == pytest.approx(4.0, rel=0.02)


def test_a_member_of_weight_0_gives_its_group_no_room(tmp_path) -> None:
    tasks = [
        make_task(tmp_path, name, [9] * size) for name, size in (("x", 900), ("a", 20), ("b", 500))
    ]
    inner = TaskGroup(
        name="g", members=("a", "b"), rule=RateRule(policy="explicit", weights={"a": 1, "b": 0})
    )
    group = TaskGroup(name="all", members=("x", inner), rule=RateRule(policy="uniform"))
    run = build(tasks, shape(), group=group, packing=False, max_steps=None, num_epochs=1.0)
    assert passes_of(run) == pytest.approx({"x": 840 / 900, "a": 4.0, "b": 0.0}, rel=0.05)


def test_rates_change_only_where_a_window_begins_before_the_end(tasks) -> None:
    run = build(tasks, shape(), packing=False, max_steps=600)
    first_row = WINDOW_LENGTH
    assert run.can_change_rates(first_row // 8 - 1)
    assert not run.can_change_rates(first_row // 8)
    assert not build(tasks, shape(), packing=False, max_steps=512).can_change_rates(10)
    run.change_rates(100, [0.2, 0.2, 0.6])
    assert run.rates_at(511) == pytest.approx(run.plan.schedule.rates.tolist())
    assert run.rates_at(512) == pytest.approx([0.2, 0.2, 0.6])


def test_task_smaller_than_a_batch_and_empty_task_are_no_problem(tmp_path) -> None:
    small = [make_task(tmp_path, "one", [5]), make_task(tmp_path, "none", [])]
    batches = build(small, shape(), max_steps=2)
    assert {name for name, _ in batches.step_examples(1)} == {"one"}


def test_all_tasks_empty_is_told(tmp_path) -> None:
    with pytest.raises(MixtureError) as error:
        build([make_task(tmp_path, "none", [])], shape())
    assert error.value.code == "MIX002"


def test_shape_must_be_possible(tasks) -> None:
    plan = RowPlan(tasks, MixtureSchedule([1, 1, 1], [300, 28, 3], 0), packing=True, max_length=128)
    with pytest.raises(ValueError, match="is no batch shape"):
        TrainingBatches(plan, shape(2, rank=2), num_steps=1, pad_token_id=0)


def test_loader_of_a_resumed_run_gives_nothing_for_the_steps_that_are_skipped(tasks) -> None:
    whole = build(tasks, shape(batch=2, accumulation=2))
    resumed = build(tasks, shape(batch=2, accumulation=2))
    resumed.load_state(whole.state(40))
    micro_steps = list(resumed.loader(start_step=0).batch_sampler)
    assert len(micro_steps) == len(resumed.loader(start_step=0).batch_sampler) == 120
    assert micro_steps[:80] == [[]] * 80
    assert micro_steps[80:] == list(whole.loader().batch_sampler)[80:]


OTHER_RATES = [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.4, 0.2, 0.4]]
"""Rates after steps 5, 60 and 140: a window of 4096 draws is about 40 steps, or 128 unpacked."""


def change_as_it_goes(batches: TrainingBatches, step: int) -> None:
    """Change rates after some steps, as a dynamic policy does, 10 steps ahead."""
    for after, rates in zip((5, 60, 140), OTHER_RATES, strict=True):
        if step == after:
            batches.change_rates(step + 10, rates)


def steps_of(batches: TrainingBatches, first: int = 0) -> list[list]:
    """Return the examples of each global step of all ranks, changing rates on the way."""
    found, micro = [], iter(MicroBatchSampler(batches, None))
    for step in range(first, batches.num_steps):
        found.append([next(micro) for _ in range(batches.shape.gradient_accumulation_steps)])
        change_as_it_goes(batches, step + 1)
    return found


@pytest.mark.parametrize("packing", [True, False])
def test_resume_after_changes_of_rates_goes_on_as_if_never_stopped(tasks, packing: bool) -> None:
    changes = {"packing": packing, "max_steps": 400}
    whole = build(tasks, shape(batch=32), **changes)
    steps = steps_of(whole)
    assert len(whole.plan.phases_from(0)) == 4 - (not packing)
    for stop in (4, 15, 130, 160, 399):
        stopped = build(tasks, shape(batch=32), **changes)
        for step in range(1, stop + 1):
            change_as_it_goes(stopped, step)
        state = json.loads(json.dumps(stopped.state(stop)))
        resumed = build(tasks, shape(batch=32), **changes)
        resumed.load_state(state)
        assert steps_of(resumed, stop) == steps[stop:], stop


def test_changed_rates_are_those_of_every_world_size(tasks) -> None:
    def global_steps(world_size: int) -> list[list]:
        ranks = [
            steps_of(build(tasks, shape(world_size, batch=32 // world_size, rank=r), max_steps=200))
            for r in range(world_size)
        ]
        return [
            sorted(row for rank in ranks for micro in rank[step] for row in micro)
            for step in range(200)
        ]

    whole = global_steps(1)
    assert global_steps(2) == whole
    assert global_steps(4) == whole


def test_rates_change_only_after_what_may_be_fetched(tasks) -> None:
    plain, changed = (build(tasks, shape(batch=32), max_steps=100) for _ in range(2))
    changed.change_rates(20, OTHER_RATES[0])
    first = next(s for s in range(100) if plain.step_examples(s) != changed.step_examples(s))
    assert changed.step_keys(first)[-1][0] == 1
    assert first > 20
