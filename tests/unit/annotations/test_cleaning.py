import pytest

from pipeline.annotations.cleaning import STEPS, compile_steps, list_of, parse_json, parse_steps
from pipeline.annotations.outcomes import RowSkipped


def run(steps, value):
    problems = []
    parsed = parse_steps(steps, (), problems)
    assert problems == []
    return compile_steps(parsed)(value)


@pytest.mark.parametrize(
    ("steps", "value", "expected"),
    [
        (["strip"], "  a ", "a"),
        ([{"strip": "."}], "..a.", "a"),
        (["lstrip"], " a ", "a "),
        ([{"rstrip": ", "}], "a, ", "a"),
        (["lower"], "AB", "ab"),
        (["upper"], "ab", "AB"),
        (["capitalize"], "aBC", "Abc"),
        (["capfirst"], "aBC", "ABC"),
        (["spaces"], " a \n b\t", "a b"),
        ([{"replace": ["_", " "]}], "a_b_c", "a b c"),
        ([{"sub": ["\\s+", " "]}], "a  b\n c", "a b c"),
        ([{"sub": ["(\\w)-(\\w)", "\\2\\1"]}], "a-b", "ba"),
        ([{"extract": "^(.*?)\\s*\\(A\\)"}], "stem (A) x", "stem"),
        ([{"extract": "b+"}], "aabbb\nc", "bbb"),
        (["split"], " a  b ", ["a", "b"]),
        ([{"split": ","}], "a,b,", ["a", "b", ""]),
        ([{"split_regex": "[0-9]+"}], "a1b22c", ["a", "b", "c"]),
        ([{"before_first": "."}], "a.b.c", "a"),
        ([{"after_first": "."}], "a.b.c", "b.c"),
        ([{"before_last": "."}], "a.b.c", "a.b"),
        ([{"after_last": "."}], "a.b.c", "c"),
        ([{"after_last": "#"}], "abc", "abc"),
        ([{"removeprefix": "ab"}], "abab", "ab"),
        ([{"removesuffix": "ab"}], "abab", "ab"),
        ([{"slice": [1, 3]}], "abcd", "bc"),
        ([{"slice": [None, -1]}], [1, 2, 3], [1, 2]),
        (["int"], "42", 42),
        (["int"], "3.9", 3),
        (["float"], 1, 1.0),
        (["str"], 5, "5"),
        (["bool"], "No", False),
        (["bool"], 2, True),
        (["len"], [1, 2], 2),
        (["len"], "abc", 3),
        ([{"add": -1}], 3, 2),
        ([{"scale": 0.5}], 3, 1.5),
        (["round_half_up"], 2.5, 3),
        ([{"round_half_up": 1}], 0.25, 0.3),
        (["json", {"get": "a[0]"}], '{"a": [7]}', 7),
        (["unique"], [1, 2, 1, {"a": 1}, {"a": 1}], [1, 2, {"a": 1}]),
        (["drop_empty"], ["a", " ", "", None, [], 0], ["a", 0]),
        (["html_text"], "<p>a &amp; <b>b</b></p>\n c", "a & b c"),
        (["unescape"], "&lt;x&gt;", "<x>"),
        (["either_strand"], ">chr1\nttu g", "CAAA"),
        ([{"each": ["strip", "lower"]}], [" A", "b "], ["a", "b"]),
        ([{"each": "len"}], ["ab", ""], [2, 0]),
        ("strip", " a", "a"),
        (["strip", "lower", {"replace": ["a", "b"]}], " A ", "b"),
    ],
)
def test_each_step_does_what_its_name_says(steps, value, expected):
    found = run(steps, value)
    assert found == expected
    assert type(found) is type(expected)


def test_every_step_is_tried_above():
    assert set(STEPS) == {
        next(iter(step)) if isinstance(step, dict) else step
        for mark in test_each_step_does_what_its_name_says.pytestmark
        for steps, _, _ in mark.args[1]
        for step in ([steps] if isinstance(steps, str) else steps)
    }


@pytest.mark.parametrize(
    ("steps", "value"),
    [
        (["strip"], None),
        (["lower"], ["A"]),
        (["int"], "abc"),
        (["int"], float("inf")),
        (["float"], None),
        (["bool"], "perhaps"),
        (["len"], 5),
        ([{"extract": "x"}], "abc"),
        (["json"], "{"),
        (["json"], "[" * 100_000),
        ([{"each": ["strip"]}], "text"),
        (["unique"], None),
        ([{"sub": ["a", "b"]}], "a" * 70_000),
    ],
)
def test_a_value_that_does_not_fit_skips_the_row(steps, value):
    with pytest.raises(RowSkipped):
        run(steps, value)


@pytest.mark.parametrize(
    ("steps", "code", "part"),
    [
        ([], "ANN120", "one or more"),
        (5, "ANN120", "a number"),
        ([5], "ANN120", "name"),
        ([{"strip": ".", "lower": None}], "ANN120", "one `name: argument`"),
        (["stripp"], "ANN121", "stripp"),
        ([{"lower": 1}], "ANN122", "takes no argument"),
        ([{"replace": ["a"]}], "ANN122", "two texts"),
        ([{"replace": ["", "a"]}], "ANN122", "two texts"),
        ([{"split": ""}], "ANN122", "needs text"),
        ([{"before_first": None}], "ANN122", "not empty"),
        ([{"add": True}], "ANN122", "a number"),
        ([{"round_half_up": 99}], "ANN122", "0 to 10"),
        ([{"slice": [1]}], "ANN122", "start, end"),
        ([{"slice": [True, 2]}], "ANN122", "start, end"),
        ([{"get": "a..b"}], "ANN122", "path"),
        ([{"each": None}], "ANN122", "step"),
        ([{"each": ["nothing"]}], "ANN121", "nothing"),
        ([{"sub": ["(", "x"]}], "ANN122", "no regular expression"),
        ([{"sub": "a"}], "ANN122", "[pattern, replacement]"),
        ([{"extract": "(?=a)"}], "ANN122", "look-around"),
        ([{"extract": "(a)\\1"}], "ANN122", "back-reference"),
        ([{"extract": "a{2000}"}], "ANN122", "1000 times"),
        ([{"extract": "a" * 301}], "ANN122", "300 characters"),
    ],
)
def test_wrong_steps_are_problems_with_a_reason(steps, code, part):
    problems = []
    parse_steps(steps, ("here",), problems)
    assert [p.code for p in problems] == [code]
    assert part in problems[0].message
    assert problems[0].loc[0] == "here"


def test_a_nested_quantifier_costs_linear_time():
    assert run([{"sub": ["(a+)+$", "x"]}], "a" * 60_000 + "b") == "a" * 60_000 + "b"


def test_lists_come_from_lists_and_structs_of_lists():
    assert list_of({"a": [1, 2]}) == [{"a": 1}, {"a": 2}]
    assert list_of({"a": [], "b": []}) == []
    assert parse_json([1]) == [1]
    for value in ("text", None, {"a": 1}, 5):
        with pytest.raises(RowSkipped):
            list_of(value)
