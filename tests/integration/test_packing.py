"""Packed rows through a real model: the same numbers as one example at a time."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.mixture.batches import BatchShape
from pipeline.mixture.build import MixtureSettings, build_batches
from pipeline.mixture.rates import RateRule
from pipeline.training.loss_weights import LOSS_WEIGHTS, add_loss_weights
from tests.unit.mixture.tasks import make_task

LENGTHS = {"a": [3 + i % 29 for i in range(80)], "b": [40 + i for i in range(20)], "c": [2, 64]}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    return [
        make_task(folder, name, lengths, num_answer_tokens=2) for name, lengths in LENGTHS.items()
    ]


def tiny_model(attention: str) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        attn_implementation=attention,
    )
    return LlamaForCausalLM(config).eval()


def batches(tasks, *, packing: bool, padding_free: bool = False, steps: int = 4):
    settings = MixtureSettings(
        max_length=128,
        packing=packing,
        max_steps=steps,
        rule=RateRule(policy="uniform", max_epochs=None),
    )
    shape = BatchShape(per_device_batch_size=3)
    return build_batches(tasks, settings, shape, pad_token_id=0, padding_free=padding_free)


def logits_of(model, batch) -> torch.Tensor:
    inputs = {
        name: batch[name]
        for name in ("input_ids", "position_ids", "attention_mask")
        if name in batch
    }
    with torch.no_grad():
        return model(**inputs, use_cache=False).logits


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("padding_free", [False, True])
def test_packed_logits_are_those_of_single_examples(tasks, attention, padding_free) -> None:
    model = tiny_model(attention)
    packed = batches(tasks, packing=True, padding_free=padding_free)
    worst = 0.0
    for keys, batch in zip(packed.micro_steps(), packed.loader(), strict=True):
        logits = logits_of(model, batch)
        examples = [packed.plan.draws(key) for key in keys]
        assert max(len(row) for row in examples) > 1
        rows = [logits[0]] if padding_free else list(logits)
        rows_of_draws = [[d for row in examples for d in row]] if padding_free else examples
        for row_logits, draws in zip(rows, rows_of_draws, strict=True):
            start = 0
            for task, example in draws:
                ids, _ = tasks[task].ids_and_mask(example)
                alone = logits_of(model, {"input_ids": torch.tensor(ids, dtype=torch.int64)[None]})
                part = row_logits[start : start + len(ids)]
                worst = max(worst, (part - alone[0]).abs().max().item())
                start += len(ids)
    assert worst <= 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_padded_logits_are_those_of_single_examples(tasks, attention) -> None:
    model = tiny_model(attention)
    padded = batches(tasks, packing=False)
    for keys, batch in zip(padded.micro_steps(), padded.loader(), strict=True):
        logits = logits_of(model, batch)
        for row, key in enumerate(keys):
            ((task, example),) = padded.plan.draws(key)
            ids, _ = tasks[task].ids_and_mask(example)
            alone = logits_of(model, {"input_ids": torch.tensor(ids, dtype=torch.int64)[None]})
            assert (logits[row, : len(ids)] - alone[0]).abs().max() <= 1e-5


def test_packed_loss_tokens_are_exactly_those_of_the_examples(tasks) -> None:
    packed = batches(tasks, packing=True, steps=20)
    for keys, batch in zip(packed.micro_steps(), packed.loader(), strict=True):
        for row, key in enumerate(keys):
            expected = []
            for task, example in packed.plan.draws(key):
                ids, mask = tasks[task].ids_and_mask(example)
                # The first token of an example is predicted by nothing.
                expected += [(task, i) for i in ids[1:][mask[1:]].tolist()]
            labels, task_ids = batch["labels"][row], batch["task_ids"][row]
            trained = labels != -100
            found = list(zip(task_ids[trained].tolist(), labels[trained].tolist(), strict=True))
            assert found == expected


def test_number_of_loader_workers_changes_nothing(tasks) -> None:
    packed = batches(tasks, packing=True)
    alone = list(packed.loader(num_workers=0))
    with_workers = list(packed.loader(num_workers=2))
    assert len(alone) == len(with_workers) == 4
    for first, second in zip(alone, with_workers, strict=True):
        assert first.keys() == second.keys()
        assert all(torch.equal(first[name], second[name]) for name in first)


def step_batches(tasks, *, world_size: int, batch_size: int, accumulation: int) -> list[list]:
    """Return the micro-batches of one packed global step of 8 rows, by rank."""
    settings = MixtureSettings(max_length=128, max_steps=1)
    ranks = []
    for rank in range(world_size):
        shape = BatchShape(
            per_device_batch_size=batch_size,
            world_size=world_size,
            rank=rank,
            gradient_accumulation_steps=accumulation,
        )
        ranks.append(list(build_batches(tasks, settings, shape, pad_token_id=0).loader()))
    return ranks


def unpacked(tasks) -> list[list]:
    """Return the examples of the same global step, one per row, as one micro-batch."""
    settings = MixtureSettings(max_length=128, max_steps=1)
    shape = BatchShape(per_device_batch_size=8)
    packed = build_batches(tasks, settings, shape, pad_token_id=0)
    alone = build_batches(
        tasks,
        MixtureSettings(max_length=128, max_steps=1, packing=False),
        shape,
        pad_token_id=0,
    )
    draws = [draw for key in packed.step_keys(0) for draw in packed.plan.draws(key)]
    return [[alone.collate([alone[[draw]] for draw in draws])]]


def gradient_of(ranks: list[list], reduction: str, attention: str) -> torch.Tensor:
    """Return the gradient of one step as the trainer forms it: weights, then a plain sum."""
    model = tiny_model(attention).double()
    counts = []
    if reduction == "token":
        total = sum(int((batch["labels"][:, 1:] != -100).sum()) for r in ranks for batch in r)
        for batch in (batch for rank in ranks for batch in rank):
            batch[LOSS_WEIGHTS] = (batch["labels"][:, 1:] != -100) / total
    else:
        for rank in ranks:
            add_loss_weights(rank, reduction, num_tasks=3, reduce=lambda t: counts.append(t) or t)
        whole = sum(counts)
        for rank in ranks:
            add_loss_weights(rank, reduction, num_tasks=3, reduce=lambda _: whole)
    for batch in (batch for rank in ranks for batch in rank):
        inputs = {
            name: batch[name]
            for name in ("input_ids", "position_ids", "attention_mask")
            if name in batch
        }
        logits = model(**inputs, use_cache=False).logits[:, :-1]
        losses = torch.nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["labels"][:, 1:].flatten(), reduction="none"
        )
        (losses * batch[LOSS_WEIGHTS].flatten()).sum().backward()
    return torch.cat([p.grad.flatten() for p in model.parameters()])


DIVISIONS = {
    "2 ranks x 4": {"world_size": 2, "batch_size": 4, "accumulation": 1},
    "4 accumulated x 2": {"world_size": 1, "batch_size": 2, "accumulation": 4},
    "2 ranks x 2 x 2 accumulated": {"world_size": 2, "batch_size": 2, "accumulation": 2},
    "8 ranks x 1": {"world_size": 8, "batch_size": 1, "accumulation": 1},
}


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("reduction", ["token", "example", "task"])
def test_gradient_does_not_depend_on_how_examples_are_divided(tasks, reduction, attention) -> None:
    whole = gradient_of(
        step_batches(tasks, world_size=1, batch_size=8, accumulation=1), reduction, attention
    )
    assert whole.abs().max() > 1e-3
    for name, division in DIVISIONS.items():
        found = gradient_of(step_batches(tasks, **division), reduction, attention)
        assert (found - whole).abs().max() <= 1e-6, name
    alone = gradient_of(unpacked(tasks), reduction, attention)
    assert (alone - whole).abs().max() <= 1e-6, "one example per row"


def test_reductions_weigh_examples_differently(tasks) -> None:
    found = [
        gradient_of(step_batches(tasks, world_size=1, batch_size=8, accumulation=1), each, "sdpa")
        for each in ("token", "task")
    ]
    assert (found[0] - found[1]).abs().max() > 1e-4
