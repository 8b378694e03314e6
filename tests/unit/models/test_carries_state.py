"""Layers that carry a state along a row are found: packed examples would read each other."""

from __future__ import annotations

import pytest
import torch
import transformers

from pipeline.models.loading import carries_state

SIZES = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.1,
}
LINEAR = {
    "head_dim": 8,
    "linear_num_value_heads": 4,
    "linear_num_key_heads": 2,
    "linear_key_head_dim": 8,
    "linear_value_head_dim": 8,
    "layer_types": ["linear_attention"] * 3 + ["full_attention"],
}
CONVOLVING = {
    "layer_types": ["conv", "conv", "full_attention", "conv"],
    "block_auto_adjust_ff_dim": False,
}


def build(name: str, options: dict) -> transformers.PreTrainedModel:
    torch.manual_seed(0)
    prefix = "Qwen3_5Text" if name == "Qwen3_5" else name
    config = getattr(transformers, f"{prefix}Config")(**SIZES, **options)
    return getattr(transformers, f"{name}ForCausalLM")(config).eval()


def examples_mix(model: transformers.PreTrainedModel) -> bool:
    """Whether an example packed behind another one gets other logits than alone."""
    first, second = torch.randint(5, 90, (1, 9)), torch.randint(5, 90, (1, 7))
    positions = torch.cat([torch.arange(9), torch.arange(7)])[None]
    with torch.no_grad():
        alone = model(input_ids=second, position_ids=positions[:, 9:], use_cache=False).logits
        both = torch.cat([first, second], dim=1)
        packed = model(input_ids=both, position_ids=positions, use_cache=False).logits[:, 9:]
    return not torch.allclose(alone, packed, atol=1e-4)


@pytest.mark.parametrize(
    ("name", "options"),
    [("Llama", {}), ("Qwen3", {"head_dim": 8}), ("Lfm2", CONVOLVING), ("Qwen3_5", LINEAR)],
)
def test_examples_mix_exactly_in_models_that_are_found(name, options):
    model = build(name, options)
    assert carries_state(model) is examples_mix(model)


def test_both_kinds_are_among_them():
    assert not carries_state(build("Llama", {}))
    assert carries_state(build("Lfm2", CONVOLVING))
