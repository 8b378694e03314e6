"""What each dialect writes, reads, and refuses."""

from __future__ import annotations

import random

import pytest

from pipeline.errors import ParseError
from pipeline.functions.dialects import DIALECTS, detect_dialect, parse_calls
from pipeline.types import FunctionCall

CALLS = [
    FunctionCall(name="search", arguments={"query": "tea", "limit": 3}, label="var1"),
    FunctionCall(name="book", arguments={"id": "$var1.id$", "paid": True, "note": None}),
]
SEARCH = '{"name": "search", "arguments": {"query": "tea", "limit": 3}, "label": "var1"}'
BOOK = '{"name": "book", "arguments": {"id": "$var1.id$", "paid": true, "note": null}}'
TEXTS = {
    "json": f"{SEARCH}\n{BOOK}",
    "xlam": f"[{SEARCH}, {BOOK}]",
    "hermes": f"<tool_call>\n{SEARCH}\n</tool_call>\n<tool_call>\n{BOOK}\n</tool_call>",
    "granite": f"<function_call> {SEARCH}\n<function_call> {BOOK}",
    "python": "[var1 := search(query='tea', limit=3), book(id='$var1.id$', paid=True, note=None)]",
}
NO_CALL = {
    "json": "[]",
    "xlam": "[]",
    "hermes": "None",
    "granite": '<function_call> {"name": "no_function", "arguments": {}}',
    "python": "[]",
}


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_each_dialect_writes_and_reads_its_own_form(name):
    assert DIALECTS[name].render(CALLS) == TEXTS[name]
    assert DIALECTS[name].parse(TEXTS[name]) == CALLS
    assert DIALECTS[name].name == name


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_no_calls_have_a_text_that_reads_as_no_calls(name):
    assert DIALECTS[name].render([]) == NO_CALL[name]
    assert DIALECTS[name].parse(NO_CALL[name]) == []
    assert DIALECTS[name].parse("No function fits.") == []
    assert DIALECTS[name].parse("") == []


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_auto_finds_the_dialect(name):
    assert parse_calls(TEXTS[name]) == CALLS
    assert parse_calls(TEXTS[name], name) == CALLS


@pytest.mark.parametrize(
    ("text", "dialect"),
    [
        ("I would call <tool_call>", "hermes"),
        ("<function_call> {}", "granite"),
        ("f(a=1)", "python"),
        ("[ a.b(c=1) ]", "python"),
        ("[x := f()]", "python"),
        ('```json\n[{"name": "f"}]\n```', "xlam"),
        ("[]", "json"),
        ('  {"name": "f"}', "json"),
        ("The answer (mostly) is 3.", None),
        ("Sorry (I cannot do that).", None),
        ("Sorry ([1] says so) no.", None),
        ("f (a=1)", "python"),
        ("[f (**{'a b': 1})]", "python"),
        ("f ( )", "python"),
        ("[Well] <tool_call>{}</tool_call>", "hermes"),
        ("", None),
    ],
)
def test_dialects_are_told_apart_by_their_signs(text, dialect):
    assert detect_dialect(text) == dialect


PIECES = [
    *("tea", "7", "true", "None", "é", "\u2028", " ", "\n", "\t", "\\", '"', "'", "`", "```json\n"),
    *("<", "</tool_call>", "<tool_call>", "<function_call>", "</think>", "<think>", "{", "}"),
    *("[", "]", "(", ")", ",", ":", ":=", "=", "**", "$x$", "<|tool_call>", "<|python_tag|>"),
    *("<|tool_call_start|>", "to=functions.f", "<|message|>", "</parameter>", "<arg_key>"),
]


