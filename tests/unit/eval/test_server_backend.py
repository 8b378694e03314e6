"""A server's answers: the same numbers as in process, and every failure counted."""

import json
import time

import pytest
import torch

from eval.backends.http_client import JsonClient, Patience, ServerFailure
from eval.backends.server_backend import ServerBackend, find_model_name
from eval.backends.transformers_backend import TransformersBackend
from eval.harness import evaluate
from eval.results import read_results, read_samples
from eval.tasks import Asking, EvalTask
from pipeline.chat.tokenise import prompt_ids
from pipeline.errors import EvalError
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Message, TaskExample, TaskSpec
from tests.unit.eval.loopback import completion, serve
from tests.unit.eval.tiny_llama import build_tiny_model, build_tiny_tokenizer

SECRET = "sk-this-key-is-never-written-down"
LABELS = ("yes", "no", "yes, maybe")


def make_task(name="one/label", num_rows=12, kind="classification", **changes):
    spec = TaskSpec(
        id=name,
        kind=kind,
        family="one",
        instruction="Answer.",
        labels=LABELS if kind == "classification" else None,
        metrics=("accuracy",) if kind == "classification" else ("call_exact_match",),
    )
    rows = [
        TaskExample(
            key=f"{name}/test/{index}",
            task=name,
            split="test",
            inputs=changes.get("inputs") or {"text": f"row {index} " * (index % 4 + 1)},
            target=changes.get("target", "yes"),
            choices=LABELS if kind == "classification" else None,
        )
        for index in range(num_rows)
    ]
    return EvalTask(spec=spec, examples=rows)


def make_backend(url, *, tokenizer=None, patience=None, **options):
    patience = patience or Patience(timeout_seconds=5, num_attempts=3, backoff_seconds=0.001)
    client = JsonClient(url, api_key=SECRET, patience=patience)
    return ServerBackend(
        client, model_name="served", server_name=url, tokenizer=tokenizer, **options
    )


def run(folder, backend, *tasks, request="generate"):
    asking = Asking(request=request)
    return evaluate(backend, tasks or [make_task()], output_folder=folder, asking=asking)


def real_server(model, tokenizer):
    """Return the behaviour of a server around a model: echo with log-likelihoods, greedy chat."""

    def echoed(ids):
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0].float().log_softmax(-1)
        picked = [logits[place - 1, token].item() for place, token in enumerate(ids) if place]
        values = [None, *picked, -1.0]
        return json.dumps({"choices": [{"text": "", "logprobs": {"token_logprobs": values}}]})

    def greedy(body):
        turns = tuple(Message(role=m["role"], content=m["content"]) for m in body["messages"])
        answer = Message(role="assistant", content="x", trainable=True)
        conversation = Conversation(key="a/test/0", task="a", messages=(*turns, answer))
        ids = prompt_ids(conversation, tokenizer, 1024)
        written = []
        for _ in range(body["max_tokens"]):
            with torch.inference_mode():
                token = int(model(torch.tensor([[*ids, *written]])).logits[0, -1].argmax())
            if token == tokenizer.eos_token_id:
                return completion(tokenizer.decode(written))
            written.append(token)
        return completion(tokenizer.decode(written), finish_reason="length")

    def answer(path, body):
        if path.endswith("/chat/completions"):
            return greedy(body)
        return 200, echoed(body["prompt"]).encode()

    return answer


def test_a_served_model_gives_the_answers_of_the_model_in_process(tmp_path):
    model, tokenizer = build_tiny_model(), build_tiny_tokenizer()
    local = TransformersBackend(model, tokenizer, model_name="tiny")
    with serve(real_server(model, tokenizer)) as server:
        served = make_backend(server.url, tokenizer=tokenizer, max_length=1024, concurrency=2)
        for request in ("choices", "generate"):
            task = make_task(num_rows=6)
            run(tmp_path / f"server-{request}", served, task, request=request)
            run(tmp_path / f"local-{request}", local, task, request=request)
            rows = [
                list(read_samples(tmp_path / f"{where}-{request}")) for where in ("server", "local")
            ]
            for name in ("key", "output", "finish_reason", "score"):
                assert [row[name] for row in rows[0]] == [row[name] for row in rows[1]], name
            if request == "choices":
                for first, second in zip(*rows, strict=True):
                    wanted = second["choices"]["log_likelihood"]
                    assert first["choices"]["log_likelihood"] == pytest.approx(wanted, abs=1e-4)
                    assert first["prompt_sha256"] == second["prompt_sha256"]


