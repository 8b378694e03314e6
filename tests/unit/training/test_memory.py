"""Memory that runs out: smaller passes, the same steps."""

from __future__ import annotations

import json

import pytest
import torch

from pipeline.errors import TrainingError
from pipeline.training.micro_batches import (
    GradientSnapshot,
    MicroBatchPieces,
    is_out_of_memory,
    longest_micro_batch,
    must_stop,
)
from tests.fixtures.tiny_runs import adapter_weights, make_recipe, make_tasks, make_trainer


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def out_of_memory() -> torch.OutOfMemoryError:
    return torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


def run_out_above(trainer, rows: int, *, from_step: int = 0, in_backward: bool = False) -> None:
    """Let every training pass with more than `rows` rows run out of memory."""
    layer = trainer.model.get_base_model().model.norm

    def hook(module, inputs, output):
        is_due = trainer.state.global_step >= from_step and trainer.model.training
        if not is_due or len(output) <= rows:
            return
        if not in_backward:
            raise out_of_memory()

        def fail(grad):
            raise out_of_memory()

        output.register_hook(fail)

    layer.register_forward_hook(hook)


def losses_of(trainer) -> list[float]:
    return [log["loss"] for log in trainer.state.log_history if "loss" in log]


def events(folder) -> list[dict]:
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line for line in lines if "event" in line]


def longest_of(trainer) -> dict[str, torch.Tensor]:
    return longest_micro_batch(trainer._checkpoints.parts["data"])


@pytest.mark.parametrize("in_backward", [False, True])
@pytest.mark.parametrize("reduction", ["token", "task"])
@pytest.mark.parametrize("from_step", [0, 2])
def test_smaller_passes_make_the_run_of_smaller_micro_batches(
    tmp_path, tasks, from_step, reduction, in_backward
):
    fields = {"max_steps": 4, "loss_reduction": reduction}
    small = make_trainer(
        make_recipe(
            tmp_path / "a",
            per_device_train_batch_size=2,
            gradient_accumulation_steps=4,
            **fields,
        ),
        tasks,
    )
    small.train()
    large = make_trainer(
        make_recipe(
            tmp_path / "b",
            per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
            **fields,
        ),
        tasks,
    )
    run_out_above(large, 2, from_step=from_step, in_backward=in_backward)
    large.train()
    assert losses_of(large) == pytest.approx(losses_of(small), rel=1e-5)
    expected = adapter_weights(small)
    for name, weight in adapter_weights(large).items():
        assert torch.allclose(weight, expected[name], atol=1e-5), name
    (event,) = events(tmp_path / "b")
    assert (event["event"], event["step"]) == ("out_of_memory", from_step + 1)
    assert (event["rows_per_pass"], event["passes_per_step"]) == (2, 4)
    assert [log["num_tokens"] for log in large.state.log_history if "loss" in log] == [
        log["num_tokens"] for log in small.state.log_history if "loss" in log
    ]


def test_the_longest_rows_are_tried_before_the_first_step(tmp_path, tasks):
    recipe = make_recipe(tmp_path / "a", per_device_train_batch_size=4, lora_dropout=0.1)
    trainer = make_trainer(recipe, tasks)
    trainer._longest_batch = longest_of(trainer)
    seen = []
    trainer.model.get_base_model().model.norm.register_forward_hook(
        lambda module, inputs, output: seen.append((trainer.state.global_step, output.shape[:2]))
    )
    run_out_above(trainer, 2)
    trainer.train()
    assert seen[0] == (0, (4, 48))
    assert [shape[0] for _, shape in seen[1:3]] == [2, 2]
    (event,) = events(tmp_path / "a")
    assert event["rows_per_pass"] == 2


