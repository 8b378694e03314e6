import pytest

from pipeline.annotations.expressions import FUNCTION_NAMES
from pipeline.annotations.outcomes import RowSkipped
from pipeline.examples.registered import (
    REGISTERED_FUNCTIONS,
    function_calls,
    function_specs,
    python_literal,
)


def test_every_function_that_annotations_may_name_exists():
    assert set(REGISTERED_FUNCTIONS) == set(FUNCTION_NAMES)


@pytest.mark.parametrize(
    "spec",
    [
        {"name": "f", "description": "d", "parameters": {"a": {"type": "str"}}, "required": ["a"]},
        {"api_name": "f", "api_description": "d", "parameters": {"a": {"type": "str"}}},
        {
            "type": "function",
            "function": {
                "name": "f",
                "description": "d",
                "parameters": {
                    "type": "dict",
                    "properties": {"a": {"type": "string"}},
                    "required": ["a"],
                },
            },
        },
        '{"name": "f", "description": "d", "parameters": {"a": {"type": "string"}}}',
    ],
)
def test_specs_in_many_spellings_become_json_schema(spec):
    parameters = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}
    expected = [{"name": "f", "description": "d", "parameters": parameters}]
    assert function_specs([spec]) == expected


@pytest.mark.parametrize(
    "call",
    [
        {"name": "f", "arguments": {"a": 1}},
        {"name": "f", "arguments": '{"a": 1}'},
        {"tool": "f", "parameters": {"a": 1}},
        {"api": "f", "parameters": {"a": 1}, "responses": ["API_call_0"]},
        {"api_name": "f", "param_dict": {"a": 1}},
        {"Action": "f", "Action_Input": '{"a": 1}'},
    ],
)
def test_calls_in_many_spellings_become_one(call):
    assert function_calls([call]) == [{"name": "f", "arguments": {"a": 1}}]
    assert function_calls([call, call], drop=["f"]) == []


def test_what_cannot_be_read_skips_the_row_with_a_code():
    with pytest.raises(RowSkipped, match=r"unreadable function specs \(FUN201\)"):
        function_specs([{"description": "no name"}])
    with pytest.raises(RowSkipped, match=r"unreadable function calls \(FUN301\)"):
        function_calls([{"f": {"a": 1}}])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("['a', None, True, -1.5]", ["a", None, True, -1.5]),
        ("{'a': (1, 2), 3: {'x'}}", {"a": [1, 2], "3": ["x"]}),
        (" 'it''s' ", "its"),
    ],
)
def test_literals_become_json(text, value):
    assert python_literal(text) == value


@pytest.mark.parametrize(
    "value",
    [
        "open('x')",
        "__import__('os').getpid()",
        "[x for x in 'ab']",
        "b'bytes'",
        "1j",
        "",
        "(",
        "-" * 5000 + "1",
        "[" * 5000,
        "'" + "x" * (1 << 20) + "'",
        None,
        7,
    ],
)
def test_nothing_but_literals_is_read(value):
    with pytest.raises(RowSkipped):
        python_literal(value)
