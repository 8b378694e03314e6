"""Splits that annotations cut themselves, on real rows: no source in two of them."""

from __future__ import annotations

import collections

import pytest
from sklearn.metrics import f1_score

from eval.metrics import METRICS
from pipeline.annotations.catalogue import load_catalogue
from pipeline.examples import load_examples
from pipeline.types import SPLITS
from tests.integration.test_real_rows import ROOT, lines_of

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not (ROOT / "bigbio").is_dir(), reason="no mirror of public data"),
]
CATALOGUE = load_catalogue()


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Yield a loader of whole splits; they are made once for all tests here."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TASKLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))

    def examples_of(task, split):
        annotation = CATALOGUE.get(task)
        whole = annotation.model_copy(update={"cap": type(annotation.cap)()})
        return load_examples(whole, split, data_root=ROOT)

    yield examples_of
    patch.undo()


def places(load, task, source_of):
    """Return the splits in which each source has rows."""
    found = collections.defaultdict(set)
    for split in SPLITS:
        for example in load(task, split):
            found[source_of(example)].add(split)
    return found


@pytest.mark.parametrize(
    ("task", "source_of"),
    [
        ("covid_qa", lambda example: " ".join(example.inputs["context"].split())),
        ("pubmedqa", lambda example: example.inputs["context"]),
        ("pubmedqa/sections", lambda example: example.cluster),
        ("box/DDI", lambda example: example.cluster),
        ("manuals/paraphrase", lambda example: example.inputs["text_a"]),
    ],
)
def test_no_source_has_rows_in_two_splits(load, task, source_of):
    found = places(load, task, source_of)
    assert {split for splits in found.values() for split in splits} == set(SPLITS)
    assert [source for source, splits in found.items() if len(splits) > 1] == []


def test_pairs_of_a_sentence_are_not_in_train_and_validation(load):
    found = places(load, "ddi2013/pairs", lambda example: example.inputs["text"])
    assert [s for s, splits in found.items() if {"train", "validation"} <= splits] == []
    assert sum("validation" in splits for splits in found.values()) > 50


def test_tasks_of_the_same_abstracts_split_them_alike(load):
    questions = places(load, "pubmedqa", lambda example: example.inputs["text"])
    assert questions == places(load, "box/PubMed", lambda example: example.inputs["question"])
    rows = lines_of("qiaojin/PubMedQA/pqa_labeled/train.jsonl")
    question_of = {str(row["pubid"]): row["question"] for row in rows}
    sections = places(load, "pubmedqa/sections", lambda example: example.cluster.strip("\0"))
    assert len(sections) > 400
    for pubid, splits in sections.items():
        assert splits == questions[question_of[pubid]]


def test_each_prompt_on_two_drugs_marks_both_and_has_one_answer(load):
    answers = collections.defaultdict(set)
    for split in SPLITS:
        for example in load("box/DDI", split):
            text = example.inputs["text"]
            for name, mention in (("DRUG1", "head"), ("DRUG2", "tail")):
                marked = text.partition(f"[{name}] ")[2].partition(f" [/{name}]")[0]
                assert all(word in marked for word in example.inputs[mention].split())
            assert example.inputs["head"].lower() != example.inputs["tail"].lower()
            answers[text].add(example.target)
    assert all(len(found) == 1 for found in answers.values())


def test_nearly_all_stated_interactions_stand_in_one_sentence(load):
    stated = sum(
        len(row["relations"])
        for split in ("train", "test")
        for row in lines_of(f"bigbio/ddi_corpus/ddi_corpus_bigbio_kb/{split}.jsonl")
    )
    kept = sum(example.target == "true" for split in SPLITS for example in load("box/DDI", split))
    assert kept >= 0.97 * stated


def test_most_sentences_are_those_of_the_corpus_itself(load):
    """The XML of the corpus has sentences; its other layout has documents."""
    sentences = {
        " ".join(row["sentence"].split())
        for split in ("train", "test")
        for row in lines_of(f"isegura/ddi2013_pairs/{split}.jsonl")
    }
    documents = [
        " ".join(row["passages"][0]["text"][0].split())
        for split in ("train", "test")
        for row in lines_of(f"bigbio/ddi_corpus/ddi_corpus_bigbio_kb/{split}.jsonl")
    ]
    known = {s for s in sentences if any(s in document for document in documents)}
    found = set()
    for split in SPLITS:
        for example in load("box/DDI", split):
            text = example.inputs["text"]
            for name in ("DRUG1", "DRUG2"):
                text = text.replace(f"[{name}] ", "").replace(f" [/{name}]", "")
            found.add(text)
    assert len(known) > 300
    assert len(known & found) >= 0.75 * len(known)


def test_always_the_negative_label_earns_nothing(load):
    spec = CATALOGUE.get("box/DDI").spec()
    targets = [example.target for example in load("box/DDI", "test")]
    metric = METRICS[spec.metrics[0]]
    assert metric.corpus([("false", target) for target in targets], spec) == 0.0
    guesses = ["true" if number % 3 else "false" for number in range(len(targets))]
    expected = f1_score(targets, guesses, pos_label="true", average="binary")
    assert metric.corpus(list(zip(guesses, targets, strict=True)), spec) == pytest.approx(expected)
