"""The library a request is shown with can be varied, and the calls follow."""

from __future__ import annotations

from collections import Counter

import pytest

from pipeline.errors import ParseError
from pipeline.functions.libraries import LibraryOptions, vary_library
from pipeline.types import FunctionCall, FunctionSpec

SPECS = [
    FunctionSpec(
        name=name,
        description=f"Does {name}.",
        parameters={
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "One."},
                "b": {"type": "integer", "description": "Two."},
                "c": {"type": "string", "description": "Three."},
            },
            "required": ["a"],
        },
    )
    for name in ("f", "g", "h", "i", "j", "k")
]


def rows():
    return [
        [FunctionCall(name="g", arguments={"a": f"x{number}", "b": 1})] for number in range(200)
    ]


def test_nothing_changes_without_options():
    calls = rows()[0]
    assert vary_library(SPECS, calls, LibraryOptions()) == (SPECS, calls)


def test_a_smaller_library_keeps_what_is_called():
    shown = [vary_library(SPECS, calls, LibraryOptions(size=3))[0] for calls in rows()]
    assert all(len(specs) == 3 and "g" in {spec.name for spec in specs} for specs in shown)
    assert {spec.name for specs in shown for spec in specs} == {spec.name for spec in SPECS}
    tiny, _ = vary_library(SPECS, rows()[0], LibraryOptions(size=1))
    assert [spec.name for spec in tiny] == ["g"]


def test_shuffling_moves_the_called_function_to_every_place():
    options = LibraryOptions(shuffle=True)
    places = [
        [spec.name for spec in vary_library(SPECS, calls, options)[0]].index("g")
        for calls in rows()
    ]
    assert set(places) == set(range(6))
    assert places == [
        [spec.name for spec in vary_library(SPECS, calls, options)[0]].index("g")
        for calls in rows()
    ]


def test_the_place_does_not_tell_which_of_the_chosen_functions_is_called():
    options = LibraryOptions(size=3, shuffle=True)
    places = Counter(
        [spec.name for spec in vary_library(SPECS, calls, options)[0]].index("g")
        for calls in rows()
    )
    assert all(45 <= places[place] <= 90 for place in range(3)), places


def test_rows_without_calls_are_varied_by_what_they_ask():
    options = LibraryOptions(size=3, shuffle=True, mask="functions")
    shown = {
        tuple(spec.name for spec in vary_library(SPECS, [], options, query=f"q{number}")[0])
        for number in range(50)
    }
    assert len(shown) == 50
    plain = LibraryOptions(size=3, shuffle=True)
    orders = Counter(
        spec.name
        for number in range(200)
        for spec in vary_library(SPECS, [], plain, query=[{"content": f"q{number}"}])[0]
    )
    assert all(70 <= orders[spec.name] <= 130 for spec in SPECS), orders


def test_masked_names_hide_names_and_still_fit_each_other():
    for mask, is_name_hidden, are_keys_hidden in (
        ("functions", True, False),
        ("arguments", False, True),
        ("all", True, True),
    ):
        specs, (call,) = vary_library(SPECS, rows()[0], LibraryOptions(mask=mask))
        by_name = {spec.name: spec for spec in specs}
        assert len(by_name) == len(SPECS)
        spec = by_name[call.name]
        assert spec.description == "Does g."
        assert set(call.arguments) <= set(spec.parameters["properties"])
        assert set(spec.parameters["required"]) <= set(call.arguments)
        assert (call.name != "g") == is_name_hidden
        assert ("a" not in call.arguments) == are_keys_hidden
        assert list(call.arguments.values()) == ["x0", 1]


def test_what_is_optional_is_dropped_unless_the_row_uses_it():
    specs, _ = vary_library(SPECS, rows()[0], LibraryOptions(drop="optional"))
    kept = {spec.name: set(spec.parameters["properties"]) for spec in specs}
    assert kept["g"] == {"a", "b"}
    assert kept["f"] == {"a"}
    plain, _ = vary_library(SPECS, rows()[0], LibraryOptions(drop="descriptions"))
    assert plain[0].parameters["properties"]["a"] == {"type": "string"}


def test_descriptions_are_dropped_at_every_depth_and_parameters_of_that_name_stay():
    text = {"type": "string", "description": "Text."}
    deep = {
        "type": "object",
        "properties": {
            "description": text,
            "who": {
                "description": "People.",
                "type": "array",
                "items": {"type": "object", "properties": {"name": text}, "description": "One."},
            },
            "either": {"anyOf": [text, {"type": "integer", "description": "Number."}]},
            "given": {"type": "object", "default": {"description": "kept"}},
        },
        "required": ["description"],
    }
    spec = FunctionSpec(name="f", description="Does f.", parameters=deep)
    ((shown,), _) = vary_library([spec], [], LibraryOptions(drop="descriptions"))
    assert shown.description == "Does f."
    assert shown.parameters["properties"] == {
        "description": {"type": "string"},
        "who": {
            "type": "array",
            "items": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
        "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        "given": {"type": "object", "default": {"description": "kept"}},
    }
    assert shown.parameters["required"] == ["description"]


def test_a_share_of_rows_has_no_fitting_function_and_no_call():
    made = [vary_library(SPECS, calls, LibraryOptions(abstain=0.25)) for calls in rows()]
    abstaining = [(specs, calls) for specs, calls in made if not calls]
    assert 30 <= len(abstaining) <= 70
    assert all("g" not in {spec.name for spec in specs} for specs, _ in abstaining)
    assert all("g" in {spec.name for spec in specs} for specs, calls in made if calls)


@pytest.mark.parametrize(
    "options", [{"size": 0}, {"size": True}, {"mask": "names"}, {"drop": "types"}, {"abstain": 2}]
)
def test_options_that_are_not_allowed_are_refused(options):
    with pytest.raises(ParseError) as caught:
        vary_library(SPECS, [], LibraryOptions(**options))
    assert caught.value.code == "FUN605"
