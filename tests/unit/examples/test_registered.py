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


def test_labels_follow_the_positions_of_calls_and_references_follow_them():
    calls = [
        {"name": "f", "arguments": {}, "label": "a"},
        {"name": "g", "arguments": {}},
        {"name": "h", "arguments": {"x": "$a.y$"}, "label": "b"},
        {"name": "i", "arguments": {"x": "see $b$"}},
    ]
    made = function_calls(calls)
    assert [call.get("label") for call in made] == ["var1", None, "var3", None]
    assert made[2]["arguments"] == {"x": "$var1.y$"}
    assert made[3]["arguments"] == {"x": "see $var3$"}


def test_a_slot_that_stands_twice_has_a_list_of_values():
    run = REGISTERED_FUNCTIONS["slot_arguments"]
    slots = [{"name": "a", "value": 1}, {"name": "b", "value": 2}, {"name": "a", "value": 3}]
    assert run(slots) == {"a": [1, 3], "b": 2}
    with pytest.raises(RowSkipped):
        run([{"value": 1}])


def test_unsupported_intents_skip_their_row():
    run = REGISTERED_FUNCTIONS["top_calls"]
    assert run("[IN:A x ]") == [{"name": "A", "arguments": {}}]
    for text in ("[IN:UNSUPPORTED_A x ]", "[IN:A", None):
        with pytest.raises(RowSkipped):
            run(text)


def test_both_parts_of_a_library_speak_of_the_same_functions():
    run = REGISTERED_FUNCTIONS["library"]
    functions = function_specs([{"name": name, "parameters": {"a": {}}} for name in "fgh"])
    row = {"functions": functions, "calls": [{"name": "g", "arguments": {"a": 1}}]}
    options = {"mask": "all", "size": 2, "shuffle": True}
    (call,) = run(row, part="calls", **options)
    shown = run(row, **options)
    assert len(shown) == 2
    (spec,) = [spec for spec in shown if spec["name"] == call["name"]]
    assert list(spec["parameters"]["properties"]) == list(call["arguments"])
    for options in ({"mask": "names"}, {"size": 0}):
        with pytest.raises(RowSkipped):
            run(row, **options)
    with pytest.raises(RowSkipped):
        run({"calls": []})
