import pytest

from pipeline.annotations.parsing import parse_condition, parse_expression
from pipeline.yaml_reader import read_yaml


def problems_in(text, parse=parse_expression):
    problems = []
    parse(read_yaml(f"x: {text}").value["x"], ("fields", "x"), problems)
    return problems


@pytest.mark.parametrize(
    ("text", "code", "loc", "part"),
    [
        ("''", "ANN111", (), "no path"),
        ("a b.", "ANN111", (), "no path"),
        ("{}", "ANN110", ("",), "no expression"),
        ("{maps: a, to: {}}", "ANN110", ("maps",), "maps"),
        ("{map: a, too: {}}", "ANN101", ("too",), "unknown key 'too'"),
        ("{map: a}", "ANN112", ("map",), "needs the key 'to'"),
        ("{map: a, to: x}", "ANN113", ("to",), "a list or map is needed, got text"),
        ("{find: a, in: b, else: keep}", "ANN113", ("else",), "error, skip or an expression"),
        ("{bin: a, at: [2, 1], to: [x, y, z]}", "ANN113", ("at",), "rising"),
        ("{bin: a, at: [1], to: [x]}", "ANN113", ("at",), "one value more"),
        ("{concat: []}", "ANN113", ("concat",), "not empty"),
        ("{text: 5}", "ANN113", ("text",), "text is needed"),
        ('{text: "{a"}', "ANN114", ("text",), "single"),
        ('{text: "a}"}', "ANN114", ("text",), "single"),
        ('{text: "{a.b(c)}{}"}', "ANN111", ("text",), "no path"),
        ('{text: "a", with: {b: c}}', "ANN114", ("text",), "does not use"),
        ("{join: a, sep: 5}", "ANN113", ("sep",), "text is needed"),
        ("{join: a, skip: x}", "ANN113", ("skip",), "list of values"),
        ("{join: a, strip: 1}", "ANN113", ("strip",), "true or false"),
        ("{record: []}", "ANN113", ("record",), "a map"),
        ("{get: a, path: 'b..c'}", "ANN111", ("path",), "no path"),
        ("{spans: a, tokens: b, scheme: bilou}", "ANN113", ("scheme",), "bio or io"),
        ("{mark: a, spans: [{name: A}]}", "ANN113", ("spans", 0), "name, start"),
        ("{mark: a, spans: [{name: A, start: b}]}", "ANN112", ("spans", 0), "`end`"),
        ("{function: os.system, of: a}", "ANN117", ("function",), "os.system"),
        ("{function: python_literal, of: a, options: 5}", "ANN113", ("options",), "a map"),
        ("{if: x, then: a}", "ANN115", ("if",), "a condition"),
        ("{each: [], do: {nope: a}}", "ANN110", ("do", "nope"), "nope"),
        ("{clean: a, steps: [nope]}", "ANN121", ("steps", 0), "nope"),
    ],
)
def test_a_wrong_expression_is_told_with_its_place(text, code, loc, part):
    problems = problems_in(text)
    assert (code, ("fields", "x", *loc)) in [(p.code, p.loc) for p in problems]
    assert any(part in p.message for p in problems)


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ("a", "ANN115", "got text"),
        ("{of: a}", "ANN115", "exactly one of"),
        ("{eq: a}", "ANN115", "exactly one of"),
        ("{of: a, eq: 1, ne: 2}", "ANN115", "exactly one of"),
        ("{all: []}", "ANN115", "list of conditions"),
        ("{any: {of: a, eq: 1}}", "ANN115", "list of conditions"),
        ("{of: a, eqq: 1}", "ANN101", "unknown key 'eqq'"),
        ("{all: [{of: a, eq: 1}], of: b}", "ANN101", "unknown key 'of'"),
        ("{of: a, null: 1}", "ANN116", "true or false"),
        ("{of: a, in: x}", "ANN116", "a list"),
        ("{of: a, is: str}", "ANN116", "one of text"),
        ("{of: a, lt: null}", "ANN116", "a number or text"),
        ("{of: a, starts: 5}", "ANN116", "needs text"),
        ("{of: a, matches: '('}", "ANN116", "no regular expression"),
    ],
)
def test_a_wrong_condition_is_told(text, code, part):
    problems = problems_in(text, parse_condition)
    assert [p.code for p in problems] == [code]
    assert part in problems[0].message


def test_all_mistakes_of_an_expression_are_told_at_once():
    text = "{if: {of: 'a..b', eq: 1}, then: {mapp: a}, else: {text: '{'}}"
    assert [p.code for p in problems_in(text)] == ["ANN111", "ANN110", "ANN114"]


def test_a_misspelt_form_gets_the_nearest_names():
    assert problems_in("{concatt: [a]}")[0].hint == "Did you mean 'concat' or 'count' or 'const'?"
