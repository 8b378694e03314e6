from collections import Counter

import pytest

from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.row_hashes import hash_fraction, key_hash
from pipeline.errors import AnnotationError


@pytest.fixture
def run(annotate):
    """Run the operations of `rows:` over rows per split; return names and rows per split."""

    def go(rows, data, split="train", side_file=None, wanted=None):
        annotation = annotate(rows=rows)
        pipeline = RowPipeline(annotation, side_file=side_file)
        splits = data if isinstance(data, dict) else {"train": data}
        found = list(pipeline.run(split, lambda s: enumerate(splits.get(s, []))))
        go.skipped = dict(pipeline.skipped)
        if wanted is None:
            return [name for name, _ in found]
        return [row.get(wanted) for _, row in found]

    return go


def rows_of(**columns):
    return [
        dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)
    ]


def test_without_operations_rows_pass_unchanged(run):
    assert run("[]", rows_of(a=[1, 2])) == ["0", "1"]


def test_let_binds_names_that_later_names_may_use(run):
    rows = "[{let: {up: {clean: a, steps: [upper]}, twice: {join: [up, up], sep: ''}}}]"
    assert run(rows, rows_of(a=["x", None, "y"]), wanted="twice") == ["XX", "YY"]
    assert run.skipped == {"rows[0]: null where text is needed": 1}


def test_where_keeps_what_meets_it_and_counts_the_rest(run):
    assert run("[{where: {of: label, ne: -1}}]", rows_of(label=[0, -1, 1])) == ["0", "2"]
    assert run.skipped == {"rows[0]: where": 1}


def test_explode_gives_one_row_per_element_with_history(run):
    data = [{"turns": ["a", "b", "c"]}, {"turns": []}, {"turns": None}]
    rows = "[{explode: turns, as: turn, history: before}]"
    assert run(rows, data) == ["0.0", "0.1", "0.2"]
    assert run(rows, data, wanted="turn") == ["a", "b", "c"]
    assert run(rows, data, wanted="before") == [[], ["a"], ["a", "b"]]
    assert run(rows, data, wanted="index") == [0, 1, 2]


def test_explode_takes_literal_bindings_and_structs_of_lists(run):
    rows = "[{explode: {const: [{q: one}, {q: two}]}}]"
    assert run(rows, [{}], wanted="item") == [{"q": "one"}, {"q": "two"}]
    data = [{"qas": {"q": ["x", "y"], "a": [1, 2]}}]
    expected = [{"q": "x", "a": 1}, {"q": "y", "a": 2}]
    assert run("[{explode: qas}]", data, wanted="item") == expected


TOOLS = [{"name": f"t{i}", "id": i} for i in range(8)]


def test_lookup_binds_rows_in_the_order_of_the_values(run):
    rows = "[{lookup: {as: tools, file: t.jsonl, key: name, of: 'calls[*].api'}}]"
    data = [{"calls": [{"api": "t5"}, {"api": "t2"}, {"api": "t5"}]}]
    (found,) = run(rows, data, side_file=lambda _: TOOLS, wanted="tools")
    assert [tool["name"] for tool in found] == ["t5", "t2"]


def test_lookup_draws_stable_distractors(run):
    rows = "[{lookup: {as: tools, file: t.jsonl, key: name, of: 'calls[*].api', distractors: 3}}]"
    data = [{"calls": [{"api": "t5"}, {"api": "t2"}, {"api": "t5"}]}] * 2
    first, second = run(rows, data, side_file=lambda _: TOOLS, wanted="tools")
    names = [tool["name"] for tool in first]
    assert {"t5", "t2"} < set(names)
    assert len(names) == len(set(names)) == 5
    again = run(rows, data, side_file=lambda _: TOOLS, wanted="tools")
    assert again == [first, second]
    assert first != second, "each row draws its own distractors"


def test_the_order_of_looked_up_rows_does_not_tell_which_were_asked_for(run):
    rows = "[{lookup: {as: tools, file: t.jsonl, key: name, of: 'calls[*].api', distractors: 3}}]"
    data = [{"calls": [{"api": "t5"}, {"api": "t2"}]}] * 300
    found = run(rows, data, side_file=lambda _: TOOLS, wanted="tools")
    orders = [[tool["name"] for tool in tools] for tools in found]
    for name in ("t5", "t2"):
        places = Counter(names.index(name) for names in orders)
        assert all(30 <= places[place] <= 90 for place in range(5)), places
    in_order = sum(names.index("t5") < names.index("t2") for names in orders)
    assert 100 <= in_order <= 200


def test_lookup_takes_all_rows_when_more_distractors_are_asked_for(run):
    rows = "[{lookup: {as: tools, file: t.jsonl, key: id, of: [wanted], distractors: 100}}]"
    (found,) = run(rows, [{"wanted": 3}], side_file=lambda _: TOOLS, wanted="tools")
    assert sorted(tool["id"] for tool in found) == list(range(8))