def test_trying_the_longest_rows_changes_no_number(tmp_path, tasks):
    plain = make_trainer(make_recipe(tmp_path / "a", lora_dropout=0.1), tasks)
    plain.train()
    tried = make_trainer(make_recipe(tmp_path / "b", lora_dropout=0.1), tasks)
    tried._longest_batch = longest_of(tried)
    tried.train()
    assert losses_of(tried) == losses_of(plain)
    mine, expected = adapter_weights(tried), adapter_weights(plain)
    assert all(torch.equal(mine[name], expected[name]) for name in expected)


@pytest.mark.parametrize("packing", [True, False])
def test_no_micro_batch_of_the_run_is_longer(tmp_path, tasks, packing):
    recipe = make_recipe(tmp_path, packing=packing, max_steps=30)
    trainer = make_trainer(recipe, tasks)
    longest = longest_of(trainer)
    lengths = [batch["input_ids"].shape[1] for batch in trainer.get_train_dataloader()]
    assert longest["input_ids"].shape == (2, max(lengths))
    assert (longest["task_ids"] >= 0).float().mean() > 0.9


def test_a_single_row_that_does_not_fit_is_told(tmp_path, tasks):
    trainer = make_trainer(make_recipe(tmp_path, per_device_train_batch_size=2), tasks)
    run_out_above(trainer, 0)
    with pytest.raises(TrainingError, match=r"single row in one pass.*max_length.*\[TRN010\]"):
        trainer.train()


def test_an_evaluation_that_does_not_fit_says_what_to_set(tmp_path, tasks):
    fields = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 4}
    batches = [longest_of(make_trainer(make_recipe(tmp_path / "a"), tasks))]
    recipe = make_recipe(tmp_path / "b", **fields)
    trainer = make_trainer(recipe, tasks, validation_batches=batches)

    def hook(module, inputs, output):
        if not trainer.model.training:
            raise out_of_memory()

    trainer.model.get_base_model().model.norm.register_forward_hook(hook)
    with pytest.raises(TrainingError) as caught:
        trainer.train()
    assert str(caught.value) == (
        "per_device_eval_batch_size: out of memory evaluating 4 rows in one pass. Resume with a "
        "lower one, or lower max_length. [TRN010]"
    )


def test_processes_that_wait_for_each_other_stop_with_the_values_to_set():
    error = must_stop(rows=8, accumulation=2, step=18)
    assert str(error) == (
        "step 18: out of memory with 8 rows in one pass. Resume with "
        "`--per_device_train_batch_size 4 --gradient_accumulation_steps 4`: the same batch in "
        "smaller passes. [TRN010]"
    )
    assert error.is_of_one_process


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (out_of_memory(), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate"), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        (MemoryError(), False),
    ],
)
def test_only_memory_is_taken_for_memory(error, expected):
    assert is_out_of_memory(error) is expected


def test_other_errors_are_not_swallowed(tmp_path, tasks):
    trainer = make_trainer(make_recipe(tmp_path), tasks)

    def fail(*args):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    trainer.model.get_base_model().model.norm.register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        trainer.train()
    assert not list(tmp_path.glob("metrics.jsonl"))


def test_pieces_hold_every_row_once_and_go_on_after_a_stop():
    pieces, resumed = MicroBatchPieces(), MicroBatchPieces()
    batch = {"input_ids": torch.arange(10).view(5, 2), "labels": torch.arange(10).view(5, 2)}
    assert len(pieces.split(batch)) == 1
    pieces.halve(5)
    split = pieces.split(batch)
    assert [len(piece["input_ids"]) for piece in split] == [3, 2]
    assert torch.equal(torch.cat([piece["labels"] for piece in split]), batch["labels"])
    resumed.load_state(pieces.state(3))
    assert resumed.count == 2


def test_gradients_go_back_to_what_they_were():
    model = torch.nn.Linear(2, 2)
    model.weight.grad = torch.ones(2, 2)
    before = GradientSnapshot(model)
    model.weight.grad += 1
    model.bias.grad = torch.ones(2)
    before.restore()
    assert torch.equal(model.weight.grad, torch.ones(2, 2))
    assert model.bias.grad is None
