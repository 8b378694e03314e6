"""What counts as the same content, and what does not."""

import pytest

from pipeline.examples.overlap.content import compared_row, reverse_complement, squeeze
from pipeline.types import TaskExample


def row(kind="classification", *, choices=None, **inputs):
    example = TaskExample(
        key="t/train/0", task="t", split="train", inputs=inputs, target=None, choices=choices
    )
    return compared_row(example, kind)


@pytest.mark.parametrize(
    "copy",
    [
        "DOES IT HURT?",
        "  does\n it\thurt ",
        "“Does it — hurt”…",
        "D\uff4fes it hurt?",  # a full-width letter
        "Does it hu\u00adrt?",  # a soft hyphen
    ],
)
def test_spelling_that_a_copy_may_change_does_not_count(copy):
    assert row(text=copy).digest == row(text="Does it hurt?").digest


def test_words_and_their_text_are_the_same_content():
    tokens = ["I", "do", "n't", "know", "(", "yet", ")", "."]
    assert (
        row("token_classification", tokens=tokens).digest == row(text="I don't know (yet).").digest
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Does it hurt?", "Does it hurt now?"),
        ("3 + 4", "3 - 4"),
        ("1.5 * 2", "15 * 2"),
        (":-)", ":-("),
        ("कि", "का"),
        ("我不知道", "我知道"),
    ],
)
def test_what_carries_meaning_counts(first, second):
    assert row(text=first).digest != row(text=second).digest


def test_punctuation_does_not_count_in_text_with_numbers_in_it():
    assert (
        row(text="He ran 10,000 m in 30 min.").digest
        == row(text="he ran 10 000 m in 30 min").digest
    )


def test_the_order_of_inputs_does_not_count():
    assert (
        row("pair_classification", text_a="One two.", text_b="Three.").digest
        == row("pair_classification", text_a="Three.", text_b="One two.").digest
    )


def test_of_a_call_only_the_request_is_compared():
    with_functions = row("function_calling", query="Add 1 and 2", functions=[{"name": "add"}])
    conversation = [
        {"role": "system", "content": "You call functions."},
        {"role": "user", "content": "add 1 and 2!"},
    ]
    assert with_functions.digest == row("function_calling", query=conversation).digest
    assert with_functions.digest == row(text="Add 1 and 2").digest


def test_options_count_only_where_the_question_alone_tells_nothing():
    def asked(question, *choices):
        return row("multiple_choice", question=question, choices=choices).digest

    assert asked("Which is true?", "a", "b") != asked("Which is true?", "a", "c")
    assert asked("Which is true?", "a", "b") == asked("Which is true?", "b", "a")
    long = "Which of these rivers flows through the capital of Austria?"
    assert asked(long, "a", "b") == asked(long, "a", "c")


def test_both_strands_of_dna_are_one_sequence_and_case_does_not_count():
    sequence = "ACGTTGCAAAGGCT"
    other = reverse_complement(sequence.encode()).decode()
    assert other == "AGCCTTTGCAACGT"
    rows = [
        row("dna_classification", sequence=text) for text in (sequence, other, sequence.lower())
    ]
    assert len({each.digest for each in rows}) == 1
    assert row("dna_classification", sequence=sequence[::-1]).digest != rows[0].digest


def test_dna_is_known_by_its_letters_whatever_the_kind_of_task():
    sequence = "ACGTTGCAAAGGCTACGTTGCAAAGGCT"
    as_text, as_dna = row(text=sequence), row("dna_classification", sequence=sequence)
    assert as_text.digest == as_dna.digest
    assert not squeeze("Attaca cat tag gat").is_dna


@pytest.mark.parametrize("inputs", [{}, {"text": ""}, {"text": " \n"}, {"text": None}])
def test_a_row_without_content_is_equal_to_nothing(inputs):
    assert row(**inputs).digest == b""