def test_lookup_without_a_row_does_what_missing_says(run):
    rows = "[{{lookup: {{as: tools, file: t.jsonl, key: name, of: [a], missing: {}}}}}]"
    data = [{"a": "nope"}, {"a": "t1"}]
    side = lambda _: TOOLS  # noqa: E731
    assert run(rows.format("skip"), data, side_file=side) == ["1"]
    assert run(rows.format("drop"), data, side_file=side, wanted="tools") == [[], [TOOLS[1]]]
    with pytest.raises(AnnotationError, match=r"rows\[0\]: row 0: .*'nope'.*ANN211"):
        run(rows.format("error"), data, side_file=side)


def test_lookup_needs_a_file_with_the_key(run):
    rows = "[{lookup: {as: tools, file: t.jsonl, key: nope, of: [a]}}]"
    with pytest.raises(AnnotationError, match="ANN210"):
        run(rows, [], side_file=lambda _: TOOLS)
    with pytest.raises(AnnotationError, match="ANN209"):
        run(rows, [])


DOCUMENT = {
    "entities": [
        {"id": "T1", "type": "drug", "text": "a"},
        {"id": "T2", "type": "drug", "text": "b"},
        {"id": "T3", "type": "gene", "text": "c"},
    ],
    "relations": [
        {"id": "R1", "type": "effect", "arg1_id": "T2", "arg2_id": "T1"},
        {"id": "R2", "type": "odd", "arg1_id": "T1", "arg2_id": "T9"},
    ],
}
PAIRS = "[{{pairs: {{entities: entities, relations: relations{}}}}}]"


def pairs_of(run, options):
    annotated = PAIRS.format(options)
    heads = run(annotated, [DOCUMENT], wanted="head")
    tails = run(annotated, [DOCUMENT], wanted="tail")
    relations = run(annotated, [DOCUMENT], wanted="relation")
    return [(h["id"], t["id"], r) for h, t, r in zip(heads, tails, relations, strict=True)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("", [("T2", "T1", "effect")]),
        (
            ", none: no",
            [("T2", "T1", "effect"), ("T1", "T3", "no"), ("T2", "T3", "no")],
        ),
        (
            ", none: no, head_types: [gene], tail_types: [drug]",
            [("T3", "T1", "no"), ("T3", "T2", "no")],
        ),
        (
            ", none: no, ordered: true, head_types: [drug], tail_types: [drug]",
            [("T1", "T2", "no"), ("T2", "T1", "effect")],
        ),
        (", none: no, where: {of: head.text, eq: b}", [("T2", "T1", "effect"), ("T2", "T3", "no")]),
    ],
)
def test_pairs_gives_one_row_per_pair_of_entities(run, options, expected):
    assert pairs_of(run, options) == expected


def test_unique_keeps_the_first_and_lets_test_win(run):
    data = {
        "train": rows_of(t=["a", "b", "a", "c"]),
        "validation": rows_of(t=["b", "d"]),
        "test": rows_of(t=["d", "d", "e"]),
    }
    assert run("[{unique: t}]", data, wanted="t") == ["a", "c"]
    assert run.skipped == {"unique: repeated": 2}
    assert run("[{unique: t}]", data, "validation", wanted="t") == ["b"]
    assert run("[{unique: t}]", data, "test", wanted="t") == ["d", "e"]


def test_unique_drops_every_row_of_a_key_with_two_answers(run):
    data = {"train": rows_of(t=["a", "b"], y=[0, 1]), "test": rows_of(t=["a", "c"], y=[1, 1])}
    rows = "[{unique: t, conflict_of: y}]"
    assert run(rows, data, wanted="t") == ["b"]
    assert run.skipped == {"unique: conflict": 1}
    assert run(rows, data, "test", wanted="t") == ["c"]


def test_holdout_keeps_repeats_inside_a_split_only(run):
    data = {
        "train": rows_of(k=[1, 1, 2, 3]),
        "validation": rows_of(k=[2, 4, 4]),
        "test": rows_of(k=[3, 4]),
    }
    assert run("[{holdout: k}]", data, wanted="k") == [1, 1]
    assert run("[{holdout: k}]", data, "validation", wanted="k") == [2]
    assert run("[{holdout: k}]", data, "test", wanted="k") == [3, 4]


def test_holdout_sees_rows_as_the_operations_before_left_them(run):
    data = {"train": rows_of(k=[1, 2]), "test": rows_of(k=[1, -1])}
    rows = "[{where: {of: k, gt: 0}}, {holdout: k}]"
    assert run(rows, data, wanted="k") == [2]
    assert run("[{where: {of: k, lt: 2}}, {holdout: k}]", data, wanted="k") == []


