"""From recipe and tokens to the shape of the data."""

from __future__ import annotations

from itertools import pairwise

import torch

from pipeline.training.data import batch_shape, mixture_settings, validation_batches
from tests.fixtures.tiny_runs import make_recipe, make_tasks

NAMES = ["short", "long", "rare"]


def test_mixture_settings_are_those_of_the_recipe(tmp_path):
    recipe = make_recipe(
        tmp_path,
        tasks=[{"task": "a", "weight": 1}, {"task": "b", "weight": 3}],
        mixture={"policy": "explicit", "max_epochs_per_task": None, "units": "tokens"},
        seed=5,
    )
    settings = mixture_settings(recipe)
    assert settings.rule.policy == "explicit"
    assert settings.rule.weights == {"a": 1, "b": 3}
    assert settings.rule.max_epochs is None
    assert (settings.units, settings.seed, settings.max_length) == ("tokens", 5, 48)
    assert (settings.max_steps, settings.num_epochs) == (4, None)


def test_epochs_count_when_no_number_of_steps_is_given(tmp_path):
    settings = mixture_settings(make_recipe(tmp_path, max_steps=-1, num_train_epochs=2.5))
    assert (settings.max_steps, settings.num_epochs) == (None, 2.5)


def test_the_global_batch_covers_processes_and_accumulation(tmp_path):
    recipe = make_recipe(tmp_path, gradient_accumulation_steps=3)
    assert batch_shape(recipe, world_size=4, rank=1).global_batch_size == 2 * 3 * 4


def examples_of(batches) -> list[list[int]]:
    """The examples in a list of batches, found by their positions."""
    found = []
    for batch in batches:
        for ids, positions, tasks in zip(
            batch["input_ids"], batch["position_ids"], batch["task_ids"], strict=True
        ):
            starts = [*(positions == 0).nonzero().flatten().tolist(), len(ids)]
            for start, end in pairwise(starts):
                kept = tasks[start:end] >= 0
                found.append(ids[start:end][kept].tolist())
    return sorted(example for example in found if example)


def test_validation_batches_hold_the_same_examples_however_they_are_laid_out(tmp_path):
    tasks = make_tasks(tmp_path)

    def laid_out(**options):
        return validation_batches(
            tasks, NAMES, rows_per_batch=4, max_length=40, pad_token_id=0, **options
        )

    packed, single, long = laid_out(), laid_out(packing=False), laid_out(padding_free=True)
    assert examples_of(packed) == examples_of(single) == examples_of(long)
    assert all(batch["input_ids"].shape[0] == 1 for batch in long)
    assert all((batch["task_ids"] >= 0).all() for batch in long)
    assert all(((batch["position_ids"] == 0).sum(dim=1) >= 1).all() for batch in single)
    assert sum(len(batch["input_ids"]) for batch in single) == len(examples_of(packed))


def test_validation_batches_hold_every_answer_token_once_under_the_right_task(tmp_path):
    tasks = make_tasks(tmp_path)
    batches = validation_batches(
        [tasks[2], tasks[0]], NAMES, rows_per_batch=4, max_length=40, pad_token_id=0
    )
    counts = torch.zeros(3, dtype=torch.int64)
    for batch in batches:
        assert batch["input_ids"].shape[0] <= 4
        assert batch["input_ids"].shape[1] <= 40
        labelled = batch["labels"] != -100
        counts += torch.bincount(batch["task_ids"][labelled], minlength=3)
        assert (batch["task_ids"][labelled] >= 0).all()
        assert not (labelled & (batch["position_ids"] == 0)).any()
    # Three answer tokens in each of 60 short and 3 rare examples.
    assert counts.tolist() == [180, 0, 9]
