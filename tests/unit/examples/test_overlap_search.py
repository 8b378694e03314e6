"""Copies are found however they were changed; clean rows are not blamed."""

import pytest

from benchmarks.planted_rows import make_sequences, make_texts, plant
from pipeline.examples.overlap.content import compared_row
from pipeline.examples.overlap.index import MAX_ROWS_PER_PART, IndexBuilder
from pipeline.examples.overlap.search import search
from pipeline.types import TaskExample


def row(key="", kind="classification", **inputs):
    return compared_row(
        TaskExample(key=key, task="t", split="train", inputs=inputs, target=None), kind
    )


def index_of(rows):
    builder = IndexBuilder()
    builder.add(rows, 0)
    return builder.build()


def found(evaluated, training):
    """Return, by position of the training row, which evaluated rows it repeats, and how."""
    index = index_of(evaluated)
    return {
        match.position: {index.rows[n].key: "exact" for n in match.exact}
        | {index.rows[n].key: "near" for n in match.near}
        for match in search(index, training)
    }


@pytest.mark.parametrize(("make", "is_dna"), [(make_texts, False), (make_sequences, True)])
def test_planted_copies_are_found_and_clean_rows_are_not_blamed(make, is_dna):
    name, kind = ("sequence", "dna_classification") if is_dna else ("text", "classification")

    def rows(texts):
        return [row(str(n), kind, **{name: text}) for n, text in enumerate(texts)]

    sources, clean = make(1500, seed=11), make(4000, seed=12)
    planted = plant(sources, 1000, is_dna=is_dna, seed=13)
    hits = found(rows(sources), rows([copy.text for copy in planted] + clean))
    missed = [
        copy.change
        for number, copy in enumerate(planted)
        if str(copy.source) not in hits.get(number, {})
    ]
    assert len(missed) <= 10, missed
    assert set(missed).isdisjoint({"none", "case", "blanks", "punctuation", "other strand"})
    blamed = [number for number in hits if number >= len(planted)]
    assert len(blamed) <= 4, [clean[number - len(planted)] for number in blamed]


def test_equal_rows_are_exact_and_changed_rows_are_near():
    text = "The patient was given two grams of paracetamol and slept until the morning."
    hits = found([row("e", text=text)], [row(text=text.upper()), row(text=text + " Then he left.")])
    assert hits == {0: {"e": "exact"}, 1: {"e": "near"}}


def test_a_shared_premise_with_another_hypothesis_is_no_copy():
    premise = "A man in a blue shirt is standing on a ladder cleaning a window."
    evaluated = [row("e", text_a=premise, text_b="Nobody is outside, the street lies empty.")]
    other = row(text_a=premise, text_b="A person works high above the ground.")
    assert found(evaluated, [other]) == {}
    assert found(evaluated, [row(text_a=premise, text_b="Nobody is outside, street lies empty")])


def test_all_parts_may_stand_in_one_longer_text():
    parts = {
        "context": "Oslo is the capital of Norway and lies at the end of a fjord.",
        "question": "At the end of what does the capital of Norway lie?",
    }
    joined = f"Passage: {parts['context']} Question: {parts['question']} Think first."
    assert found([row("e", **parts)], [row(text=joined)]) == {0: {"e": "near"}}


def test_a_question_that_many_rows_share_is_not_compared():
    question = "Does this sentence describe sustained growth of the cells in question?"
    texts = make_texts(2 * MAX_ROWS_PER_PART + 2, seed=5)
    evaluated = [row(str(n), text=text, question=question) for n, text in enumerate(texts)]
    new = [row(text=text, question=question) for text in make_texts(50, seed=6)]
    assert found(evaluated, new) == {}
    assert found(evaluated, [row(text=texts[3] + " Indeed.", question=question)]) == {
        0: {"3": "near"}
    }


def test_wording_that_many_rows_share_is_no_sign_of_a_copy():
    frame = "Please set an alarm for {} o'clock tomorrow in the morning and tell my brother"
    evaluated = [row(str(n), text=frame.format(n)) for n in range(60)]
    hits = found(evaluated, [row(text=frame.format(99)), row(text=frame.format(7))])
    assert hits == {1: {"7": "exact"}}


def test_a_long_document_and_its_copy_inside_another_are_found_by_a_sample():
    document, other = (" ".join(make_texts(60, seed=seed)) for seed in (1, 2))
    assert found([row("e", text=document)], [row(text=other + document)]) == {0: {"e": "near"}}
    assert found([row("e", text=document)], [row(text=other)]) == {}


def test_a_piece_of_an_evaluated_document_is_found():
    document = " ".join(make_texts(12, seed=1))
    piece = document[: len(document) * 3 // 10]
    assert found([row("e", text=document)], [row(text=piece)]) == {0: {"e": "near"}}


def test_short_rows_are_found_when_they_are_the_same_and_counted_as_such():
    index = index_of(
        [
            row("e", text="How are you?"),
            row("f", text="x" * 5 + "A longer text than that one, of some words."),
        ]
    )
    assert index.num_only_exact == 1
    (match,) = search(index, [row(text="how are you"), row(text="Well, how are you today?")])
    assert (match.position, index.rows[match.exact[0]].key) == (0, "e")


def test_nothing_is_found_in_nothing():
    assert found([], [row(text="Some text that stands alone here.")]) == {}
    assert found([row("e", text=" ")], [row(text=" ")]) == {}
