"""Every spelling of a function spec becomes JSON Schema."""

from __future__ import annotations

import typing

import pydantic
import pytest

from pipeline.errors import ParseError
from pipeline.functions.specs import spec_from_json, specs_from_json, specs_to_json
from pipeline.functions.type_names import schema_of_type

CITY = {"type": "string", "description": "The city"}
WANTED = {
    "type": "object",
    "properties": {"city": CITY, "days": {"type": "integer", "description": "How many"}},
    "required": ["city"],
}


@pytest.mark.parametrize(
    "value",
    [
        pytest.param({"name": "f", "description": "d", "parameters": WANTED}, id="json schema"),
        pytest.param(
            {
                "type": "function",
                "function": {"name": "f", "description": "d", "parameters": WANTED},
            },
            id="openai",
        ),
        pytest.param(
            {"name": "f", "description": "d", "parameters": {**WANTED, "type": "dict"}}, id="bfcl"
        ),
        pytest.param(
            {
                "name": "f",
                "description": "d",
                "parameters": {
                    "city": {"type": "str", "description": "The city"},
                    "days": {"type": "int, optional", "description": "How many"},
                },
            },
            id="xlam",
        ),
        pytest.param(
            {
                "name": "f",
                "description": "d",
                "parameters": {
                    "city": {"type": "string", "description": "The city", "required": True},
                    "days": {"type": "integer", "description": "How many"},
                },
            },
            id="hammer toolalpaca",
        ),
        pytest.param(
            {
                "api_name": "f",
                "api_description": "d",
                "field": "x",
                "parameters": {
                    "city": {"type": "str", "description": "The city"},
                    "days": {"type": "int", "description": "How many"},
                },
                "required": ["city"],
                "responses": {"weather": {"type": "str"}},
            },
            id="seal-tools",
        ),
        pytest.param(
            {
                "name": "f",
                "description": "d",
                "query_parameters": {
                    "city": {"type": "String", "description": "The city", "required": True},
                    "days": {"type": "integer", "description": "How many", "required": False},
                },
                "output_parameters": {"weather": {"type": "string"}},
            },
            id="nestful",
        ),
        pytest.param(
            {
                "tool_name": "Weather",
                "api_name": "f",
                "api_description": "d",
                "required_parameters": [
                    {"name": "city", "type": "STRING", "description": "The city"}
                ],
                "optional_parameters": [
                    {"name": "days", "type": "INTEGER", "description": "How many"}
                ],
            },
            id="toolbench",
        ),
        pytest.param(
            {
                "name": "f",
                "description": "d",
                "parameters": {
                    "city": "Required. String. The city",
                    "days": "Optional. Integer. How many",
                },
            },
            id="toolalpaca",
        ),
    ],
)
def test_every_spelling_of_a_spec_gives_the_same_schema(value):
    spec = spec_from_json(value)
    assert spec.name == "f"
    assert spec.description in {"d", "d. Returns: weather (string)"}
    assert spec.parameters == WANTED


def described(**spec):
    return spec_from_json({"name": "f", "parameters": {}, **spec}).description


def test_what_a_function_returns_is_told_in_its_description():
    place = {
        "type": "object",
        "properties": {"x": {"type": "float"}, "tags": {"type": "list[str]"}},
    }
    outputs = {
        "id": {"type": "str", "description": "The number."},
        "place": place,
        "near": {"type": "array", "items": place, "description": "Others"},
        "origin": {"description": "City", "possible_values": []},
    }
    inner = "object of x (number), tags (array of string)"
    told = (
        f"Returns: id (string): The number; place ({inner}); near (array of {inner}): Others; "
        "origin: City"
    )
    for key in ("output_parameters", "responses", "return"):
        assert described(description="Finds.", **{key: outputs}) == f"Finds. {told}"
        assert described(description="Finds", **{key: outputs}) == f"Finds. {told}"
        assert described(**{key: outputs}) == told


@pytest.mark.parametrize(
    "value", [None, {}, [], "a text", {"type": "string", "description": "One."}, ["a"]]
)
def test_what_names_no_outputs_changes_no_description(value):
    assert described(description="Finds.", responses=value) == "Finds."
    assert described(description="Finds.", **{"return": value}) == "Finds."


def test_api_bank_requires_every_parameter_since_nothing_else_is_said():
    spec = spec_from_json(
        {"name": "f", "description": "d", "input_parameters": {"a": {"type": "list(str)"}}}
    )
    assert spec.parameters == {
        "type": "object",
        "properties": {"a": {"type": "array", "items": {"type": "string"}}},
        "required": ["a"],
    }


def test_a_parameter_called_properties_or_type_is_a_parameter():
    flat = {"properties": {"type": "str", "description": "x"}, "type": {"type": "str"}}
    spec = spec_from_json({"name": "f", "parameters": flat})
    assert list(spec.parameters["properties"]) == ["properties", "type"]


def test_nested_bfcl_types_become_json_schema_types():
    spec = spec_from_json(
        {
            "name": "f",
            "description": "",
            "parameters": {
                "type": "dict",
                "properties": {
                    "a": {"type": "tuple", "items": {"type": "float"}},
                    "b": {"type": "dict", "properties": {"c": {"type": "any"}}},
                    "d": {"type": "array", "items": {"type": "dict"}},
                },
                "required": ["a"],
            },
        }
    )
    assert spec.parameters["properties"] == {
        "a": {"type": "array", "items": {"type": "number"}},
        "b": {"type": "object", "properties": {"c": {"type": "string"}}},
        "d": {"type": "array", "items": {"type": "object"}},
    }


