"""The in-process backend: names and fingerprints, adapters, memory that runs out."""

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model

from eval.backends import prompting
from eval.backends.base import Request
from eval.backends.fingerprint import weights_sha256
from eval.backends.transformers_backend import TransformersBackend
from pipeline.errors import ChatError, EvalError
from pipeline.types import Conversation, Message
from tests.unit.eval.tiny_llama import build_gemma, build_tiny_model, build_tiny_tokenizer


def request(number, *, kind="choices", text="row"):
    messages = (
        Message(role="user", content=f"{text} {number} " * (number + 1)),
        Message(role="assistant", content="yes", trainable=True),
    )
    conversation = Conversation(key=f"t/test/{number}", task="t", messages=messages)
    return Request(
        kind=kind, conversation=conversation, choices=("yes", "no") if kind == "choices" else ()
    )


def make_backend(model=None, **options):
    return TransformersBackend(
        model or build_tiny_model(), build_tiny_tokenizer(), model_name="tiny", **options
    )


def with_adapter():
    torch.manual_seed(0)
    config = LoraConfig(r=4, target_modules=["q_proj", "v_proj"], init_lora_weights=False)
    return get_peft_model(build_tiny_model(), config)


def test_an_adapter_changes_the_fingerprint_and_the_answers():
    base, adapted = make_backend(), make_backend(with_adapter(), adapter_name="mine")
    facts = [backend.describe() for backend in (base, adapted)]
    assert facts[0]["weights_sha256"] != facts[1]["weights_sha256"]
    assert (facts[0]["adapter"], facts[1]["adapter"]) == (None, "mine")
    assert facts[1]["dtype"] == "float32"
    requests = [request(number) for number in range(4)]
    scores = []
    for backend in (base, adapted):
        prompts = backend.prompts(requests, max_new_tokens=8)
        scores.append([p.choice_log_likelihoods for p in backend.score_choices(prompts)])
        assert len(backend.generate(prompts, max_new_tokens=5)) == 4
    assert not np.allclose(scores[0], scores[1])


def test_the_fingerprint_is_stable_and_sees_small_changes():
    model = build_tiny_model()
    assert weights_sha256(model) == weights_sha256(build_tiny_model())
    before = weights_sha256(model)
    with torch.no_grad():
        model.model.norm.weight[3] += 1e-3
    assert weights_sha256(model) != before
    assert weights_sha256(model.to(torch.bfloat16)) != before


def test_batches_hold_every_prompt_once():
    backend = make_backend()
    requests = [request(number % 30, text=f"row {number}") for number in range(300)]
    prompts = backend.prompts(requests, max_new_tokens=8)
    batches = backend.batches(prompts, max_new_tokens=8)
    assert sorted(map(id, (p for batch in batches for p in batch))) == sorted(map(id, prompts))
    assert [len(batch) for batch in batches] == [128, 128, 44]


def test_batches_of_a_model_with_a_sliding_window_are_within_the_budget():
    backend = make_backend(build_gemma(), max_batch_tokens=500)
    prompts = backend.prompts([request(number) for number in range(30)], max_new_tokens=8)
    batches = backend.batches(prompts, max_new_tokens=8)
    assert sorted(p.key for batch in batches for p in batch) == sorted(p.key for p in prompts)
    for batch in batches:
        longest = max(len(prompt.input_ids) for prompt in batch)
        assert len(batch) == 1 or len(batch) * longest <= 500
    assert len(batches) < 30


def test_requests_of_two_kinds_are_not_mixed():
    backend = make_backend()
    both = [request(0), request(1, kind="generate"), request(2), request(3, kind="generate")]
    batches = backend.batches(backend.prompts(both, max_new_tokens=4), max_new_tokens=4)
    assert all(len({prompt.request.kind for prompt in batch}) == 1 for batch in batches)


def test_a_batch_that_does_not_fit_is_answered_in_halves(monkeypatch):
    backend = make_backend()
    prompts = backend.prompts([request(number) for number in range(8)], max_new_tokens=4)
    expected = [prediction.text for prediction in backend.generate(prompts, max_new_tokens=4)]
    sizes = []

    def small_memory(model, part, **options):
        sizes.append(len(part))
        if len(part) > 2:
            raise torch.OutOfMemoryError("out of memory")
        return greedy_answers(model, part, **options)

    from eval.backends.decoding import greedy_answers

    monkeypatch.setattr("eval.backends.transformers_backend.greedy_answers", small_memory)
    found = [prediction.text for prediction in backend.generate(prompts, max_new_tokens=4)]
    assert found == expected
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_one_prompt_that_does_not_fit_is_a_clear_error(monkeypatch):
    def no_memory(model, part, **options):
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr("eval.backends.transformers_backend.greedy_answers", no_memory)
    backend = make_backend()
    prompts = backend.prompts([request(0)], max_new_tokens=4)
    with pytest.raises(EvalError) as caught:
        backend.generate(prompts, max_new_tokens=4)
    assert caught.value.code == "EVL031"
    assert "Lower max_length" in str(caught.value)


def test_other_errors_of_the_model_are_not_swallowed(monkeypatch):
    def broken(model, part, **options):
        raise RuntimeError("a bug")

    monkeypatch.setattr("eval.backends.transformers_backend.greedy_answers", broken)
    backend = make_backend()
    with pytest.raises(RuntimeError, match="a bug"):
        backend.generate(backend.prompts([request(0)], max_new_tokens=4), max_new_tokens=4)


def test_a_template_that_gives_no_prompt_is_a_clear_error(monkeypatch):
    monkeypatch.setattr(prompting, "prompt_ids_many", lambda conversations, *_: [[]])
    with pytest.raises(EvalError) as caught:
        make_backend().prompts([request(0)], max_new_tokens=4)
    assert caught.value.code == "EVL030"


def test_answers_end_at_the_tokens_of_model_and_template():
    model = build_tiny_model()
    model.generation_config.eos_token_id = [7, 260]
    assert make_backend(model).describe()["stop_token_ids"] == [7, 260]


def test_the_prompt_hash_covers_the_choices():
    backend = make_backend()
    plain = request(0)
    other = Request(kind="choices", conversation=plain.conversation, choices=("no", "yes"))
    prompts = backend.prompts([plain, other], max_new_tokens=4)
    assert prompts[0].input_ids.tolist() == prompts[1].input_ids.tolist()
    assert prompts[0].sha256 != prompts[1].sha256


def test_the_prompt_hash_covers_the_limit_of_a_written_answer_only():
    backend = make_backend()
    for kind, is_equal in (("generate", False), ("choices", True)):
        short, long = (
            backend.prompts([request(0, kind=kind)], max_new_tokens=limit)[0] for limit in (2, 40)
        )
        assert short.input_ids.tolist() == long.input_ids.tolist()
        assert (short.sha256 == long.sha256) is is_equal


def test_a_model_without_a_chat_template_is_a_clear_error():
    tokenizer = build_tiny_tokenizer()
    tokenizer.chat_template = None
    with pytest.raises(ChatError, match=r"no chat template.*CHT001"):
        TransformersBackend(build_tiny_model(), tokenizer, model_name="tiny")
