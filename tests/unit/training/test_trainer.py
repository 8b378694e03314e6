"""The trainer against a plain loop, and against itself stopped, resumed and poisoned."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch.nn import functional

from pipeline.training.data import validation_batches
from tests.fixtures.tiny_runs import (
    PAD_TOKEN_ID,
    adapter_weights,
    make_model,
    make_recipe,
    make_tasks,
    make_trainer,
)
from tests.soak.stopping import StopAt

TASK_FIELDS = ("task_loss/", "task_token_accuracy/", "task_tokens/", "task_answer_tokens/")


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def held_out_of(tasks) -> list[dict[str, torch.Tensor]]:
    names = [task.name for task in tasks]
    return validation_batches(
        tasks, names, rows_per_batch=3, max_length=48, pad_token_id=PAD_TOKEN_ID
    )


def losses_of(trainer) -> list[float]:
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def token_losses(model, batch) -> torch.Tensor:
    """Cross-entropy of every token from full logits, 0 without a label; `[B, T - 1]`."""
    inputs = {name: batch[name] for name in batch if name not in ("labels", "task_ids")}
    logits = model(**inputs, use_cache=False).logits[:, :-1]
    return functional.cross_entropy(
        logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none"
    ).view(logits.shape[:2])


@pytest.mark.parametrize("packing", [True, False])
def test_losses_and_weights_are_those_of_a_plain_loop(tmp_path, tasks, packing):
    recipe = make_recipe(
        tmp_path, packing=packing, gradient_accumulation_steps=2, lr_scheduler_type="constant"
    )
    trainer = make_trainer(recipe, tasks)
    trainer.train()

    model = make_model(recipe)
    optimizer = torch.optim.AdamW(
        [value for value in model.parameters() if value.requires_grad], lr=1e-2, weight_decay=0.0
    )
    loader = iter(trainer.get_train_dataloader())
    expected = []
    for _ in range(recipe.max_steps):
        batches = [next(loader), next(loader)]
        num_answer_tokens = sum((batch["labels"][:, 1:] != -100).sum() for batch in batches)
        losses = [token_losses(model, batch).sum() / num_answer_tokens for batch in batches]
        sum(losses).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        expected.append(sum(losses).item())

    assert losses_of(trainer) == pytest.approx(expected, rel=1e-5)
    for name, value in adapter_weights(trainer).items():
        assert torch.allclose(value, model.get_parameter(name), atol=1e-5), name


def test_the_loss_of_each_task_is_read_off_the_training_forward(tmp_path, tasks):
    recipe = make_recipe(tmp_path, max_steps=1, per_device_train_batch_size=8)
    trainer = make_trainer(recipe, tasks)
    (batch,) = trainer.get_train_dataloader()
    with torch.no_grad():
        losses = token_losses(trainer.model.eval(), batch)
    trainer.train()
    log = trainer.state.log_history[0]
    has_label = batch["labels"][:, 1:] != -100
    for index, task in enumerate(tasks):
        of_task = batch["task_ids"] == index
        answers = has_label & of_task[:, 1:]
        assert log[f"task_loss/{task.name}"] == pytest.approx(
            float(losses[answers].mean()), rel=1e-5
        )
        assert log[f"task_answer_tokens/{task.name}"] == int(answers.sum())
        assert log[f"task_tokens/{task.name}"] == int(of_task.sum())
    assert log["num_tokens"] == int((batch["task_ids"] >= 0).sum())
    assert log["loss"] == pytest.approx(float(losses[has_label].mean()), rel=1e-5)


def test_accumulated_small_batches_are_one_large_batch(tmp_path, tasks):
    large = make_trainer(make_recipe(tmp_path / "a", per_device_train_batch_size=4), tasks)
    small = make_trainer(
        make_recipe(tmp_path / "b", per_device_train_batch_size=1, gradient_accumulation_steps=4),
        tasks,
    )
    large.train()
    small.train()
    assert losses_of(small) == pytest.approx(losses_of(large), rel=1e-5)


def test_metrics_are_written_line_by_line_with_the_numbers_of_the_log(tmp_path, tasks):
    trainer = make_trainer(make_recipe(tmp_path), tasks)
    trainer.train()
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 4]
    assert [line["loss"] for line in lines[:4]] == losses_of(trainer)
    assert {"grad_norm", "learning_rate", "num_tokens", "tokens_per_second"} <= set(lines[0])
    assert all(f"{field}{task.name}" in lines[0] for field in TASK_FIELDS[:1] for task in tasks[:2])


def test_evaluation_measures_every_validation_example_once(tmp_path, tasks):
    held_out = validation_batches(
        tasks[1:],
        [task.name for task in tasks],
        rows_per_batch=3,
        max_length=48,
        pad_token_id=PAD_TOKEN_ID,
    )
    recipe = make_recipe(tmp_path, eval_strategy="steps", eval_steps=2)
    trainer = make_trainer(recipe, tasks, validation_batches=held_out)
    metrics = trainer.evaluate()

    expected: dict[str, list[float]] = {}
    with torch.no_grad():
        for index, task in list(enumerate(tasks))[1:]:
            for example in range(len(task)):
                ids, mask = task.ids_and_mask(example)
                input_ids = torch.tensor(ids.astype("int64"))[None]
                labels = torch.where(torch.tensor(mask)[None], input_ids, -100)
                batch = {"input_ids": input_ids, "labels": labels}
                losses = token_losses(trainer.model, batch)[labels[:, 1:] != -100]
                expected.setdefault(tasks[index].name, []).extend(losses.tolist())
    means = {name: sum(each) / len(each) for name, each in expected.items()}
    everything = [loss for each in expected.values() for loss in each]
    assert metrics["eval_loss/long"] == pytest.approx(means["long"], rel=1e-5)
    assert metrics["eval_loss/rare"] == pytest.approx(means["rare"], rel=1e-5)
    assert metrics["eval_loss"] == pytest.approx(sum(everything) / len(everything), rel=1e-5)
    assert metrics["eval_macro_loss"] == pytest.approx(sum(means.values()) / 2, rel=1e-5)
    assert metrics["eval_worst_loss"] == pytest.approx(max(means.values()), rel=1e-5)
    trainer.train()
    logged = [log["step"] for log in trainer.state.log_history if "eval_loss" in log]
    assert logged == [2, 4]


def test_evaluation_does_not_change_training(tmp_path, tasks):
    plain = make_trainer(make_recipe(tmp_path / "a", lora_dropout=0.1), tasks)
    plain.train()
    watched = make_trainer(
        make_recipe(tmp_path / "b", lora_dropout=0.1, eval_strategy="steps", eval_steps=1),
        tasks,
        validation_batches=held_out_of(tasks),
    )
    watched.train()
    assert losses_of(plain) == losses_of(watched)


def evaluated_at(trainer) -> list[int]:
    return [log["step"] for log in trainer.state.log_history if "eval_loss" in log]


@pytest.mark.parametrize("epochs", [3.0, 0.5])
def test_an_epoch_is_one_pass_over_the_mixture(tmp_path, tasks, epochs):
    recipe = make_recipe(
        tmp_path,
        max_steps=-1,
        num_train_epochs=epochs,
        eval_strategy="epoch",
        save_strategy="epoch",
        save_total_limit=None,
        per_device_train_batch_size=4,
    )
    trainer = make_trainer(recipe, tasks, validation_batches=held_out_of(tasks))
    trainer.train()
    num_steps = trainer.state.global_step
    per_pass = math.ceil(num_steps / epochs)
    ends = [*range(per_pass, num_steps, per_pass), num_steps]
    assert len(ends) == math.ceil(epochs)
    assert evaluated_at(trainer) == ends
    assert sorted(path.name for path in tmp_path.glob("checkpoint-*")) == sorted(
        f"checkpoint-{step}" for step in ends
    )


def test_the_evaluation_of_a_step_that_was_stopped_is_made_at_the_resume(tmp_path, tasks):
    fields = {"max_steps": 6, "eval_strategy": "steps", "eval_steps": 2, "save_steps": 2}
    fields |= {"save_strategy": "steps", "load_best_model_at_end": True}
    whole = make_trainer(
        make_recipe(tmp_path / "a", **fields), tasks, validation_batches=held_out_of(tasks)
    )
    whole.train()
    recipe, stop = make_recipe(tmp_path / "b", **fields), StopAt(4)
    first = make_trainer(recipe, tasks, validation_batches=held_out_of(tasks), signals=stop.signals)
    stop.train(first)
    assert evaluated_at(first) == [2]
    second = make_trainer(recipe, tasks, validation_batches=held_out_of(tasks))
    second.train(resume_from_checkpoint=str(tmp_path / "b" / "checkpoint-4"))
    evaluations = [
        [(log["step"], log["eval_loss"]) for log in each.state.log_history if "eval_loss" in log]
        for each in (whole, second)
    ]
    assert evaluations[0] == evaluations[1]
    assert losses_of(whole) == losses_of(second)
    assert (second.state.best_metric, second.state.best_global_step) == (
        whole.state.best_metric,
        whole.state.best_global_step,
    )


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("accumulation", [1, 2])
def test_a_resumed_run_repeats_every_number(tmp_path, tasks, packing, accumulation):
    fields = {
        "packing": packing,
        "gradient_accumulation_steps": accumulation,
        "lora_dropout": 0.1,
        "max_steps": 5,
        "logging_steps": 2,
        "save_strategy": "steps",
        "save_steps": 3,
        "save_total_limit": None,
    }
    whole = make_trainer(make_recipe(tmp_path / "whole", **fields), tasks)
    whole.train()
    resumed = make_trainer(make_recipe(tmp_path / "resumed", **fields), tasks)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-3"))

    ignored = {"tokens_per_second", "train_runtime", "train_loss", "total_flos"}
    ignored |= {"train_samples_per_second", "train_steps_per_second"}

    def numbers(trainer, after):
        return [
            {name: value for name, value in log.items() if name not in ignored}
            for log in trainer.state.log_history
            if log["step"] > after
        ]

    assert numbers(resumed, 3) == numbers(whole, 3)
    before, after = adapter_weights(whole), adapter_weights(resumed)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_nothing_is_sent_or_written_that_was_not_asked_for(tmp_path, tasks, monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("telemetry was sent")

    monkeypatch.setattr("trl.trainer.base_trainer.send_telemetry", refuse)
    make_trainer(make_recipe(tmp_path), tasks).train()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["metrics.jsonl"]


def test_loss_weights_keep_their_digits_where_deepspeed_casts_what_a_batch_holds(tmp_path, tasks):
    trainer = make_trainer(make_recipe(tmp_path), tasks)
    config = SimpleNamespace(dtype=lambda: torch.bfloat16)
    plugin = SimpleNamespace(hf_ds_config=config)
    trainer.is_deepspeed_enabled = True
    trainer.accelerator = SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=plugin))
    weights = torch.tensor([[1 / 3, 1 / 70000]])
    labels = torch.tensor([[1, 2, 3]])
    prepared = trainer._prepare_inputs({"labels": labels, "loss_weights": weights})
    assert prepared["loss_weights"].dtype == torch.float32
    assert torch.equal(prepared["loss_weights"], weights)


def test_bfloat16_on_a_cpu_gives_losses_near_those_of_float32(tmp_path, tasks):
    exact = make_trainer(make_recipe(tmp_path / "a"), tasks)
    rounded = make_trainer(make_recipe(tmp_path / "b", bf16=True), tasks)
    exact.train()
    rounded.train()
    assert losses_of(rounded) == pytest.approx(losses_of(exact), rel=0.02)
    assert losses_of(rounded) != losses_of(exact)


def test_gradient_checkpointing_changes_no_number(tmp_path, tasks):
    plain = make_trainer(make_recipe(tmp_path / "a"), tasks)
    checked = make_trainer(make_recipe(tmp_path / "b", gradient_checkpointing=True), tasks)
    plain.train()
    checked.train()
    assert losses_of(checked) == pytest.approx(losses_of(plain), rel=1e-6)


def test_paths_of_the_run_are_where_they_were_asked_for(tmp_path, tasks):
    recipe = make_recipe(tmp_path / "run", save_strategy="steps", save_steps=2)
    make_trainer(recipe, tasks).train()
    assert (tmp_path / "run" / "checkpoint-2" / "run_state.json").is_file()
    assert Path(tmp_path / "run" / "checkpoint-4" / "adapter_model.safetensors").is_file()
