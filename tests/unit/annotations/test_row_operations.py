import pytest

from pipeline.annotations.row_operations import OPERATIONS, parse_operations
from pipeline.yaml_reader import read_yaml


def problems_in(text):
    problems = []
    parse_operations(read_yaml(f"x: {text}").value["x"], ("rows",), problems)
    return [(p.code, p.loc[1:], p.message) for p in problems]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        "[{let: {a: b}}]",
        "[{where: {of: a, eq: 1}}]",
        "[{explode: a, as: b, history: c}]",
        "[{lookup: {as: a, file: d/f.jsonl, key: k, of: b, distractors: 3, missing: drop}}]",
        "[{pairs: {entities: a, relations: b, id: i, type: t, head: h, tail: u, none: no, "
        "head_types: [x], tail_types: [y], ordered: true, where: {of: head, null: false}}}]",
        "[{unique: a, conflict_of: b}]",
        "[{holdout: a}]",
        "[{split_by: a, validation: 0.1, test: 0.1, seed: 3}]",
        "[{split_by: a, validation: 0.1, from: train}]",
        "[{cap_per: a, max: 1}]",
    ],
)
def test_every_operation_is_read(text):
    assert problems_in(text) == []


@pytest.mark.parametrize(
    ("text", "code", "loc", "part"),
    [
        ("5", "ANN130", (), "a list of row operations"),
        ("[x]", "ANN130", (0,), "got text"),
        ("[{}]", "ANN130", (0,), "an operation such as"),
        ("[{wher: {}}]", "ANN131", (0, "wher"), "no row operation 'wher'"),
        ("[{split_by: a, test: 0.1, from: dev}]", "ANN132", (0, "from"), "one of train, val"),
        ("[{holdout: a, of: b}]", "ANN101", (0, "of"), "unknown key 'of'"),
        ("[{let: {}}]", "ANN132", (0, "let"), "a map from names"),
        ("[{let: {'a-b': c}}]", "ANN132", (0, "let", "a-b"), "letters, digits and _"),
        ("[{explode: a, as: 5}]", "ANN132", (0, "as"), "letters, digits and _"),
        ("[{lookup: f.jsonl}]", "ANN132", (0, "lookup"), "a map with as, file"),
        ("[{lookup: {as: a, file: f, key: k}}]", "ANN132", (0, "lookup"), "'of' is missing"),
        (
            "[{lookup: {as: a, file: ../f, key: k, of: b}}]",
            "ANN132",
            (0, "lookup", "file"),
            "relative path",
        ),
        (
            "[{lookup: {as: a, file: f, key: k, of: b, distractors: -1}}]",
            "ANN132",
            (0, "lookup", "distractors"),
            "whole number",
        ),
        (
            "[{lookup: {as: a, file: f, key: k, of: b, missing: keep}}]",
            "ANN132",
            (0, "lookup", "missing"),
            "error, skip or drop",
        ),
        (
            "[{pairs: {entities: a, relations: b, head_types: x}}]",
            "ANN132",
            (0, "pairs", "head_types"),
            "a list of entity types",
        ),
        (
            "[{pairs: {entities: a, relations: b, ordered: 1}}]",
            "ANN132",
            (0, "pairs", "ordered"),
            "true or false",
        ),
        ("[{split_by: a}]", "ANN132", (0,), "a share above 0"),
        ("[{split_by: a, test: 1}]", "ANN132", (0, "test"), "from 0 up to 1"),
        ("[{split_by: a, test: 0.6, validation: 0.5}]", "ANN132", (0,), "below 1"),
        ("[{cap_per: a}]", "ANN132", (0,), "at least 1"),
    ],
)
def test_a_wrong_operation_is_told_with_its_place(text, code, loc, part):
    found = problems_in(text)
    assert (code, loc) in [entry[:2] for entry in found]
    assert any(part in entry[2] for entry in found)


def test_operations_have_names_that_differ_from_their_options():
    options = {key for rule in OPERATIONS.values() for key in rule.keys}
    assert not options & set(OPERATIONS)