def test_split_by_sends_each_key_to_one_split_for_good(run):
    data = {"train": rows_of(k=[i // 2 for i in range(2000)])}
    rows = "[{split_by: k, validation: 0.1, test: 0.2}]"
    parts = {s: run(rows, data, s, wanted="k") for s in ("train", "validation", "test")}
    sets = {split: set(keys) for split, keys in parts.items()}
    assert sum(len(keys) for keys in parts.values()) == 2000
    assert not (sets["train"] & sets["test"])
    assert not (sets["train"] & sets["validation"])
    assert not (sets["validation"] & sets["test"])
    assert 330 <= len(parts["test"]) <= 470
    assert 150 <= len(parts["validation"]) <= 250
    other = run(rows.replace("}]", ", seed: 1}]"), data, "test", wanted="k")
    assert set(other) != sets["test"]


def test_split_by_keeps_row_names_of_several_source_splits_apart(run):
    data = {"train": rows_of(k=[1]), "test": rows_of(k=[1])}
    rows = "[{split_by: k, test: 0.001}]"
    assert run(rows, data) == ["0", "test-0"]


def test_split_by_of_one_split_leaves_the_others_as_they_are(run):
    data = {"train": rows_of(k=list(range(500))), "test": rows_of(k=[7, 1000])}
    rows = "[{split_by: k, validation: 0.2, from: train}]"
    train, validation = (run(rows, data, s, wanted="k") for s in ("train", "validation"))
    assert sorted(train + validation) == list(range(500))
    assert 60 <= len(validation) <= 140
    assert run(rows, data, "test", wanted="k") == [7, 1000]
    assert run(rows, data, "test") == ["0", "1"]
    both = run(rows.replace("validation", "test"), data, "test")
    assert len(both) == len(set(both))
    assert both[:2] == ["0", "1"]


def test_cap_per_keeps_the_first_rows_of_each_key(run):
    data = rows_of(k=["a", "a", "b", "a", "b", None, None])
    assert run("[{cap_per: k, max: 1}]", data) == ["0", "2"]
    assert run.skipped == {"cap_per": 3, "key: null": 2}


@pytest.mark.parametrize(
    "operation", ["unique: k", "holdout: k", "split_by: k, test: 0.5", "cap_per: k, max: 9"]
)
def test_null_is_no_key_that_rows_share(run, operation):
    data = {"train": rows_of(k=[None, None, 0, ""]), "test": rows_of(k=[None])}
    for split in ("train", "test"):
        assert None not in run(f"[{{{operation}}}]", data, split, wanted="k")
        assert run.skipped["key: null"] >= 1


def test_a_null_value_conflicts_with_another(run):
    data = rows_of(k=["a", "a", "b"], y=[None, "yes", None])
    assert run("[{unique: k, conflict_of: y}]", data) == ["2"]
    assert run.skipped == {"unique: conflict": 2}


def test_a_row_without_a_key_is_skipped_and_counted(run):
    rows = "[{unique: {clean: k, steps: [lower]}}]"
    assert run(rows, rows_of(k=["A", None, "a"])) == ["0"]
    assert run.skipped == {"key: null where text is needed": 1, "unique: repeated": 1}


def test_operations_run_in_their_order(run):
    data = [{"xs": [1, 1, 2]}]
    assert run("[{explode: xs}, {unique: item}]", data, wanted="item") == [1, 2]
    assert run("[{unique: xs}, {explode: xs}]", data, wanted="item") == [1, 1, 2]


def test_only_row_by_row_pipelines_expand_single_rows(annotate):
    pipeline = RowPipeline(annotate(rows="[{explode: xs}]"))
    assert [name for name, _ in pipeline.expand(7, {"xs": [1, 2]})] == ["7.0", "7.1"]
    with pytest.raises(ValueError, match="compares rows"):
        RowPipeline(annotate(rows="[{unique: a}]")).expand(0, {})


def test_errors_name_the_operation_and_its_place(run):
    rows = "[{let: {x: {map: a, to: {b: c}}}}]"
    with pytest.raises(AnnotationError) as caught:
        run(rows, rows_of(a=["zzz"]))
    assert str(caught.value).startswith("f.yaml:9:8: rows[0]: row 0: `map` does not know")


def test_hashes_are_the_same_on_every_machine():
    # First 12 bytes of sha256('{"a": "\\u00e9", "b": 1}').
    assert key_hash({"b": 1, "a": "é"}).hex() == "d73913efb309b5986cdc9592"
    # sha256('') starts with e3b0c442 98fc1c14, read as a fraction of 2**64.
    assert hash_fraction(b"") == 0xE3B0C44298FC1C14 / 2**64
