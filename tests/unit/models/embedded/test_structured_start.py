import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.models.embedded.structured_start import apply_structured_start


def llama(**changes) -> LlamaForCausalLM:
    torch.manual_seed(0)
    options = {
        "vocab_size": 300,
        "hidden_size": 128,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "intermediate_size": 320,
        "initializer_range": 0.08,
        "attention_bias": True,
        "tie_word_embeddings": True,
        "rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0},
        **changes,
    }
    return LlamaForCausalLM(LlamaConfig(**options)).eval()


@torch.no_grad()
def repeat_accuracy(model: LlamaForCausalLM) -> float:
    """Share of next tokens that are right in the second copy of 24 random tokens (60 symbols)."""
    generator = torch.Generator().manual_seed(1)
    once = torch.randint(100, 160, (64, 24), generator=generator)
    input_ids = torch.cat([once, once], dim=1)
    predicted = model(input_ids=input_ids).logits.argmax(-1)
    return float((predicted[:, 24:-1] == input_ids[:, 25:]).float().mean())


def test_ordinary_random_weights_cannot_copy():
    assert repeat_accuracy(llama()) < 0.1


@pytest.mark.parametrize(("num_offsets", "least"), [(1, 0.7), (2, 0.9)])
def test_copying_works_before_the_first_step(num_offsets, least):
    model = llama()
    apply_structured_start(model, num_offsets=num_offsets)
    assert repeat_accuracy(model) > least


def test_equal_seeds_give_equal_weights():
    first, second = llama(), llama()
    apply_structured_start(first, seed=3)
    apply_structured_start(second, seed=3)
    for left, right in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(left, right)


def test_all_weights_stay_trainable():
    model = llama()
    apply_structured_start(model)
    assert all(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("change", [{"attention_bias": False}, {"num_hidden_layers": 1}])
def test_a_model_that_cannot_hold_the_circuit_is_refused(change):
    with pytest.raises(ValueError, match="attention_bias=True and two layers"):
        apply_structured_start(llama(**change))