def test_functions_are_sent_as_tools_and_calls_come_back_as_calls(tmp_path):
    function = {
        "name": "weather",
        "description": "Tells the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    }
    call = {"name": "weather", "arguments": {"city": "Oslo"}}
    task = make_task(
        "two/calls",
        3,
        "function_calling",
        target=[call],
        inputs={"query": "Weather in Oslo?", "functions": [function]},
    )
    with serve(lambda *_: completion(None, calls=[("weather", '{"city": "Oslo"}')])) as server:
        result = run(tmp_path / "run", make_backend(server.url), task)
    assert result.tasks[0].metrics["call_exact_match"].value == 1.0
    _, body = server.requests[0]
    assert [tool["function"]["name"] for tool in body["tools"]] == ["weather"]
    assert body["temperature"] == 0
    broken = serve(lambda *_: completion(None, calls=[("weather", '{"city": ')]))
    with broken as server:
        result = run(tmp_path / "broken", make_backend(server.url), task)
    assert dict(result.tasks[0].failures) == {"malformed_calls": 3}


def test_earlier_calls_are_sent_with_matching_ids():
    from eval.backends.chat_wire import chat_body

    call = FunctionCall(name="f", arguments={"x": 1})
    conversation = Conversation(
        key="a/test/0",
        task="a",
        messages=(
            Message(role="user", content="Q"),
            Message(role="assistant", tool_calls=(call, call)),
            Message(role="tool", content="1", name="f"),
            Message(role="tool", content="2", name="f"),
            Message(role="assistant", content="A", trainable=True),
        ),
        tools=(FunctionSpec(name="f", description="d", parameters={"type": "object"}),),
    )
    body = chat_body(conversation, model="m", max_new_tokens=5)
    roles = [message["role"] for message in body["messages"]]
    assert roles == ["user", "assistant", "tool", "tool"]
    ids = [item["id"] for item in body["messages"][1]["tool_calls"]]
    assert [message["tool_call_id"] for message in body["messages"][2:]] == ids
    assert len(set(ids)) == 2
    json.dumps(body)


BROKEN = {
    "not json": (lambda *_: (200, b"<html>"), "server_garbage"),
    "a list": (lambda *_: (200, b"[1]"), "server_garbage"),
    "deep": (lambda *_: (200, b"[" * 200_000), "server_garbage"),
    "no choices": (lambda *_: (200, b'{"choices": []}'), "server_garbage"),
    "no message": (lambda *_: (200, b'{"choices": [{}]}'), "server_garbage"),
    "number": (lambda *_: completion(7), "server_garbage"),
    "bad calls": (
        lambda *_: (200, b'{"choices": [{"message": {"tool_calls": [{}]}}]}'),
        "server_garbage",
    ),
    "not utf-8": (lambda *_: (200, b"\xff\xfe"), "server_garbage"),
    "refused": (lambda *_: (400, b"context too long"), "server_refused"),
    "redirect": (lambda *_: (302, b""), "server_refused"),
    "internal": (lambda *_: (500, b"oops"), "server_error"),
    "busy": (lambda *_: (429, b""), "server_error"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_answer_that_is_none_is_a_counted_failure(tmp_path, name):
    answer, code = BROKEN[name]
    with serve(answer) as server:
        result = run(tmp_path / "run", make_backend(server.url))
        assert not any("elsewhere" in path for path, _ in server.requests)
    assert dict(result.tasks[0].failures) == {code: 12}
    assert result.tasks[0].num_rows == 12
    assert result.tasks[0].metrics["accuracy"].value == 0.0
    assert {row["failure"] for row in read_samples(tmp_path / "run")} == {code}
    num_attempts = 3 if code == "server_error" else 1
    assert len(server.requests) == 12 * num_attempts


def test_a_server_that_times_out_is_a_counted_failure(tmp_path):
    def slow(*_):
        time.sleep(0.6)
        return completion("yes")

    patience = Patience(timeout_seconds=0.1, num_attempts=2, backoff_seconds=0.001)
    started = time.monotonic()
    with serve(slow) as server:
        result = run(
            tmp_path / "run", make_backend(server.url, patience=patience), make_task(num_rows=4)
        )
    assert dict(result.tasks[0].failures) == {"server_timeout": 4}
    assert time.monotonic() - started < 10


def test_a_fault_that_passes_is_repeated_and_leaves_no_failure(tmp_path):
    seen = {}

    def flaky(_, body):
        text = json.dumps(body)
        seen[text] = seen.get(text, 0) + 1
        return (503, b"") if seen[text] < 3 else completion("yes")

    with serve(flaky) as server:
        result = run(tmp_path / "run", make_backend(server.url))
    assert not result.tasks[0].failures
    assert result.tasks[0].metrics["accuracy"].value == 1.0


def test_waits_double_and_follow_the_server_up_to_a_minute():
    waits = []
    patience = Patience(timeout_seconds=5, num_attempts=5, backoff_seconds=1.0)
    with serve(lambda *_: (503, b"")) as server:
        client = JsonClient(server.url, patience=patience, sleep=waits.append)
        with pytest.raises(ServerFailure, match="HTTP 503"):
            client.get("/models")
    assert [0.5 * 2**place <= wait <= 1.5 * 2**place for place, wait in enumerate(waits)] == [
        True
    ] * 4


def test_only_rows_that_failed_are_asked_again(tmp_path):
    def half(_, body):
        text = body["messages"][-1]["content"]
        return (400, b"") if "row 3" in text and not repaired else completion("yes")

    repaired = []
    with serve(half) as server:
        backend = make_backend(server.url)
        first = run(tmp_path / "run", backend)
        assert dict(first.tasks[0].failures) == {"server_refused": 1}
        repaired.append(True)
        server.requests.clear()
        second = run(tmp_path / "run", backend)
    assert len(server.requests) == 1
    assert not second.tasks[0].failures
    assert second.tasks[0].metrics["accuracy"].value == 1.0


def test_a_server_that_is_gone_stops_the_run_and_keeps_what_it_answered(tmp_path):
    with serve(lambda *_: completion("yes")) as server:
        url = server.url
    with pytest.raises(EvalError, match="EVL071"):
        run(tmp_path / "run", make_backend(url))
    for status in (401, 403, 404):
        with (
            serve(lambda *_, status=status: (status, b"no such model")) as server,
            pytest.raises(EvalError, match="EVL071"),
        ):
            run(tmp_path / f"{status}", make_backend(server.url))


def test_requests_run_side_by_side_up_to_the_limit(tmp_path):
    def slow(*_):
        time.sleep(0.05)
        return completion("yes")

    with serve(slow) as server:
        run(tmp_path / "run", make_backend(server.url, concurrency=4), make_task(num_rows=24))
    assert 2 <= server.most_open <= 4


@pytest.mark.parametrize(
    "reply",
    [
        b'{"choices": [{"text": "x", "logprobs": null}]}',
        b'{"choices": [{"text": "x", "logprobs": {"token_logprobs": [-1.0]}}]}',
        b'{"choices": [{"text": "x", "logprobs": {"token_logprobs": [null, NaN, -1.0]}}]}',
        b'{"choices": [{"text": "x", "logprobs": {"token_logprobs": [null, null, -1.0]}}]}',
        b"{}",
    ],
)
def test_a_server_without_likelihoods_is_refused_with_the_reason(tmp_path, reply):
    with serve(lambda *_: (200, reply)) as server:
        backend = make_backend(server.url, tokenizer=build_tiny_tokenizer())
        with pytest.raises(EvalError, match=r"--request generate.*EVL072"):
            run(tmp_path / "run", backend, request="choices")
        with pytest.raises(EvalError, match=r"tokenizer.*EVL072"):
            run(tmp_path / "other", make_backend(server.url), request="choices")


def test_the_key_is_sent_and_stored_nowhere(tmp_path):
    with serve(lambda *_: completion("yes")) as server:
        result = run(tmp_path / "run", make_backend(server.url))
    assert {headers["Authorization"] for headers in server.headers} == {f"Bearer {SECRET}"}
    assert result.about["backend"] == "server"
    assert read_results(tmp_path / "run")["model"] == "served"
    for path in (tmp_path / "run").iterdir():
        text = path.read_text()
        assert SECRET not in text
        assert "127.0.0.1" not in text


@pytest.mark.parametrize(
    "url", ["ftp://host/v1", "host:8000", "http://", "http://user:hunter2@host/v1", "http://h:x/v1"]
)
def test_an_address_that_is_none_is_refused_without_its_password(url):
    with pytest.raises(EvalError, match="EVL070") as caught:
        JsonClient(url)
    assert "hunter2" not in str(caught.value)


def test_the_servers_model_is_found():
    with serve(lambda *_: (200, b'{"data": [{"id": "m1"}]}')) as server:
        assert find_model_name(JsonClient(server.url)) == "m1"
    with serve(lambda *_: (200, b'{"data": []}')) as server, pytest.raises(EvalError):
        find_model_name(JsonClient(server.url))


def test_a_body_without_end_is_cut_off(monkeypatch):
    monkeypatch.setattr("eval.backends.http_client.MAX_RESPONSE_BYTES", 1000)
    long = serve(lambda *_: (200, b'"' + b"x" * 5000 + b'"'))
    with long as server, pytest.raises(ServerFailure, match="more than 1000 bytes"):
        JsonClient(server.url).get("/models")


@pytest.mark.parametrize("key", [f"{SECRET}\n", f" {SECRET}\r\n"])
def test_blanks_around_the_key_are_left_out(key):
    with serve(lambda *_: (200, b"{}")) as server:
        JsonClient(server.url, api_key=key).get("/models")
    assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"


@pytest.mark.parametrize("sign", ["\r", "\n", "\x1b", "\u00e9", "\u2026", "\ud800"])
def test_a_key_that_cannot_be_sent_is_refused_and_not_shown(sign):
    with pytest.raises(EvalError, match="EVL073") as caught:
        JsonClient("http://localhost:1/v1", api_key=f"sk-{sign}hunter2")
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    "url",
    [
        "http://[::1/v1",
        "http://user:hunter2@[::1/v1",
        "http://user:hunter2@h:x/v1",
        "ftp://h/v1?key=hunter2",
        "http://h/v\u00e9",
        "http://h/v 1",
    ],
)
def test_a_broken_address_is_refused_without_what_may_be_secret(url):
    with pytest.raises(EvalError, match="EVL070") as caught:
        JsonClient(url)
    assert "hunter2" not in str(caught.value)


def test_a_host_name_that_is_none_is_a_failure():
    with pytest.raises(ServerFailure, match="server_unreachable"):
        JsonClient("http://a..b/v1", patience=Patience(num_attempts=1)).get("/models")


def test_a_server_cannot_steer_the_terminal():
    body = "\x1b]0;mine\x07 \x9b31m no such\nmodel".encode()
    with serve(lambda *_: (400, body)) as server, pytest.raises(ServerFailure) as caught:
        JsonClient(server.url).get("/models")
    assert caught.value.detail.isprintable()
    assert caught.value.detail.endswith("no such model")
