"""Every spelling of a call becomes the same call; nothing is cast."""

from __future__ import annotations

import pytest

from pipeline.errors import ParseError
from pipeline.functions.calls import call_from_json, calls_from_json, calls_to_json
from pipeline.functions.references import is_nested, referenced_labels
from pipeline.types import FunctionCall

WANTED = FunctionCall(name="getFilm", arguments={"title": "Up", "year": "2009"})
ARGUMENTS = {"title": "Up", "year": "2009"}
ARGUMENTS_TEXT = '{"title": "Up", "year": "2009"}'


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"name": "getFilm", "arguments": ARGUMENTS}, id="hammer"),
        pytest.param({"name": "getFilm", "arguments": ARGUMENTS_TEXT}, id="openai wire"),
        pytest.param({"name": "getFilm", "parameters": ARGUMENTS}, id="llama"),
        pytest.param({"tool": "getFilm", "parameters": ARGUMENTS}, id="hammer sealtool"),
        pytest.param({"api": "getFilm", "parameters": ARGUMENTS}, id="seal-tools"),
        pytest.param(
            {"role": "API", "api_name": "getFilm", "param_dict": ARGUMENTS, "result": {}},
            id="api-bank",
        ),
        pytest.param({"Action": "getFilm", "Action_Input": ARGUMENTS_TEXT}, id="toolalpaca"),
        pytest.param(
            {"API": "getFilm", "Parameters": {"title": ["Up"], "year": ["2009"]}}, id="api-blend"
        ),
        pytest.param(
            {
                "id": "c1",
                "type": "function",
                "function": {"name": "getFilm", "arguments": ARGUMENTS},
            },
            id="openai",
        ),
        pytest.param('{"name": "getFilm", "arguments": ' + ARGUMENTS_TEXT + "}", id="json text"),
        pytest.param(
            '{"name": "getFilm", "arguments": \'' + ARGUMENTS_TEXT + "'}", id="glaive single quotes"
        ),
    ],
)
def test_every_spelling_of_a_call_gives_the_same_call(value):
    assert call_from_json(value) == WANTED


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ([{"name": "f", "arguments": {}}, {"name": "g", "arguments": {}}], 2),
        ('[{"name": "f", "arguments": {}}]', 1),
        ({"name": "f", "arguments": {}}, 1),
        ({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}, 1),
        ({"role": "assistant", "content": "hi", "tool_calls": None}, 0),
        ([], 0),
        (None, 0),
    ],
)
def test_calls_are_read_from_lists_single_calls_messages_and_text(value, count):
    assert len(calls_from_json(value)) == count


def test_argument_types_are_kept():
    call = call_from_json(
        '{"name": "f", "arguments": {"a": "7", "b": 7, "c": 7.0, "d": [true, null]}}'
    )
    kept = [(key, type(value).__name__) for key, value in call.arguments.items()]
    assert kept == [("a", "str"), ("b", "int"), ("c", "float"), ("d", "list")]


def test_glaive_arguments_may_hold_an_escaped_quote():
    call = call_from_json('{"name": "f", "arguments": \'{"q": "it\\\'s"}\'}')
    assert call.arguments == {"q": "it's"}


def test_calls_to_json_writes_the_label_only_where_there_is_one():
    calls = [
        FunctionCall(name="f", arguments={}, label="var1"),
        FunctionCall(name="g", arguments={}),
    ]
    assert calls_to_json(calls) == [
        {"name": "f", "arguments": {}, "label": "var1"},
        {"name": "g", "arguments": {}},
    ]


def test_seal_tools_response_names_become_references():
    calls = calls_from_json(
        [
            {"api": "plant", "parameters": {"crop": "tomato"}, "responses": ["API_call_0"]},
            {"api": "search", "parameters": {}, "responses": ["API_call_1", "API_call_2"]},
            {
                "api": "check",
                "parameters": {"where": "API_call_2", "how": ["API_call_0 response"]},
                "responses": ["API_call_3"],
            },
        ]
    )
    assert calls[2].arguments == {"where": "$var2[1]$", "how": ["$var1$ response"]}
    assert [call.label for call in calls] == ["var1", "var2", None]
    assert is_nested(calls)


def test_toolalpaca_placeholders_become_references():
    calls = calls_from_json(
        [
            {"Action": "search", "Action_Input": '{"title": "Up"}'},
            {
                "Action": "cast",
                "Action_Input": '{"id": ${film id from search}, "on": ${start date}"}',
            },
        ]
    )
    assert calls[0].label == "var1"
    assert calls[1].arguments == {"id": "$var1.film id$", "on": "${start date}"}


def test_nestful_references_are_kept_as_they_are():
    calls = calls_from_json(
        '[{"name": "a", "arguments": {}, "label": "var1"},'
        ' {"name": "b", "arguments": {"x": "$var1.items[0].id$", "cost": "$100-$200"}}]'
    )
    assert referenced_labels(calls[1].arguments) == ["var1"]
    assert calls[1].arguments["x"] == "$var1.items[0].id$"


def test_calls_without_references_are_not_nested():
    calls = calls_from_json([{"name": "a", "arguments": {"price": "$100-$200$"}}])
    assert not is_nested(calls)


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (7, "FUN301"),
        ({"name": "f"}, "FUN301"),
        ({"query": "x"}, "FUN301"),
        ({"name": "", "arguments": {}}, "FUN302"),
        ({"name": ["f"], "arguments": {}}, "FUN302"),
        ({"name": "f", "arguments": {}, "label": "a b"}, "FUN302"),
        ({"name": "f", "arguments": [1]}, "FUN303"),
        ({"name": "f", "arguments": "[1]"}, "FUN303"),
        ({"name": "f", "arguments": "{"}, "FUN103"),
        ('{"name": "f", "arguments": {"a": 1, "a": 2}}', "FUN104"),
        ('{"name": "f", "arguments": {"a": NaN}}', "FUN105"),
        ("call f please", "FUN103"),
    ],
)
def test_junk_is_refused_with_a_code(value, code):
    with pytest.raises(ParseError) as caught:
        call_from_json(value)
    assert caught.value.code == code


def test_a_reference_to_a_later_call_is_refused():
    with pytest.raises(ParseError) as caught:
        calls_from_json(
            [
                {"name": "a", "arguments": {"x": "$var2$"}, "label": "var1"},
                {"name": "b", "arguments": {}, "label": "var2"},
            ]
        )
    assert str(caught.value) == "call of 'a' refers to var2, which is not earlier. [FUN304]"


def test_deep_python_values_are_refused_without_recursion():
    value: list = []
    for _ in range(5000):
        value = [value]
    with pytest.raises(ParseError) as caught:
        call_from_json({"name": "f", "arguments": {"a": value}})
    assert caught.value.code == "FUN102"
