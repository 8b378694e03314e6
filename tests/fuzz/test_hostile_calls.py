"""Generated calls come back from every dialect; hostile text executes nothing and fails typed."""

from __future__ import annotations

import json
import random
import sys
import time

import pytest

from eval.bfcl.decode import FORMATS, DecodeError, decode_output
from pipeline.errors import ParseError
from pipeline.functions.calls import calls_to_json
from pipeline.functions.dialects import DIALECTS, parse_calls
from pipeline.functions.template_calls import FORMS
from pipeline.types import FunctionCall

NUM_CALLS = 10_000
NUM_HOSTILE = 500

ODD_TEXTS = [
    "",
    " ",
    "plain",
    "it's",
    'say "x"',
    "back\\slash",
    "line\nbreak\ttab",
    "\x00\x01\x1b[31m",
    "é ü 漢字 🙂",
    "\u200b\u202e\ufeff",
    "</tool_call>",
    "<tool_call>\n{}\n</tool_call>",
    "<function_call> {}",
    "<|endoftext|>",
    "```",
    "$var1.id$",
    "[f(a=1)]",
    "; DROP",
    "__import__('os')",
    "{}",
    "NaN",
    "a" * 300,
]
NAMES = ["f", "get_weather", "a.b.c", "Search2", "__import__", "naïve", "print", "_", "x" * 64]
KEYS = ["a", "query", "from", "class", "two words", "0x", "", "ключ", "None", "é", "a.b", "ﬁ"]

executed: list[str] = []
is_watching = False


def watch(event: str, arguments: tuple) -> None:
    if is_watching and event in ("exec", "os.system", "subprocess.Popen", "open", "import"):
        executed.append(event)


sys.addaudithook(watch)


@pytest.fixture
def audit():
    """Record every execution, process, file and import while the test runs."""
    global is_watching
    executed.clear()
    is_watching = True
    yield executed
    is_watching = False


def make_value(rng: random.Random, depth: int = 0):
    kind = rng.randrange(9 if depth < 4 else 7)
    if kind == 0:
        return rng.choice([True, False, None])
    if kind == 1:
        return rng.choice([0, -1, 7, 2**63, -(10**30)])
    if kind == 2:
        return rng.choice([0.0, -0.5, 1e-300, 1e300, 3.14159, -2.0])
    if kind < 7:
        return rng.choice(ODD_TEXTS)
    if kind == 7:
        return [make_value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(KEYS): make_value(rng, depth + 1) for _ in range(rng.randrange(4))}


def make_calls(rng: random.Random) -> list[FunctionCall]:
    calls = []
    for position in range(rng.choice([1, 1, 2, 3])):
        arguments = {rng.choice(KEYS): make_value(rng) for _ in range(rng.randrange(5))}
        label = f"var{position + 1}" if rng.random() < 0.3 else None
        calls.append(FunctionCall(name=rng.choice(NAMES), arguments=arguments, label=label))
    return calls


def without_forward_references(calls: list[FunctionCall]) -> list[FunctionCall]:
    # "$var1.id$" stands among the texts: it may refer only to a label that comes earlier.
    return [
        FunctionCall(
            name=call.name, arguments=call.arguments, label=call.label and "my" + call.label
        )
        for call in calls
    ]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_ten_thousand_generated_calls_come_back_equal_and_of_equal_types(name, audit):
    rng = random.Random(f"round trip {name}")
    num_calls = 0
    while num_calls < NUM_CALLS:
        calls = without_forward_references(make_calls(rng))
        text = DIALECTS[name].render(calls)
        back = DIALECTS[name].parse(text)
        truth = json.dumps(calls_to_json(calls), sort_keys=True)
        assert json.dumps(calls_to_json(back), sort_keys=True) == truth, text
        num_calls += len(calls)
    assert audit == []


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_what_a_dialect_renders_is_detected_as_a_dialect_with_the_same_calls(name):
    rng = random.Random(1)
    for _ in range(300):
        calls = without_forward_references(make_calls(rng))
        assert parse_calls(DIALECTS[name].render(calls)) == calls


PAYLOADS = [
    "__import__('os').system('id')",
    "open('/etc/passwd').read()",
    "(lambda: 1)()",
    "[x for x in ().__class__.__base__.__subclasses__()]",
    "{**globals()}",
    "f'{1}'",
    "exec('1')",
    "eval('1')",
    "x if y else z",
    "not 1",
    "~1",
    "1 + 1",
    "10 ** 10 ** 10",
    "'a' * 10 ** 9",
    "b'bytes'",
    "1j",
    "...",
    "name",
    "a.b",
    "a[0]",
    "{1: 2}",
    "{'a': 1, 'a': 2}",
    "{1, 2}",
    "*x",
    "await x",
    "yield",
    "1e999",
    "-'x'",
    "--1",
    "'\\ud800'",
    "0x" + "f" * 5000,
    "9" * 5000,
    "(" * 5000 + ")" * 5000,
    "[" * 5000 + "]" * 5000,
    "[" * 60 + "]" * 60,
    "-" * 5000 + "1",
    "a" + ".b" * 5000,
    "1" + "+1" * 5000,
    "'" + "x" * 30_000 + "'",
    "\x00",
    "'\ud800'",
]
JSON_PAYLOADS = [
    "__import__('os').system('id')",
    "NaN",
    "Infinity",
    "-Infinity",
    "1e999",
    "9" * 5000,
    "1" * 2000,
    '{"a": 1, "a": 2}',
    "[" * 60 + "]" * 60,
    "[" * 9000 + "]" * 9000,
    '{"a":' * 3000 + "1" + "}" * 3000,
    '"\\ud800"',
    '"' + "x" * 30_000 + '"',
    "'single'",
    "True",
    "0x1F",
    "1_000",
    "[1,]",
    "// comment\n1",
    '"\x01"',
    "\x00",
    "",
    '"\ud800"',
    "[",
    "lambda: 1",
]


