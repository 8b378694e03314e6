"""Batched decoding and scoring against one prompt at a time without any cache."""

import numpy as np
import pytest
import torch
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Qwen3Config, Qwen3ForCausalLM

from eval.backends.decoding import choice_log_likelihoods, greedy_answers, left_padded
from tests.unit.eval.tiny_llama import build_tiny_model

PAD = 256
STOP = frozenset({260})


def random_prompts(count, seed=0, longest=40):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(0, 256, size=generator.integers(1, longest)).astype(np.int32)
        for _ in range(count)
    ]


def build_qwen():
    torch.manual_seed(1)
    config = Qwen3Config(
        vocab_size=261,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        head_dim=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        eos_token_id=260,
        pad_token_id=256,
        bos_token_id=None,
    )
    return Qwen3ForCausalLM(config).eval()


def build_gemma():
    """Its sliding window of 8 is shorter than the prompts, so old keys are dropped."""
    torch.manual_seed(1)
    config = Gemma3TextConfig(
        vocab_size=261,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        head_dim=16,
        num_attention_heads=4,
        num_key_value_heads=2,
        sliding_window=8,
        initializer_range=0.2,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        eos_token_id=260,
        pad_token_id=256,
        bos_token_id=None,
    )
    return Gemma3ForCausalLM(config).eval()


@pytest.fixture(scope="module", params=[build_tiny_model, build_qwen, build_gemma])
def model(request):
    return request.param()


@torch.inference_mode()
def plain_greedy(model, prompt, max_new_tokens, stop_ids=STOP):
    ids = torch.from_numpy(prompt.astype(np.int64))[None]
    answer = []
    for _ in range(max_new_tokens):
        token = int(model(ids, use_cache=False).logits[0, -1].argmax())
        if token in stop_ids:
            break
        answer.append(token)
        ids = torch.cat([ids, torch.tensor([[token]])], dim=1)
    return answer


@torch.inference_mode()
def plain_log_likelihood(model, prompt, choice):
    ids = torch.from_numpy(np.concatenate([prompt, choice]).astype(np.int64))[None]
    logits = torch.log_softmax(model(ids, use_cache=False).logits[0].double(), dim=-1)
    return sum(float(logits[len(prompt) - 1 + place, token]) for place, token in enumerate(choice))


def greedy(model, prompts, max_new_tokens=12):
    return greedy_answers(model, prompts, max_new_tokens=max_new_tokens, stop_ids=STOP, pad_id=PAD)


def test_batched_answers_equal_answers_one_by_one(model):
    prompts = random_prompts(12)
    expected = [plain_greedy(model, prompt, 12) for prompt in prompts]
    assert [ids for ids, _ in greedy(model, prompts)] == expected
    for size in (1, 5):
        parts = [prompts[start : start + size] for start in range(0, 12, size)]
        assert [ids for part in parts for ids, _ in greedy(model, part)] == expected


def test_rows_that_stop_leave_the_batch_and_the_others_go_on():
    model = build_tiny_model()
    prompts = random_prompts(30, seed=4)
    plain = [plain_greedy(model, prompt, 12, frozenset()) for prompt in prompts]
    # A frequent token as stop token makes rows end at different steps.
    tokens = [token for answer in plain for token in answer[1:6]]
    stop = max(set(tokens), key=tokens.count)
    found = greedy_answers(
        model, prompts, max_new_tokens=12, stop_ids=frozenset({stop}), pad_id=PAD
    )
    lengths = set()
    for answer, (ids, reason) in zip(plain, found, strict=True):
        expected = answer[: answer.index(stop)] if stop in answer else answer
        assert ids == expected
        assert reason == ("stop" if stop in answer else "length")
        lengths.add(len(ids))
    assert len(lengths) > 2


def test_the_limit_is_kept_exactly(model):
    (ids, reason), *_ = greedy(model, random_prompts(3), max_new_tokens=1)
    assert (len(ids), reason) in {(1, "length"), (0, "stop")}


def test_choice_scores_equal_scores_one_by_one(model):
    generator = np.random.default_rng(2)
    prompts = random_prompts(6, seed=2)
    choices = [
        [
            tuple(generator.integers(0, 256, size=generator.integers(1, 7)).tolist())
            for _ in range(generator.integers(2, 6))
        ]
        for _ in prompts
    ]
    expected = [
        [plain_log_likelihood(model, prompt, choice) for choice in options]
        for prompt, options in zip(prompts, choices, strict=True)
    ]
    for budget in (10_000, 100, 1):
        found = choice_log_likelihoods(model, prompts, choices, pad_id=PAD, max_batch_tokens=budget)
        for row, wanted in zip(found, expected, strict=True):
            assert row == pytest.approx(wanted, abs=2e-3)


def test_single_token_choices_need_no_second_pass(model, monkeypatch):
    calls = []
    monkeypatch.setattr(
        "eval.backends.decoding._tail_log_likelihoods", lambda *a: calls.append(a) or []
    )
    scores = choice_log_likelihoods(
        model, random_prompts(2), [[(1,), (2,)]] * 2, pad_id=PAD, max_batch_tokens=100
    )
    assert [len(row) for row in scores] == [2, 2]
    assert not calls


def test_padding_stands_on_the_left_and_is_masked():
    prompts = [np.array([1, 2, 3], dtype=np.int32), np.array([4], dtype=np.int32)]
    input_ids, attention_mask = left_padded(prompts, 9)
    assert input_ids.tolist() == [[1, 2, 3], [9, 9, 4]]
    assert attention_mask.tolist() == [[1, 1, 1], [0, 0, 1]]
