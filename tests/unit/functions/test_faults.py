"""Calls that do not fit their library are found, and rows that hold them left out."""

from __future__ import annotations

import time

import pytest

from pipeline.annotations.outcomes import RowSkipped
from pipeline.errors import ParseError
from pipeline.examples.registered import library
from pipeline.functions.faults import FAULTS, first_fault
from pipeline.functions.specs import specs_from_json
from pipeline.types import FunctionCall

SPECS = specs_from_json(
    {
        "name": "f",
        "required": ["a"],
        "parameters": {
            "a": {"type": "str"},
            "rows": {"type": "List[int]"},
            "both": {"type": "Union[int, Dict[str, int]]"},
        },
    }
)


def fault(kinds=tuple(FAULTS), name="f", **arguments):
    return first_fault(SPECS, [FunctionCall(name=name, arguments=arguments)], kinds)


def test_each_fault_is_found_and_only_where_it_is_looked_for():
    cases = {
        "outside": {"name": "g", "a": "x"},
        "undeclared": {"a": "x", "b": 1},
        "missing": {"rows": [1]},
        "broken": {"a": "x", "rows": '[{"name": "Alice"'},
    }
    for kind, call in cases.items():
        assert fault(**call) == kind
        assert fault([kind], **call) == kind
        assert fault([other for other in FAULTS if other != kind], **call) is None
    assert fault(a="x", rows=[1]) is None
    assert first_fault(SPECS, [], tuple(FAULTS)) is None


@pytest.mark.parametrize("key", ["rows", "both"])
def test_a_list_or_object_in_text_is_broken_where_it_does_not_close(key):
    for text in ('["a", "b"', '{"a": ["b"', '{"a": 1', "[", '["a]"', " {'a': 'b]'"):
        assert fault(a="x", **{key: text}) == "broken", text
    for text in (
        '["a", "b"]',
        "[{'a': 'it is'}]",
        "[]",
        '["["]',
        "blue, red",
        "[a, b]",
        '["\\\\"]',
        "[it's]",
    ):
        assert fault(a="x", **{key: text}) is None, text


def test_texts_may_begin_like_lists():
    assert fault(a='["a"') is None


def test_a_long_text_takes_no_time():
    for text in ('["' * 200_000, "['" * 200_000, "[" * 400_000, "[" + "\\'" * 200_000):
        started = time.perf_counter()
        fault(a="x", rows=text)
        assert time.perf_counter() - started < 2


def test_rows_with_a_fault_are_left_out_with_the_reason():
    row = {
        "functions": [{"name": "f", "description": "", "parameters": {"properties": {}}}],
        "calls": [{"name": "g", "arguments": {}}],
    }
    with pytest.raises(RowSkipped, match="calls a function outside of its library"):
        library(row, part="calls", skip=["outside"])
    assert library(row, part="calls") == [{"name": "g", "arguments": {}}]


def test_a_fault_that_does_not_exist_is_refused_with_the_nearest():
    with pytest.raises(ParseError, match=r"outsid.*outside.*FUN605"):
        fault(["outsid"])