def hostile_texts(name: str) -> list[str]:
    """Return texts that stand in the dialect's frame and must fail, by payload and position."""
    if name == "python":
        frames = ["[f(a={})]", "f(a={})", "[g(b=1), f(a=1, b=[1, {}])]", "[f(a={{'k': {}}})]"]
        frames += ["[f({})]", "[{}(a=1)]", "[f(a=1)] + {}", "[f(**{})]"]
        texts = [
            frame.replace("{}", item).replace("{{", "{") for frame in frames for item in PAYLOADS
        ]
        # As a function, or as all arguments, these are plain calls of nothing dangerous.
        harmless = {"[name(a=1)]", "[a.b(a=1)]", "[f(name)]"}
        return [text.replace("}}", "}") for text in texts if text not in harmless]
    call = '{"name": "f", "arguments": {"a": ␟}}'
    calls = [call, '{"name": ␟, "arguments": {}}', '{"name": "f", "arguments": ␟}', "␟"]
    calls += ['{"name": "f", "arguments": {"a": [1, ␟]}}', '{"name": "f", ␟: 1, "arguments": {}}']
    frame = {
        "json": "␞",
        "xlam": "[␞]",
        "hermes": "<tool_call>\n␞\n</tool_call>",
        "granite": "<function_call> ␞",
    }[name]
    return [frame.replace("␞", item.replace("␟", bad)) for item in calls for bad in JSON_PAYLOADS]


def outcome(parse, text: str) -> str:
    try:
        calls = parse(text)
    except ParseError as error:
        str(error).encode()  # the message itself can be written to a log
        return error.code
    assert all(isinstance(call, FunctionCall) for call in calls)
    json.dumps(calls_to_json(calls), allow_nan=False).encode()
    return "calls" if calls else "none"


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_hostile_values_never_run_and_never_become_calls(name, audit):
    texts = hostile_texts(name)
    outcomes = {text: outcome(DIALECTS[name].parse, text) for text in texts}
    assert audit == []
    passed = [text[:80] for text, result in outcomes.items() if result == "calls"]
    assert passed == []


@pytest.mark.parametrize("name", [*sorted(DIALECTS), "auto"])
def test_mutated_texts_give_calls_or_a_typed_failure(name, audit):
    rng = random.Random(f"mutate {name}")
    sources = [item for dialect in DIALECTS for item in hostile_texts(dialect)]
    for _ in range(NUM_HOSTILE * 4):
        text = rng.choice(sources)
        if rng.random() < 0.5:
            text = DIALECTS[rng.choice(sorted(DIALECTS))].render(make_calls(rng))
        for _ in range(rng.randrange(4)):
            position = rng.randrange(len(text) + 1)
            junk = rng.choice(
                ["", "\x00", "{", "]", '"', "'", "\\", "<", "\ud83d", "\uff19", "a", ")", "\n"]
            )
            text = text[:position] + junk + text[position + rng.randrange(3) :]
        outcome(lambda given: parse_calls(given, name), text)
    assert audit == []


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_bfcl_decoding_of_hostile_text_runs_nothing_and_raises_one_error_type(name, audit):
    for dialect in DIALECTS:
        for text in hostile_texts(dialect):
            try:
                decode_output(text, name)
            except DecodeError:
                continue
    assert audit == []


def test_there_are_at_least_five_hundred_hostile_texts():
    assert sum(len(hostile_texts(name)) for name in DIALECTS) >= NUM_HOSTILE


FRAMES = {
    "qwen": "<tool_call>\n<function=f>\n<parameter=a>\n␞\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>␞</arg_value>\n</tool_call>",
    "gemma": "<|tool_call>call:f{a:␞}<tool_call|>",
    "lfm": "<|tool_call_start|>[f(a=␞)]<|tool_call_end|>",
    "llama": "<|python_tag|>f(a=␞)",
    "gpt_oss": 'to=functions.f<|message|>{"a": ␞}<|call|>',
}


@pytest.mark.parametrize("name", sorted(FORMS))
def test_hostile_values_in_the_forms_of_templates_never_run_and_fail_typed(name, audit):
    functions = [{"name": "f", "parameters": {"properties": {"a": {"type": "string"}}}}]
    for payload in [*PAYLOADS, *JSON_PAYLOADS]:
        for text in (FRAMES[name].replace("␞", payload), payload):
            for shown in ((), functions):
                outcome(lambda text, shown=shown: FORMS[name](text, shown), text)
    assert audit == []


@pytest.mark.parametrize("name", sorted(FORMS))
def test_pieces_of_the_forms_in_any_order_fail_typed_and_quickly(name, audit):
    chance = random.Random(name)
    frame = FRAMES[name]
    pieces = [frame[start : start + 12] for start in range(0, len(frame), 4)]
    pieces += [
        '<|"|>',
        "{",
        "}",
        "[",
        "]",
        ",",
        ":",
        "\n",
        "x",
        "1",
        "</parameter>",
        "<parameter=a>",
    ]
    start = time.perf_counter()
    for _ in range(2000):
        outcome(FORMS[name], "".join(chance.choices(pieces, k=chance.randint(0, 25))))
    for piece in pieces:
        outcome(FORMS[name], frame + piece * (19_000 // len(piece)))
    assert time.perf_counter() - start < 10
    assert audit == []