def any_value(chance, depth=0):
    kind = chance.randrange(8 if depth < 3 else 6)
    if kind < 2:
        return "".join(chance.choices(PIECES, k=chance.randrange(6)))
    if kind == 6:
        return [any_value(chance, depth + 1) for _ in range(chance.randrange(4))]
    if kind == 7:
        return {any_key(chance): any_value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice([None, True, False, 0, -3, 10**30, 2.5, -1e-9, 1e300])


def any_key(chance):
    return chance.choice(
        ["place", "from", "a-b", "7", "", "self", "*".join(chance.choices(PIECES))]
    )


def any_calls(chance):
    return [
        FunctionCall(
            name=chance.choice(["f", "a.b", "get_weather"]),
            arguments={any_key(chance): any_value(chance) for _ in range(chance.randrange(4))},
            label=f"var{number}" if chance.random() < 0.3 else None,
        )
        for number in range(1, 1 + chance.randrange(4))
    ]


@pytest.mark.parametrize("name", sorted(DIALECTS))
def test_what_a_dialect_writes_reads_back_as_it_was(name):
    chance = random.Random(name)
    for _ in range(400):
        calls = any_calls(chance)
        text = DIALECTS[name].render(calls)
        assert DIALECTS[name].parse(text) == calls
        assert DIALECTS[name].render(DIALECTS[name].parse(text)) == text


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("hermes", 'Let me see.\n<tool_call>{"name": "f", "arguments": {}}</tool_call>\nDone.'),
        ("hermes", '<think><tool_call>?</think><tool_call>{"name":"f","arguments":{}}</tool_call>'),
        ("granite", 'Sure: <function_call> {"name": "f", "arguments": {}}<|endoftext|>'),
        ("xlam", '```\n[{"name": "f", "arguments": {}}]\n```'),
        ("xlam", '```json\n{"name": "f", "arguments": {}}\n```'),
        ("xlam", '{"name": "f", "arguments": {}}'),
        ("json", '{"name": "f",\n "arguments": {}}'),
        ("json", '[{"name": "f", "arguments": {}}]'),
        ("python", "f()"),
        ("python", "[f(**{})]"),
    ],
)  # fmt: skip
def test_common_variants_are_read(name, text):
    assert DIALECTS[name].parse(text) == [FunctionCall(name="f", arguments={})]


@pytest.mark.parametrize(
    ("name", "text", "code"),
    [
        ("json", 'Sure: {"name": "f", "arguments": {}}', "FUN403"),
        ("json", '{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}', "FUN403"),
        ("json", '{"name": "f", "arguments": {}', "FUN103"),
        ("xlam", '["f"]', "FUN301"),
        ("xlam", '[[{"name": "f", "arguments": {}}]]', "FUN301"),
        ("hermes", '<tool_call>{"name": "f", "arguments": {}}', "FUN402"),
        ("hermes", "</tool_call>", "FUN402"),
        ("hermes", "<tool_call><tool_call></tool_call>", "FUN402"),
        ("hermes", "<tool_call>[]</tool_call>", "FUN301"),
        ("granite", "<function_call> f(a=1)", "FUN103"),
        ("python", "[f(1)]", "FUN405"),
        ("python", "[f(a=x)]", "FUN405"),
        ("python", "[f(a=__import__('os').system('id'))]", "FUN405"),
        ("python", "[f(a=1, a=2)]", "FUN104"),
        ("python", "[f(a=1)", "FUN404"),
        ("python", "f(a=1) and g(b=2)", "FUN405"),
        ("python", "import os; os.system('id')", "FUN404"),
        ("python", "[f(a=" + "9" * 2000 + ")]", "FUN105"),
        ("json", "[" + "1" * 20_000 + "]", "FUN101"),
        ("json", "[" * 51 + "]" * 51, "FUN102"),
    ],
)
def test_malformed_calls_are_refused_with_a_code(name, text, code):
    with pytest.raises(ParseError) as caught:
        parse_calls(text, name)
    assert caught.value.code == code


def test_an_unknown_dialect_is_refused_with_the_nearest_name():
    with pytest.raises(ParseError) as caught:
        parse_calls("", "hermess")
    assert str(caught.value) == "unknown dialect 'hermess'. Did you mean 'hermes'? [FUN401]"


def test_a_name_that_is_no_python_name_cannot_be_written_as_python():
    with pytest.raises(ParseError) as caught:
        DIALECTS["python"].render([FunctionCall(name="Search Managers", arguments={})])
    assert caught.value.code == "FUN406"


def test_python_keywords_as_argument_names_stand_in_a_dict():
    calls = [FunctionCall(name="f", arguments={"from": "x", "b": 1})]
    assert DIALECTS["python"].render(calls) == "[f(b=1, **{'from': 'x'})]"
    assert DIALECTS["python"].parse("[f(b=1, **{'from': 'x'})]") == calls


def test_signs_of_numbers_are_kept():
    (call,) = DIALECTS["python"].parse("[f(a=-5, b=+5, c=-2.5, d=[(1, -2)])]")
    assert call.arguments == {"a": -5, "b": 5, "c": -2.5, "d": [[1, -2]]}
