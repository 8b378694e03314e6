"""Every generator: the columns of the public dataset, and answers that follow from the row."""

import ast
import json
import random
import re
from collections import Counter

import pytest

from pipeline.sources.generated import dna, entities, functions, intents, questions

NUM_ROWS = 120


def rows_of(make, side="train"):
    return make(side, NUM_ROWS, random.Random(5))


def test_disease_rows_tag_exactly_the_disease_words():
    for row in rows_of(entities.disease_rows):
        assert list(row) == ["id", "tokens", "ner_tags"]
        marked = [word for word, tag in zip(row["tokens"], row["ner_tags"], strict=True) if tag]
        text = " ".join(row["tokens"])
        found = re.findall(r"[a-z]+(?:sis|tis|mia|xia)|[a-z]+ (?:syndrome|disease|fever)", text)
        assert " ".join(marked) == " ".join(found)


def test_some_sentences_hold_no_disease_and_some_hold_several():
    counts = Counter(row["ner_tags"].count(1) for row in rows_of(entities.disease_rows))
    assert set(counts) == {0, 1, 2, 3}


def test_an_inside_tag_follows_a_tag_of_its_own_type():
    allowed = {3: {2, 3}, 4: {1, 4}}
    for row in rows_of(entities.chemical_disease_rows):
        assert list(row) == ["tokens", "tags"]
        for before, tag in zip([0, *row["tags"]], row["tags"], strict=False):
            assert tag not in allowed or before in allowed[tag]


def test_a_relation_text_marks_one_protein_and_one_chemical():
    for row in rows_of(entities.relation_rows):
        assert list(row) == ["text", "label", "metadata"]
        assert row["metadata"] == []
        assert len(re.findall(r"<< [a-z]+(?:nase|zyme|sin|cor) >>", row["text"])) == 1
        assert len(re.findall(r"\[\[ [a-z ]+ \]\]", row["text"])) == 1


