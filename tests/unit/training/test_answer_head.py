"""The CPU output head against full logits."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import Gemma2Config, Gemma2ForCausalLM, LlamaConfig, LlamaForCausalLM

from pipeline.training import answer_head
from pipeline.training.answer_head import add_answer_head, score_answers

LABELS = torch.tensor([[-100, 3, -100, 0, 4], [-100, -100, -100, -100, 2]])


def make_inputs() -> tuple[nn.Linear, torch.Tensor]:
    torch.manual_seed(0)
    return nn.Linear(6, 5), torch.randn(2, 5, 6, requires_grad=True)


def full_losses(head: nn.Module, hidden: torch.Tensor) -> torch.Tensor:
    losses = functional.cross_entropy(
        head(hidden).flatten(0, 1), LABELS.flatten(), reduction="none", ignore_index=-100
    )
    return losses.view(LABELS.shape)


@pytest.mark.parametrize("max_logits", [1 << 24, 5, 1])
def test_log_probabilities_and_gradients_are_those_of_full_logits(monkeypatch, max_logits):
    monkeypatch.setattr(answer_head, "_MAX_LOGITS", max_logits)
    head, hidden = make_inputs()
    output = score_answers(head, hidden, LABELS)
    expected = full_losses(head, hidden)
    assert torch.allclose(-output.log_probs, expected)
    assert torch.equal(output.label_mask, LABELS != -100)
    found = torch.autograd.grad(-output.log_probs.sum(), [hidden, head.weight])
    wanted = torch.autograd.grad(expected.sum(), [hidden, head.weight])
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(found, wanted, strict=True))


def test_a_token_is_top_when_no_other_has_a_larger_logit():
    head, hidden = make_inputs()
    output = score_answers(head, hidden, LABELS)
    expected = (head(hidden).argmax(-1) == LABELS) & (LABELS != -100)
    assert torch.equal(output.is_top1, expected)


def test_a_batch_without_answers_has_zero_loss_and_zero_gradient():
    head, hidden = make_inputs()
    output = score_answers(head, hidden, torch.full_like(LABELS, -100))
    output.log_probs.sum().backward()
    assert output.log_probs.sum() == 0
    assert torch.equal(hidden.grad, torch.zeros_like(hidden))


def test_bfloat16_hidden_states_give_float32_log_probabilities():
    head, hidden = make_inputs()
    output = score_answers(head.bfloat16(), hidden.detach().bfloat16(), LABELS)
    assert output.log_probs.dtype == torch.float32


def make_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
    )
    return LlamaForCausalLM(config)


def test_the_models_own_forward_stays_for_every_other_call():
    model = make_llama()
    input_ids = torch.tensor([[1, 2, 3, 4]])
    before = model(input_ids=input_ids, labels=input_ids)
    from trl.trainer.utils import add_fused_lm_head

    add_fused_lm_head(model)
    add_answer_head(model)
    after = model(input_ids=input_ids, labels=input_ids)
    assert torch.equal(before.loss, after.loss)
    assert torch.equal(before.logits, after.logits)
    fused = model(input_ids=input_ids, labels=input_ids, fused_lm_head=True)
    assert fused.log_probs.shape == (1, 3)
    assert float(-fused.log_probs.mean()) == pytest.approx(float(before.loss), rel=1e-6)


def test_models_with_rules_of_their_own_for_logits_keep_trls_head():
    config = Gemma2Config(
        vocab_size=11,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=4,
    )
    assert config.final_logit_softcapping
    model = Gemma2ForCausalLM(config)
    forward = model.forward
    add_answer_head(model)
    assert model.forward == forward


class LargestTensor(TorchDispatchMode):
    """Remembers how many elements the largest tensor has that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        made = result if isinstance(result, tuple | list) else [result]
        sizes = [each.numel() for each in made if isinstance(each, torch.Tensor)]
        self.count = max([self.count, *sizes])
        return result


@pytest.mark.parametrize("head", ["ours", "trl"])
def test_all_logits_are_never_there_at_once(monkeypatch, head):
    from trl.kernels import chunked_logprob
    from trl.trainer.utils import add_fused_lm_head

    vocabulary, tokens = 6000, 2000
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    model = LlamaForCausalLM(config)
    add_fused_lm_head(model)
    # TRL's tiles, of 4,096 tokens by 32,768 words, are larger than all of this test's logits.
    monkeypatch.setattr(chunked_logprob, "TOKEN_CHUNK_SIZE", 128)
    if head == "ours":
        monkeypatch.setattr(answer_head, "_MAX_LOGITS", tokens * vocabulary // 8)
        add_answer_head(model)
    input_ids = torch.randint(vocabulary, (1, tokens + 1))
    with LargestTensor() as largest:
        output = model(input_ids=input_ids, labels=input_ids, fused_lm_head=True, use_cache=False)
        (-output.log_probs.mean()).backward()
    assert output.log_probs.shape == (1, tokens)
    assert largest.count <= tokens * vocabulary // 2
    assert largest.count >= tokens * vocabulary // 20
