"""Batched decoding and scoring against one prompt at a time without any cache."""

import itertools

import numpy as np
import pytest
import torch
from transformers.cache_utils import DynamicLayer

from eval.backends.decoding import choice_log_likelihoods, greedy_answers, left_padded
from eval.backends.key_values import GrowingLayer
from tests.unit.eval.tiny_llama import build_gemma, build_qwen, build_tiny_model

PAD = 256
STOP = frozenset({260})


def random_prompts(count, seed=0, longest=40):
    generator = np.random.default_rng(seed)
    return [
        generator.integers(0, 256, size=generator.integers(1, longest)).astype(np.int32)
        for _ in range(count)
    ]


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


def greedy(model, prompts, max_new_tokens=12, *, stop_ids=STOP, max_batch_tokens=10_000):
    return greedy_answers(
        model,
        prompts,
        limits=[max_new_tokens] * len(prompts),
        stop_ids=stop_ids,
        pad_id=PAD,
        max_batch_tokens=max_batch_tokens,
    )


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
    found = greedy(model, prompts, stop_ids=frozenset({stop}))
    lengths = set()
    for answer, (ids, reason) in zip(plain, found, strict=True):
        expected = answer[: answer.index(stop)] if stop in answer else answer
        assert ids == expected
        assert reason == ("stop" if stop in answer else "length")
        lengths.add(len(ids))
    assert len(lengths) > 2


def test_every_answer_has_a_limit_of_its_own(model):
    prompts = random_prompts(6, seed=3)
    limits = [1, 5, 2, 9, 3, 7]
    found = greedy_answers(
        model, prompts, limits=limits, stop_ids=frozenset(), pad_id=PAD, max_batch_tokens=10_000
    )
    for prompt, limit, (ids, reason) in zip(prompts, limits, found, strict=True):
        assert (ids, reason) == (plain_greedy(model, prompt, limit, frozenset()), "length")


class Watch:
    """Notes the shape of everything a model reads."""

    def __init__(self, model):
        self.shapes = []
        self._hook = model.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, model, args, options):
        self.shapes.append((*options["input_ids"].shape, options["attention_mask"].shape[1]))

    def close(self):
        self._hook.remove()
        return self.shapes


def with_one_start(prompts, length):
    start = np.arange(length, dtype=np.int32) % 256
    return [np.concatenate([start, prompt]) for prompt in prompts]


def test_what_all_prompts_begin_with_is_read_once(model):
    prompts = with_one_start(random_prompts(12, seed=5, longest=12), 100)
    watch = Watch(model)
    found = greedy(model, prompts, 6)
    num_read = sum(rows * tokens for rows, tokens, _ in watch.close() if tokens > 1)
    assert [ids for ids, _ in found] == [plain_greedy(model, prompt, 6) for prompt in prompts]
    num_tokens = sum(map(len, prompts))
    # A window that slides forgets the start, so there each prompt is read whole.
    assert num_read < num_tokens / 4 or (num_read >= num_tokens and "gemma" in str(type(model)))
    choices = [[(1, 2), (3, 4, 5)]] * 12
    scores = choice_log_likelihoods(model, prompts, choices, pad_id=PAD, max_batch_tokens=10_000)
    for prompt, row in zip(prompts, scores, strict=True):
        wanted = [plain_log_likelihood(model, prompt, choice) for choice in choices[0]]
        assert row == pytest.approx(wanted, abs=2e-3)


def test_one_prompt_many_times_keeps_a_token_of_its_own():
    model = build_tiny_model()
    prompts = random_prompts(1, seed=6, longest=300) * 9
    expected = plain_greedy(model, prompts[0], 5)
    assert [ids for ids, _ in greedy(model, prompts, 5)] == [expected] * 9


@pytest.fixture(scope="module")
def many_answers():
    model = build_tiny_model()
    prompts = random_prompts(30, seed=7)
    return model, prompts, [plain_greedy(model, prompt, 12, frozenset()) for prompt in prompts]


@pytest.mark.parametrize("budget", [1, 150, 400])
def test_waiting_rows_take_the_place_of_those_that_are_done(budget, many_answers):
    model, prompts, plain = many_answers
    tokens = [token for answer in plain for token in answer[1:6]]
    stop = frozenset({max(set(tokens), key=tokens.count)})
    watch = Watch(model)
    found = greedy(model, prompts, stop_ids=stop, max_batch_tokens=budget)
    shapes = watch.close()
    for answer, (ids, _) in zip(plain, found, strict=True):
        ends = [place for place, token in enumerate(answer) if token in stop]
        assert ids == answer[: ends[0] if ends else None]
    assert all(rows == 1 or rows * width <= budget for rows, _, width in shapes)
    if budget == 400:
        # Rows join and leave between two tokens, so the number at work goes up again.
        steps = [rows for rows, tokens, _ in shapes if tokens == 1]
        assert any(before < after for before, after in itertools.pairwise(steps))


def test_keys_and_values_are_those_of_the_plain_cache():
    generator = torch.Generator().manual_seed(0)
    ours, plain = GrowingLayer(), DynamicLayer()
    for length in (7, 1, 1, 70, 1):
        new = torch.randn(2, 3, 2, length, 4, generator=generator)
        found, wanted = ours.update(*new), plain.update(*new)
        assert all(torch.equal(one, other) for one, other in zip(found, wanted, strict=True))
        assert ours.get_seq_length() == plain.get_seq_length()


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