@pytest.mark.parametrize(
    ("make", "column", "num_labels"),
    [
        (entities.relation_rows, "label", 6),
        (questions.paper_rows, "final_decision", 3),
        (questions.question_pair_rows, "value", 2),
        (intents.intent_rows, "intent", 12),
    ],
)
def test_all_labels_are_equally_frequent(make, column, num_labels):
    counts = Counter(row[column] for row in rows_of(make))
    assert len(counts) == num_labels
    assert set(counts.values()) == {NUM_ROWS // num_labels}


def test_the_decision_follows_from_the_finding_about_the_drug_asked_for():
    words = {"yes": r"reduced|was effective|clearly", "no": r"did not|had no|failed"}
    words["maybe"] = r"gave mixed|may help|needs more"
    for row in rows_of(questions.paper_rows, "once"):
        drug = re.search(r"[a-z]+(?:zine|zol|cin|xide)", row["question"])[0]
        finding = words[row["final_decision"]]
        assert re.search(rf"\b{drug} (?:{finding})", row["context"]["contexts"][1])
        assert row["context"]["reasoning_free_pred"] == list(row["final_decision"])


NAME = r"[a-z]+(?:zine|zol|cin|xide|sis|tis|mia|xia)\b"


def test_no_name_occurs_in_two_papers():
    names = [
        set(re.findall(NAME, json.dumps(row["context"])))
        for row in rows_of(questions.paper_rows, "once")
    ]
    assert sum(map(len, names)) == len(set().union(*names))


def test_questions_match_when_disease_and_aspect_match():
    request_of = {
        wording: aspect for aspect, (many, _) in questions.ASPECTS.items() for wording in many
    }
    for row in rows_of(questions.question_pair_rows):
        disease = re.search(r"[a-z]+(?:sis|tis|mia|xia)", row["faq"])[0]
        aspect = request_of[row["chq"].split(" . ")[1]]
        expected = questions.ASPECTS[aspect][1].format(disease=disease) == row["faq"]
        assert row["value"] == ("true" if expected and disease in row["chq"] else "false")


def test_intents_use_the_151_names_in_the_order_of_the_hub():
    assert len(set(intents.INTENT_NAMES)) == 151
    assert [intents.INTENT_NAMES[index] for index in (0, 5, 42, 150)] == [
        "restaurant_reviews",
        "weather",
        "oos",
        "change_volume",
    ]
    assert set(intents.REQUESTS) <= set(intents.INTENT_NAMES)


def test_a_call_is_answered_by_the_library_and_the_request():
    for row in rows_of(functions.xlam_rows, "once"):
        assert list(row) == ["id", "query", "answers", "tools"]
        (call,) = json.loads(row["answers"])
        (tool,) = [tool for tool in json.loads(row["tools"]) if tool["name"] == call["name"]]
        thing, action = call["name"].split("_")
        assert thing in row["query"]
        assert action in row["query"]
        for name, value in call["arguments"].items():
            assert re.search(rf"\b{name}[ =:]+{value}\b", row["query"])
        required = [
            name for name, spec in tool["parameters"].items() if "optional" not in spec["type"]
        ]
        assert list(call["arguments"]) == required
        assert 1 <= len(required) <= 2


def test_no_function_occurs_in_two_requests():
    rows = rows_of(functions.xlam_rows, "once")
    names = [tool["name"] for row in rows for tool in json.loads(row["tools"])]
    assert len(names) == len(set(names)) == NUM_ROWS * functions.LIBRARY_SIZE


def test_bfcl_rows_accept_the_values_of_the_request():
    rows, answers = functions.bfcl_rows("test", NUM_ROWS, random.Random(6))
    for row, answer in zip(rows, answers, strict=True):
        assert row["id"] == answer["id"]
        (spec,) = row["function"]
        (accepted,) = answer["ground_truth"]
        assert list(accepted) == [spec["name"]]
        assert spec["parameters"]["type"] == "dict"
        assert list(accepted[spec["name"]]) == list(spec["parameters"]["properties"])
        for name in spec["parameters"]["required"]:
            (value,) = accepted[spec["name"]][name]
            assert str(value) in row["question"][0][0]["content"]
            type_name = spec["parameters"]["properties"][name]["type"]
            assert isinstance(value, {"string": str, "integer": int}[type_name])


SIGNALS = {
    dna.promoter_tata: lambda bases: int("TATAAA" in bases),
    dna.histone_mark: lambda bases: int("TGACGTCA" in bases),
    dna.splice_site: lambda bases: (
        0 if bases[19:30] == "TTTCTTTTCAG" else 1 if bases[30:36] == "GTAAGT" else 2
    ),
    dna.promoter_without_tata: lambda bases: int("GGGCGG" in bases),
}


@pytest.mark.parametrize("make", SIGNALS, ids=lambda make: make.__name__)
def test_the_planted_signal_decides_the_class(make):
    num_classes = 3 if make is dna.splice_site else 2
    rows = dna.sequence_rows(make, NUM_ROWS, random.Random(7), num_classes=num_classes)
    assert {row["label"] for row in rows} == set(range(num_classes))
    for row in rows:
        assert re.fullmatch("[ACGT]{60}", row["sequence"])
        assert SIGNALS[make](row["sequence"]) == row["label"]


def test_the_histone_motif_reads_the_same_on_both_strands():
    complement = str.maketrans("ACGT", "TGCA")
    motif = dna.NUCLEOSOME_MOTIF
    assert motif.translate(complement)[::-1] == motif


def test_functions_are_named_like_python_identifiers():
    for row in rows_of(functions.xlam_rows, "once"):
        for tool in json.loads(row["tools"]):
            assert isinstance(ast.parse(tool["name"], mode="eval").body, ast.Name)


def test_a_needle_stands_once_and_no_other_motif_does():
    rows = dna.sequence_rows(dna.needle, 400, random.Random(3), num_classes=len(dna.NEEDLES))
    for row in rows:
        counts = [len(re.findall(f"(?={motif})", row["sequence"])) for motif in dna.NEEDLES]
        assert counts == [int(label == row["label"]) for label in range(len(dna.NEEDLES))]
        assert len(row["sequence"]) == dna.HAYSTACK_LENGTH
    assert set(Counter(row["label"] for row in rows).values()) == {100}
