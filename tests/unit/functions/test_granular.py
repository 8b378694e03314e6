"""The seven granular views of one row."""

from __future__ import annotations

import pytest

from pipeline.errors import ParseError
from pipeline.functions.granular import GRANULAR_TASKS, derive_target
from pipeline.types import FunctionCall

SEARCH = FunctionCall(name="search", arguments={"q": "tea"}, label="var1")
BOOK = FunctionCall(name="book", arguments={"id": "$var1.id$"})
AGAIN = FunctionCall(name="search", arguments={"q": "milk"})


def test_each_view_derives_its_target_from_the_same_calls():
    calls = [SEARCH, BOOK]
    assert derive_target("calls", calls) == [
        {"name": "search", "arguments": {"q": "tea"}, "label": "var1"},
        {"name": "book", "arguments": {"id": "$var1.id$"}},
    ]
    assert derive_target("names", calls) == ["search", "book"]
    assert derive_target("parameters", calls) == {"q": "tea"}
    assert derive_target("next", calls) == "search"
    assert derive_target("next", calls, num_made=1) == "book"
    assert derive_target("response", calls, response="Booked.") == "Booked."


@pytest.mark.parametrize(
    ("calls", "tasks"),
    [
        ([], {"function_names", "response_generation"}),
        (
            [BOOK],
            {"function_names", "response_generation", "next_best_function", "parameter_values"},
        ),
        (
            [SEARCH, BOOK],
            {
                "function_names",
                "response_generation",
                "next_best_function",
                "function_chaining",
                "nested_calling",
            },
        ),
        (
            [SEARCH, AGAIN],
            {
                "function_names",
                "response_generation",
                "next_best_function",
                "function_chaining",
                "parallel_functions",
            },
        ),
    ],
)
def test_rows_feed_the_tasks_that_their_calls_allow(calls, tasks):
    assert {name for name, task in GRANULAR_TASKS.items() if task.applies(calls)} == tasks


def test_there_are_seven_tasks():
    assert len(GRANULAR_TASKS) == 7
    assert all(name == task.name for name, task in GRANULAR_TASKS.items())


@pytest.mark.parametrize(
    ("granular", "code"),
    [("parameter", "FUN501"), ("parameters", "FUN502"), ("next", "FUN502"), ("response", "FUN502")],
)
def test_a_view_that_the_row_cannot_give_is_refused(granular, code):
    with pytest.raises(ParseError) as caught:
        derive_target(granular, [])
    assert caught.value.code == code