def test_toolalpaca_marks_what_is_required_so_the_rest_is_not():
    told = {
        "a": "Required. string. The city",
        "b": "string. The unit",
        "c": "integer.",
        "d": "Array[string]. Names",
        "e": "Array[Object{id: string. The id}]. Things",
        "f": "Optional. number. How many",
    }
    both = spec_from_json({"name": "f", "parameters": told}).parameters
    assert both["required"] == ["a"]
    assert both["properties"]["b"] == {"type": "string", "description": "The unit"}
    assert both["properties"]["d"] == {
        "type": "array",
        "items": {"type": "string"},
        "description": "Names",
    }
    del told["a"]
    assert spec_from_json({"name": "f", "parameters": told}).parameters["required"] == []


def test_bare_types_and_plain_descriptions_are_required_where_nothing_says_more():
    flat = {"a": "string", "b": "int", "c": "The lake."}
    assert spec_from_json({"name": "f", "parameters": flat}).parameters["required"] == [*flat]


def plain(schema):
    """Pydantic's schema as ours: equal places of a tuple are items, any value needs no schema."""
    if isinstance(schema, list):
        return [plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    found = {key: plain(value) for key, value in schema.items() if value is not True}
    places = found.get("prefixItems")
    if places and all(place == places[0] for place in places):
        found["items"] = found.pop("prefixItems")[0]
    return found


@pytest.mark.parametrize(
    "name",
    [
        "List[Dict[str, int]]",
        "Dict[str, List[float]]",
        "Dict[str, Any]",
        "Dict[str, Dict[str, bool]]",
        "Tuple[int, str]",
        "Tuple[int, int]",
        "Tuple[int, ...]",
        "List[Tuple[str, float, bool]]",
        "Tuple[Dict[str, int], List[str]]",
        "Union[int, List[str]]",
    ],
)
def test_generic_types_are_what_pydantic_makes_of_them(name):
    expected = pydantic.TypeAdapter(eval(name, vars(typing))).json_schema()
    assert schema_of_type(name) == plain(expected)


def test_an_sgd_service_gives_one_spec_per_intent_with_its_slots():
    (spec,) = specs_from_json(
        {
            "service_name": "Buses_1",
            "slots": [
                {
                    "name": "to",
                    "description": "City",
                    "is_categorical": False,
                    "possible_values": [],
                },
                {
                    "name": "fare",
                    "description": "Type",
                    "is_categorical": True,
                    "possible_values": ["Economy", "Flexible"],
                },
            ],
            "intents": [
                {
                    "name": "FindBus",
                    "description": "Find a bus",
                    "required_slots": ["to"],
                    "optional_slots": {"fare": "Economy"},
                }
            ],
        }
    )
    assert spec.name == "FindBus"
    assert spec.parameters == {
        "type": "object",
        "properties": {
            "to": {"type": "string", "description": "City"},
            "fare": {
                "type": "string",
                "description": "Type",
                "enum": ["Economy", "Flexible"],
                "default": "Economy",
            },
        },
        "required": ["to"],
    }


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("str", {"type": "string"}),
        ("int, optional", {"type": "integer"}),
        ("List[int]", {"type": "array", "items": {"type": "integer"}}),
        ("Set[List[x]]", {"type": "array", "items": {
            "type": "array", "items": {"type": "string", "format": "x"}}}),
        ("Optional[bool]", {"type": "boolean"}),
        ("Union[List[dict], dict]", {"anyOf": [
            {"type": "array", "items": {"type": "object"}}, {"type": "object"}]}),
        ("Dict[str, int]", {"type": "object", "additionalProperties": {"type": "integer"}}),
        ("Dict", {"type": "object"}),
        ("Tuple[int]", {"type": "array", "items": {"type": "integer"}}),
        ("Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("HashMap", {"type": "object"}),
        ("Date (yyyy-mm-dd)", {"type": "string", "format": "Date (yyyy-mm-dd)"}),
        (["string", "null"], {"type": ["string", "null"]}),
        ("List[" * 40 + "int" + "]" * 40, None),
    ],
)  # fmt: skip
def test_type_names_of_many_languages_become_json_schema(name, schema):
    read = schema_of_type(name)
    assert schema is None or read == schema


def test_a_library_may_be_json_text_and_repeat_a_function():
    text = '[{"name": "f", "description": "", "parameters": {}}, {"name": "f", "parameters": {}}]'
    assert specs_to_json(specs_from_json(text)) == [
        {
            "name": "f",
            "description": "",
            "parameters": {"type": "object", "properties": {}, "required": []},
        }
    ]
    assert specs_from_json("") == []
    assert specs_from_json(None) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (3, "FUN201"),
        ({"description": "no name"}, "FUN201"),
        ({"name": "f", "parameters": 3}, "FUN202"),
        ({"name": "f", "required_parameters": [{"type": "str"}]}, "FUN202"),
        ("not json", "FUN103"),
    ],
)
def test_junk_specs_are_refused_with_a_code(value, code):
    with pytest.raises(ParseError) as caught:
        spec_from_json(value)
    assert caught.value.code == code


def test_two_different_specs_of_one_name_are_refused():
    with pytest.raises(ParseError) as caught:
        specs_from_json(
            [{"name": "f", "parameters": {}}, {"name": "f", "parameters": {"a": "str"}}]
        )
    assert str(caught.value) == "two different specs are named 'f'. [FUN203]"
