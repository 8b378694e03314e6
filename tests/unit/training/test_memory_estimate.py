"""Memory told from a configuration, against what a real model and a real pass take."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.adapters.registry import attach_adapter
from pipeline.recipe import Recipe
from pipeline.training.memory_estimate import estimate_memory

ROWS, LENGTH = 4, 128
CONFIG = LlamaConfig(
    vocab_size=320,
    hidden_size=64,
    intermediate_size=160,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("base")
    CONFIG.save_pretrained(folder)
    return str(folder)


def recipe_of(**fields) -> Recipe:
    values = {
        "model_name_or_path": "unused",
        "tasks": ["a"],
        "per_device_train_batch_size": ROWS,
        "max_length": LENGTH,
        "dtype": "float32",
        "bf16": False,
    }
    return Recipe.model_validate(values | fields)


def kept_bytes(model) -> int:
    """Return the bytes that a forward pass keeps for the backward pass, weights left out."""
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    kept: dict[int, int] = {}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    ids = torch.randint(5, 300, (ROWS, LENGTH))
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model.base_model.model.model(input_ids=ids, use_cache=False)
    assert output.last_hidden_state.requires_grad
    return sum(kept.values())


def test_weights_and_adapter_are_counted_exactly(source) -> None:
    estimate = estimate_memory(recipe_of(), source)
    model = LlamaForCausalLM(CONFIG)
    assert estimate.num_parameters == model.num_parameters()
    assert estimate.weights == 4 * model.num_parameters()
    adapted = attach_adapter(model, recipe_of().adapter_settings)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    assert estimate.num_trained_parameters == trained
    assert estimate.adapter == 16 * trained


def test_activations_are_those_that_a_pass_keeps(source) -> None:
    model = attach_adapter(LlamaForCausalLM(CONFIG), recipe_of().adapter_settings).train()
    measured = kept_bytes(model)
    assert estimate_memory(recipe_of(), source).activations == pytest.approx(measured, rel=0.35)


def test_smaller_types_and_checkpointing_take_less(source) -> None:
    whole = estimate_memory(recipe_of(), source)
    half = estimate_memory(recipe_of(dtype="bfloat16"), source)
    assert half.weights * 2 == whole.weights
    assert half.activations * 2 == whole.activations
    four = estimate_memory(recipe_of(dtype="bfloat16", load_in_4bit=True), source)
    eight = estimate_memory(recipe_of(dtype="bfloat16", load_in_8bit=True), source)
    assert four.weights < eight.weights < half.weights
    assert (
        estimate_memory(recipe_of(gradient_checkpointing=True), source).activations
        < whole.activations / 2
    )
    assert estimate_memory(recipe_of(), source, answer_fraction=0.25).answers == whole.answers / 4
    twice = estimate_memory(recipe_of(per_device_train_batch_size=2 * ROWS), source)
    assert twice.activations == 2 * whole.activations
    assert twice.total > whole.total
