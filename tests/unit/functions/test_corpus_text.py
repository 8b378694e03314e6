"""Readers of running text: what they find, what they refuse, and that they stay quick."""

from __future__ import annotations

import contextlib
import json
import random
import sys
import time
from itertools import pairwise

import pytest

from pipeline.errors import ParseError
from pipeline.functions.corpus_text import MAX_CHARACTERS, calls_in_text, specs_in_text, top_calls
from pipeline.functions.dialogues import FORMS, read_dialogue
from pipeline.functions.references import is_nested

SPEC = {"name": "depth", "description": "Tells a depth.", "parameters": {"lake": {"type": "str"}}}


@pytest.mark.parametrize(
    "text",
    [
        "Use these:\n" + json.dumps([SPEC]) + ". Answer [f(a=1)].",
        "Use them if required -\n" + json.dumps(SPEC, indent=4) + "\n",
        "1. Name: depth\nDescription: Tells a depth.\nParameters: "
        + json.dumps(SPEC["parameters"])
        + "\nOutput: x\n",
        "depth: Tells a depth.\nParameters: " + json.dumps(SPEC["parameters"]) + "\nOutput: x",
    ],
)
def test_specs_are_found_in_every_form(text):
    (spec,) = specs_in_text(text)
    assert (spec.name, spec.description) == ("depth", "Tells a depth.")
    assert spec.parameters["properties"]["lake"]["type"] == "string"


def test_several_specs_follow_each_other():
    second = {**SPEC, "name": "warmth"}
    text = json.dumps(SPEC, indent=1) + "\n\n" + json.dumps(second, indent=1)
    assert [spec.name for spec in specs_in_text(text)] == ["depth", "warmth"]


def test_a_prompt_without_functions_has_none():
    assert specs_in_text("You have no access to external functions.") == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('[Lake Depth(lake="a (b), c")]', [("Lake Depth", {"lake": "a (b), c"})]),
        ("[A b(x=1), C d(y=[1, 2])]", [("A b", {"x": 1}), ("C d", {"y": [1, 2]})]),
        ('<tool_call>\n{"name": "a b", "parameters": {}}\n</tool_call>', [("a b", {})]),
        ('```\n[{"name": "f", "arguments": {"a": 1}}]\n```', [("f", {"a": 1})]),
        (
            '<think> a < b </think>\n<tool_call>\n{"name": "f", "parameters": {"x": "1 < 2"}}\n'
            '{"name": "g", "parameters": {}}\n</tool_call>\n'
            '<tool_call>{"name": "h", "parameters": {"x": "<b>"}}</tool_call>',
            [("f", {"x": "1 < 2"}), ("g", {}), ("h", {"x": "<b>"})],
        ),
        (
            "<tool_call>\n<function=f>\n<parameter=x>\na\n</parameter>\n</function>\n</tool_call>",
            [("f", {"x": "a"})],
        ),
        (
            "torch.hub.load(repo='x', pretrained=True)",
            [("torch.hub.load", {"repo": "x", "pretrained": True})],
        ),
        ("I cannot help with that.", []),
    ],
)
def test_calls_are_found_in_every_form(text, expected):
    assert [(call.name, call.arguments) for call in calls_in_text(text)] == expected


def test_a_block_without_its_end_is_refused():
    for text in ('<tool_call>{"name": "f", "parameters": {}}', "</tool_call> <tool_call>"):
        with pytest.raises(ParseError) as caught:
            calls_in_text(text)
        assert caught.value.code == "FUN402"


def test_inner_intents_come_first_and_are_referred_to():
    calls = top_calls(
        "[IN:ASK how far to [SL:TO [IN:HOME [SL:WHO mum ] house ] ] or [SL:TO the lake ] ]"
    )
    assert [(call.name, call.arguments) for call in calls] == [
        ("HOME", {"WHO": "mum"}),
        ("ASK", {"TO": ["$var1$", "the lake"]}),
    ]
    assert calls[0].label == "var1"
    assert is_nested(calls)


@pytest.mark.parametrize(
    "text",
    ["", "words", "[IN:A", "[IN:A ] ]", "[IN:A ] x", "[SL:A x ]", "[IN:A [IN:B ] ]", "[x IN:A ]",
     "[IN:A [SL:B [SL:C x ] ] ]"],
)  # fmt: skip
def test_a_parse_that_is_not_balanced_is_refused(text):
    with pytest.raises(ParseError) as caught:
        top_calls(text)
    assert caught.value.code == "FUN602"


