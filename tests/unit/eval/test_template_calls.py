"""Calls that a chat template writes are read back, for every template that TRL ships."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from eval.parsers import parse_answer
from pipeline.chat.render import render_segments, renderer_for
from pipeline.errors import ParseError
from pipeline.functions.calls import calls_to_json
from pipeline.functions.dialects import DIALECTS, parse_calls, without_thinking
from pipeline.types import Conversation, FunctionCall, TaskExample, TaskSpec
from tests.unit.chat.test_trl_templates import (
    BOOK,
    NESTED,
    ODD,
    PLAIN,
    WEATHER,
    accepting,
    answer,
    user,
    with_template,
)
from tests.unit.functions.test_dialects import any_calls

CALLS = {
    "call": [PLAIN],
    "odd call": [ODD],
    "nested call": [NESTED],
    "calls": [PLAIN, NESTED],
    "text like a number": [FunctionCall(name="get_weather", arguments={"place": "007"})],
    "no arguments": [FunctionCall(name="book", arguments={})],
    "tags in a text": [
        FunctionCall(name="get_weather", arguments={"place": "a < b > c, {d: [e]}"})
    ],
}
FUNCTIONS = [
    {"name": spec.name, "description": spec.description, "parameters": dict(spec.parameters)}
    for spec in (WEATHER, BOOK)
]
SPEC = TaskSpec(
    id="t/calls",
    kind="function_calling",
    family="f",
    instruction="",
    metrics=("call_exact_match",),
    settings={"granular": "calls"},
)
LABEL = TaskSpec(
    id="t/label",
    kind="classification",
    family="f",
    instruction="",
    labels=("yes", "no"),
    metrics=("accuracy",),
)
UNQUOTED = {"lfm2_2_5", "lfm2_2_5_v2"}
"""Templates that put quotes around a text and let those within as they are."""


def written(path, message):
    """What a model that has learned the template writes, up to the end of its turn."""
    tokenizer = with_template(path)
    conversation = Conversation(
        key="t/train/0",
        task="t",
        messages=(user("Please."), message),
        tools=(WEATHER, BOOK) if message.tool_calls else (),
    )
    segments = render_segments(conversation, tokenizer)
    text = "".join(segment.text for segment in segments if segment.trainable)
    renderer = renderer_for(tokenizer)
    return text.removesuffix(renderer.end_of_turn).removeprefix(renderer.answer_header)


def row(target):
    return TaskExample(
        key="t/test/0",
        task="t",
        split="test",
        inputs={"query": "Please.", "functions": FUNCTIONS},
        target=target,
        choices=("yes", "no") if isinstance(target, str) else None,
    )


def shown_as(shape):
    return shape if shape in {"calls", "nested call"} else "call"


@pytest.mark.parametrize(
    ("path", "shape"),
    [(path, shape) for shape in CALLS for path in accepting(shown_as(shape))],
    ids=lambda value: value if isinstance(value, str) else value.stem,
)
def test_calls_come_back_from_the_text_of_the_template(path, shape):
    family = path.stem.removesuffix("_training")
    text = written(path, answer("", *CALLS[shape]))
    expected = calls_to_json(CALLS[shape])
    parsed = parse_answer(text, row(expected), SPEC)
    if family in UNQUOTED and shape == "odd call":
        assert parsed.code == "malformed_calls"
        return
    assert parsed == expected


@pytest.mark.parametrize("path", accepting("text"), ids=lambda path: path.stem)
def test_answers_in_words_come_back_from_the_text_of_the_template(path):
    assert parse_answer(written(path, answer("yes")), row("yes"), LABEL) == "yes"
    assert parse_answer(written(path, answer("None")), row([]), SPEC) == []


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_what_a_dialect_writes_is_what_the_evaluation_reads(name):
    """The abstention included: it is trained on, so it must be read as one."""
    chance = random.Random(name)
    for calls in [[], *(any_calls(chance) for _ in range(200))]:
        expected = calls_to_json(calls)
        text = DIALECTS[name].render(calls)
        example = replace(row(expected), inputs={"query": "Please."})
        assert parse_answer(text, example, SPEC) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<think>\nno?\n</think>\n\nyes", "yes"),
        ("\n</think>\n\nyes", "yes"),
        ("no? no.\n</think>\n\nyes", "yes"),
        ("yes", "yes"),
        ("<think>no? yes", "<think>no? yes"),
        ("a <think> b </think> c", "a <think> b </think> c"),
        ('{"tag": "</think>"}', '{"tag": "</think>"}'),
    ],
)
def test_thinking_is_left_out_also_where_the_prompt_opened_it(text, expected):
    assert without_thinking(text).strip() == expected.strip()


@pytest.mark.parametrize(
    "text",
    [
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</function>\n</tool_call>",
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n</tool_call>",
        "<tool_call>\n<function=f>\nx\n</function>\n</tool_call>",
        "<tool_call>\n<function=f>\n</function>",
        "<tool_call>f\n<arg_key>a</arg_key>\n</tool_call>",
        "<tool_call>f\n<arg_key>a</arg_key>\n<arg_value>1</tool_call>",
        "<|tool_call>call:f{a:1<tool_call|>",
        "<|tool_call>call:f{a:1,a:2}<tool_call|>",
        "<|tool_call>f{a:1}<tool_call|>",
        '<|tool_call>call:f{a:<|"|>x}<tool_call|>',
        "<|tool_call>call:f" + "{a:" * 60 + "1" + "}" * 60 + "<tool_call|>",
        "<|tool_call>call:f{a:1}",
        "<|tool_call_start|>[f(a=1)]",
        "<|tool_call_start|>[f(a=open)]<|tool_call_end|>",
        "<|tool_call_start|>[f(1)]<|tool_call_end|>",
        "<|python_tag|>print(1)",
        '<|python_tag|>{"name": "f"}',
        "to=functions.f<|channel|>commentary json<|message|>{",
        "<tool_call>\n<function=f>\n<parameter=a>\n1\n</parameter>\n<parameter=a>\n2\n</parameter>"
        "\n</function>\n</tool_call>",
    ],
)
def test_calls_that_are_not_finished_or_not_clear_are_malformed(text):
    with pytest.raises(ParseError):
        parse_calls(text)


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ('<|python_tag|>{"name": "f", "parameters": {"a": "x"}}', {"a": "x"}),
        ('<|python_tag|>f(a="x")<|eom_id|>', {"a": "x"}),
        (
            "<|channel|>commentary to=functions.f <|constrain|>json<|message|>"
            '{"a": "x"}<|call|><|start|>assistant',
            {"a": "x"},
        ),
        (
            '<|tool_call_start|>[{"name": "f", "arguments": {"a": null}}]<|tool_call_end|> Ok.',
            {"a": None},
        ),
        (
            '<|tool_call>call:f{<|"|>a<|"|>:[]}<tool_call|><|tool_response><|tool_call>call:g{}',
            {"a": []},
        ),
        (
            "<tool_call>\n<function=f>\n<parameter=a>\nTrue\n</parameter>\n</function>\n</tool_call>",
            {"a": True},
        ),
    ],
)
def test_other_spellings_of_the_same_forms(text, arguments):
    assert parse_calls(text) == [FunctionCall(name="f", arguments=arguments)]
