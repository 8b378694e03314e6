"""Rules by which recorded facts become annotations."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.annotations.paths import parse_path
from scripts.build_general_catalogue import build, file_name, why_left_out
from scripts.general_catalogue import known
from scripts.general_catalogue.annotate import annotate
from scripts.general_catalogue.invent import CannotInvent, Inventor
from scripts.general_catalogue.placing import licence, place, spelled
from scripts.general_catalogue.render import yaml_text
from scripts.general_catalogue.translate import (
    Untranslatable,
    condition,
    expression,
    operations,
    path,
)
from scripts.general_catalogue.wording import wording


def facts(**changes: Any) -> dict[str, Any]:
    return {
        "id": ["moods"],
        "annotation": "moods",
        "catalog": "english",
        "task_type": "Classification",
        "dataset": "someone/moods",
        "splits": "default",
        "complete_splits": True,
        "fields": {"sentence1": "text", "labels": "mood"},
        "license": "cc-by-4.0, CC BY 4.0 (DPI)",
        "license_use": "commercial",
        **changes,
    }


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ("text", "text"),
        ("answers.text[0]", "answers.text[0]"),
        ("answer-Y", "answer-Y"),
        ("Premise 1", '"Premise 1"'),
        (" sent1 ", '" sent1 "'),
        ("$choices_list", "$choices"),
    ],
)
def test_a_column_becomes_a_path_in_quotes_where_needed(column: str, expected: str) -> None:
    assert path(column) == expected
    parse_path(expected)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"const": 0}, 0),
        ({"const": "a"}, {"const": "a"}),
        (
            {"find": "key", "in": "ABC", "letters": True},
            {"find": "key", "in": {"const": ["A", "B", "C"]}},
        ),
        ({"add": "label", "by": -1}, {"clean": "label", "steps": [{"add": -1}]}),
        (
            {"clean": "score", "steps": [{"scale": "1/5"}, "float"]},
            {"clean": "score", "steps": [{"scale": 0.2}, "float"]},
        ),
        (
            {"clean": "a", "steps": ["literal", "len"]},
            {"clean": {"function": "python_literal", "of": "a"}, "steps": ["len"]},
        ),
        (
            {"join": ["a", "b"], "sep": " ", "skip": [None], "strip": True},
            {"join": ["a", "b"], "skip": [None], "strip": True},
        ),
        (
            {"text": "goal: {goal}", "null_if": [None, ""]},
            {
                "if": {"all": [{"of": "goal", "null": False}, {"of": "goal", "not_in": [""]}]},
                "then": {"text": "goal: {goal}"},
            },
        ),
    ],
)
def test_expressions_are_translated(given: Any, expected: Any) -> None:
    assert expression(given) == expected


def test_an_unknown_form_is_refused_by_its_name() -> None:
    with pytest.raises(Untranslatable, match="code"):
        expression({"code": "whatever"})


def test_a_condition_on_tasksources_own_column_reads_the_source_column() -> None:
    found = condition({"of": "labels", "ne": -1}, {"labels": "gold"})
    assert found == {"of": "gold", "ne": -1}


def test_row_operations_keep_order_and_conflicts() -> None:
    given = facts(
        row_ops=[
            {"where": {"of": "mood", "in": "AB"}},
            {"unique": ["text"], "on_conflicting": "mood", "conflict": "drop"},
            {"shuffle": 0},
        ]
    )
    assert operations(given) == [
        {"where": {"of": "mood", "in": ["A", "B"]}},
        {"unique": "text", "conflict_of": "mood"},
    ]


def test_operations_in_words_are_refused() -> None:
    with pytest.raises(Untranslatable):
        operations(facts(row_ops=[{"where": "four conditions"}]))


def test_a_table_of_labels_stands_under_labels() -> None:
    given = facts(
        fields={"sentence1": "text", "labels": {"map": "mood", "to": ["sad", "glad"]}},
    )
    found = annotate(given)
    assert found["fields"] == {"text": "text", "target": "mood"}
    assert found["labels"] == ["sad", "glad"]
    assert found["splits"] == {"train": "train", "validation": {"take": 0.1, "from": "train"}}
    assert found["source"]["licence"] == "cc-by-4.0"
    assert found["source"]["commercial"] == "yes"


def test_labels_that_read_as_other_values_are_quoted() -> None:
    text = yaml_text({"labels": ["no", "yes", "1", "null", "plain"]})
    assert text == "labels: ['no', 'yes', '1', 'null', plain]\n"


def test_a_constant_right_option_needs_a_hashed_order() -> None:
    given = facts(
        task_type="MultipleChoice",
        fields={"inputs": "q", "choices": ["good", "bad"], "labels": {"const": 0}},
    )
    found = annotate(given)
    assert found["fields"]["target"] == 0
    assert found["settings"] == {"choice_order": "hashed"}


def test_votes_become_the_most_frequent_label() -> None:
    given = facts(
        task_type="SoftLabeling",
        fields={
            "sentence1": "text",
            "labels": "votes",
            "options": {"const": ["calm", "angry"]},
        },
        soft={"kind": "choice", "aggregation": "votes", "low": 0, "high": 1},
    )
    found = annotate(given)
    assert found["fields"] == {"text": "text", "target": "top[0]"}
    assert found["labels"] == ["calm", "angry"]
    assert found["rows"][1] == {"where": {"of": {"count": "top"}, "eq": 1}}


def test_mean_ratings_become_numbers() -> None:
    given = facts(
        task_type="SoftLabeling",
        fields={"sentence1": "a", "sentence2": "b", "labels": "score", "options": {"const": []}},
        soft={"kind": "score", "aggregation": "mean", "low": 1, "high": 5},
    )
    found = annotate(given)
    assert found["task"] == "regression"
    assert found["settings"] == {"minimum": 1.0, "maximum": 5.0}


def test_hub_addresses_become_a_hub_id_a_revision_and_files() -> None:
    address = "hf://datasets/a/b@refs%2Fconvert%2Fparquet/{config_name}/train/*.parquet"
    given = facts(
        id=["b/x", "b/y"],
        dataset="parquet",
        configs=["x", "y"],
        load={"data_files": {"train": address}},
    )
    task_id, parts, _ = place(given)
    assert task_id == "b/{config}"
    assert parts["source"]["hub"] == "a/b"
    assert parts["source"]["revision"] == "refs/convert/parquet"
    assert parts["source"]["data_files"] == {"train": "{config}/train/*.parquet"}
    assert parts["source"]["config"] == ["x", "y"]


def test_a_hidden_test_split_is_left_out() -> None:
    given = facts(id=["glue/rte"], dataset="nyu-mll/glue", configs="rte")
    assert place(given)[1]["splits"] == {"train": "train", "validation": "validation"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("unspecified", "unknown"),
        ("other", "other"),
        ("CC BY-SA 4.0 (DPI), MIT License (DPI)", "cc-by-sa-4.0 and mit"),
        ("apache-2.0 (original source)", "apache-2.0"),
    ],
)
def test_licences_are_one_line(text: str, expected: str) -> None:
    assert licence(text) == expected


def test_ids_and_file_names_hold_plain_letters() -> None:
    assert spelled("multiconer/Italian (IT)") == "multiconer/Italian-IT"
    assert file_name("race/{config}") == "race"


def test_tables_are_looked_up_by_whole_parts_of_an_id() -> None:
    table = {"logiqa": 1, "hh/": 2}
    assert known.starting(table, "logiqa") == 1
    assert known.starting(table, "logiqa/x") == 1
    assert known.starting(table, "logiqa-2.0-nli") is None
    assert known.starting(table, "hh/base") == 2


def test_what_needs_code_is_left_out_with_its_reason() -> None:
    assert why_left_out("multidogo/airline/intent") == known.LEFT_OUT["multidogo"]
    assert why_left_out("snli") is None


def test_wording_depends_on_the_id_first_and_on_the_labels_then() -> None:
    assert wording("sms_spam", "classification", None)[1] == "Is the message spam?"
    labels = ["entailment", "neutral", "contradiction"]
    assert wording("never-heard-of", "pair_classification", labels)[0] == "nli"


def test_an_invented_row_meets_the_conditions_and_has_the_label_asked_for() -> None:
    annotation = {
        "id": "x",
        "task": "classification",
        "source": {"hub": "a/b"},
        "rows": [{"where": {"of": "lang", "eq": "en"}}],
        "fields": {"text": {"text": "{a.b}: {c}"}, "target": "mood"},
        "labels": {"1": "sad", "2": "glad"},
    }
    row = Inventor(annotation, lambda column, number: f"t{number}", label=1).make()
    assert row == {"lang": "en", "mood": 2, "a": {"b": "t0"}, "c": "t1"}


def test_no_row_is_invented_for_labels_that_only_the_data_names() -> None:
    annotation = {
        "id": "x",
        "task": "classification",
        "source": {"hub": "a/b"},
        "fields": {"text": "a", "target": "mood"},
    }
    with pytest.raises(CannotInvent):
        Inventor(annotation, lambda column, number: "t").make()


def test_a_built_annotation_has_a_golden_row_and_says_so() -> None:
    given = facts(fields={"sentence1": "text", "labels": {"map": "mood", "to": ["sad", "glad"]}})
    (built,), left_out, without = build([given], {})
    assert built[1]["verified"] == "golden"
    assert built[1]["golden"][0]["example"]["target"] in {"sad", "glad"}
    assert left_out == {}
    assert without == {}


def test_an_id_that_is_written_by_hand_is_not_built_again() -> None:
    built, left_out, _ = build([facts()], {"moods": "moods.yaml"})
    assert built == []
    assert left_out == {"moods": "written by hand in moods.yaml"}