def test_every_form_of_dialogue_gives_the_same_turns():
    call = {"name": "depth", "arguments": {"lake": "blue"}}
    spoken = {
        "glaive": "USER: How deep?\n\n\nASSISTANT: <functioncall> "
        '{"name": "depth", "arguments": \'{"lake": "blue"}\'} <|endoftext|>\n\n\n'
        "FUNCTION RESPONSE: 12\n\n\nASSISTANT: 12 metres. <|endoftext|>",
        "share": [
            {"from": "human", "value": "How deep?"},
            {"from": "function_call", "value": json.dumps(call)},
            {"from": "observation", "value": "12"},
            {"from": "gpt", "value": "12 metres."},
        ],
        "toolace": [
            {"from": "user", "value": "How deep?"},
            {"from": "assistant", "value": '[depth(lake="blue")]'},
            {"from": "tool", "value": "12"},
            {"from": "assistant", "value": "12 metres."},
        ],
        "api_bank": [
            {"role": "User", "text": "How deep?"},
            {
                "role": "API",
                "api_name": "depth",
                "param_dict": {"lake": "blue"},
                "result": {"output": "12"},
            },
            {"role": "AI", "text": "12 metres."},
        ],
        "sgd": [
            {"speaker": "USER", "utterance": "How deep?", "frames": []},
            {
                "speaker": "SYSTEM",
                "utterance": "12 metres.",
                "frames": [
                    {
                        "service_call": {"method": "depth", "parameters": {"lake": "blue"}},
                        "service_results": "12",
                    }
                ],
            },
        ],
        "messages": [
            {"role": "user", "content": "How deep?"},
            {
                "role": "assistant",
                "content": None,
                "function_call": {"name": "depth", "arguments": '{"lake": "blue"}'},
            },
            {"role": "function", "name": "depth", "content": "12"},
            {"role": "assistant", "content": "12 metres."},
        ],
        "hammer": [
            {"role": "user", "content": "How deep?"},
            {"role": "assistant", "content": f"```[{json.dumps(call)}]```"},
            {"role": "tool", "content": "12"},
            {"role": "agent", "content": "12 metres."},
        ],
    }  # fmt: skip
    expected = [
        ("user", "How deep?", None),
        ("assistant", "", [call]),
        ("tool", "12", None),
        ("assistant", "12 metres.", None),
    ]
    assert set(spoken) == set(FORMS)
    for form, value in spoken.items():
        turns = read_dialogue(value, form)
        found = [(turn["role"], turn["content"], turn["tool_calls"]) for turn in turns]
        assert found == expected, form


CALLS = '[{"name": "f", "arguments": {}}]'


@pytest.mark.parametrize(
    ("before", "last"),
    [
        ([("user", "Deep?")], ("agent", "I look it up.")),
        ([("user", "Deep?"), ("assistant", f"```{CALLS}```")], ("tool", "12")),
        ([("user", "Deep?"), ("agent", "Which?")], ("user", "The blue one.")),
    ],
)  # fmt: skip
def test_a_dialogue_of_hammer_ends_in_the_request_for_calls(before, last):
    speaker, text = last
    given = [*before, (speaker, f"{text}\nGenerate API Request:")]
    value = [{"role": role, "content": content} for role, content in given]
    turns = read_dialogue(value, "hammer")
    roles = [turn["role"] for turn in turns]
    assert roles[-1] == "user"
    assert all(one != other for one, other in pairwise(roles) if one != "tool")
    assert turns[-1]["content"].endswith("Generate API Request:")
    said = [line for turn in turns for line in turn["content"].splitlines()]
    assert said == [
        *(content for _, content in before if "```" not in content),
        text,
        "Generate API Request:",
    ]


def test_what_hammers_assistant_says_and_calls_is_one_turn():
    value = [
        {"role": "user", "content": "Deep?"},
        {"role": "agent", "content": "I look it up."},
        {"role": "assistant", "content": '```\n[{"name": "f", "arguments": {"a": 1}}]\n```'},
    ]
    _, turn = read_dialogue(value, "hammer")
    assert turn["content"] == "I look it up."
    assert turn["tool_calls"] == [{"name": "f", "arguments": {"a": 1}}]


def test_an_unknown_form_is_refused_with_the_nearest():
    with pytest.raises(ParseError) as caught:
        read_dialogue("x", "glave")
    assert caught.value.code == "FUN603"
    assert "glaive" in str(caught.value)


PIECES = [
    "[", "]", "{", "}", "(", ")", '"', "'", ",", ":", "\\", "\n", " ", "[IN:A ", "[SL:B ", "USER: ",
    "ASSISTANT: ", "<functioncall> ", "FUNCTION RESPONSE: ", "<tool_call>", "</tool_call>",
    "1. Name: x\n", "Parameters: {", '{"name": "f"', '"arguments": ', "eval(1)", "\x00", "é",
    "__import__('os').system('x')",
    "f(a=", "Some Name(", "$var1$", "None", "1e999",
]  # fmt: skip
executed: list[str] = []
is_watching = False


def watch(event: str, arguments: tuple) -> None:
    if is_watching and event in ("exec", "os.system", "subprocess.Popen"):
        executed.append(event)


sys.addaudithook(watch)


def test_hostile_text_fails_typed_and_runs_nothing():
    global is_watching
    chance = random.Random(11)
    readers = [specs_in_text, calls_in_text, top_calls]
    readers += [lambda text, form=form: read_dialogue(text, form) for form in FORMS]
    readers += [lambda text: read_dialogue([{"from": "assistant", "value": text}], "toolace")]
    readers += [lambda text: read_dialogue([{"role": text, "content": text}], "messages")]
    is_watching = True
    try:
        for _ in range(1500):
            text = "".join(chance.choices(PIECES, k=chance.randint(0, 25)))
            for read in readers:
                with contextlib.suppress(ParseError):
                    read(text)
    finally:
        is_watching = False
    assert executed == []


@pytest.mark.parametrize(
    "piece",
    ["[", "{", '["', '[{"a":', "(", "[IN:A [SL:B ", "[f(", "1. Name: x\n", "USER: ", "a: b\n"],
)
@pytest.mark.parametrize("reader", [specs_in_text, calls_in_text, top_calls])
def test_repeated_openings_stay_quick(reader, piece):
    text = piece * (200_000 // len(piece))
    start = time.perf_counter()
    with contextlib.suppress(ParseError):
        reader(text)
    assert time.perf_counter() - start < 5


def test_a_text_that_is_too_long_is_refused():
    for reader in (specs_in_text, calls_in_text, top_calls):
        with pytest.raises(ParseError) as caught:
            reader(" " * (MAX_CHARACTERS + 1))
        assert caught.value.code == "FUN601"
