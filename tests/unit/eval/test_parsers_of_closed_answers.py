"""Sixty outputs each for labels, options and label sets, labelled by hand."""

import pytest

from eval.parsers.labels import parse_label, parse_label_set, parse_option, parse_ranking
from pipeline.types import ParseFailure

BAD = "not_a_label"
LABELS = ("yes", "no", "maybe", "DDI-effect", "not given", "A", "a", "U.S.")

LABEL_CASES = [
    ("yes", "yes"),
    ("no", "no"),
    ("maybe", "maybe"),
    ("DDI-effect", "DDI-effect"),
    ("not given", "not given"),
    ("A", "A"),
    ("a", "a"),
    ("U.S.", "U.S."),
    ("Yes", "yes"),
    ("YES", "yes"),
    ("yEs", "yes"),
    ("ddi-effect", "DDI-effect"),
    ("DDI-EFFECT", "DDI-effect"),
    ("Not Given", "not given"),
    ("u.s.", "U.S."),
    ("yes.", "yes"),
    ("Yes.", "yes"),
    ("MAYBE.", "maybe"),
    (" yes", "yes"),
    ("yes ", "yes"),
    ("  yes  ", "yes"),
    ("\nyes", "yes"),
    ("yes\n", "yes"),
    ("\tyes\r\n", "yes"),
    ("yes .", "yes"),
    (" yes. ", "yes"),
    ("yes.\n", "yes"),
    ("not given.", "not given"),
    ("U.S..", "U.S."),
    ("A.", "A"),
    ("a.", "a"),
    ("", BAD),
    (" ", BAD),
    (".", BAD),
    ("yes..", BAD),
    ("yes!", BAD),
    ("yes,", BAD),
    ("yes;", BAD),
    ("yes no", BAD),
    ("yes, no", BAD),
    ("yes or no", BAD),
    ("yes\nno", BAD),
    ("yesno", BAD),
    ("yess", BAD),
    ("ye", BAD),
    ("y", BAD),
    ("not", BAD),
    ("not  given", BAD),
    ("notgiven", BAD),
    ("not_given", BAD),
    ("DDI effect", BAD),
    ("DDI", BAD),
    ("effect", BAD),
    ("'yes'", BAD),
    ('"yes"', BAD),
    ("<yes>", BAD),
    ("Answer: yes", BAD),
    ("The answer is yes", BAD),
    ("yes because of the dose", BAD),
    ("0", BAD),
    ("None", BAD),
    ("да", BAD),
    ("U.S", BAD),
]

OPTIONS = ("water", "dry ice", "B", "")
NO_OPTION = "not_an_option"
OPTION_CASES = [
    ("A", 0),
    ("B", 1),
    ("C", 2),
    ("D", 3),
    ("a", 0),
    ("b", 1),
    ("c", 2),
    ("d", 3),
    ("A.", 0),
    ("B.", 1),
    ("a.", 0),
    ("d.", 3),
    ("(A)", 0),
    ("(b)", 1),
    ("(C).", 2),
    (" A", 0),
    ("A ", 0),
    ("\nB\n", 1),
    ("\tC", 2),
    (" D. ", 3),
    ("A .", 0),
    ("A. water", 0),
    ("a. water", 0),
    ("A. Water", 0),
    ("A. WATER", 0),
    ("B. dry ice", 1),
    ("b. Dry Ice", 1),
    ("C. B", 2),
    (" A. water ", 0),
    ("A. water\n", 0),
    ("E", NO_OPTION),
    ("e", NO_OPTION),
    ("Z", NO_OPTION),
    ("", NO_OPTION),
    (" ", NO_OPTION),
    (".", NO_OPTION),
    ("()", NO_OPTION),
    ("AA", NO_OPTION),
    ("A B", NO_OPTION),
    ("A, B", NO_OPTION),
    ("A and B", NO_OPTION),
    ("A or B", NO_OPTION),
    ("1", NO_OPTION),
    ("0", NO_OPTION),
    ("A)", NO_OPTION),
    ("(A", NO_OPTION),
    ("A:", NO_OPTION),
    ("A!", NO_OPTION),
    ("A..", NO_OPTION),
    ("A. dry ice", NO_OPTION),
    ("B. water", NO_OPTION),
    ("A water", NO_OPTION),
    ("A. water.", NO_OPTION),
    ("water", NO_OPTION),
    ("dry ice", NO_OPTION),
    ("Answer: A", NO_OPTION),
    ("The answer is A", NO_OPTION),
    ("Option A", NO_OPTION),
    ("А", NO_OPTION),  # noqa: RUF001 - a Cyrillic letter that looks like A
    ("None", NO_OPTION),
    ("E. water", NO_OPTION),
]

SET = ("growth", "cell death", "death", "a, b", "a", "b")
SET_CASES = [
    ("growth", ["growth"]),
    ("death", ["death"]),
    ("cell death", ["cell death"]),
    ("a", ["a"]),
    ("b", ["b"]),
    ("a, b", ["a, b"]),
    ("b, a", ["a", "b"]),
    ("None", []),
    ("none", []),
    ("NONE", []),
    ("None.", []),
    (" None ", []),
    ("growth, death", ["growth", "death"]),
    ("death, growth", ["growth", "death"]),
    ("death,growth", ["growth", "death"]),
    ("death , growth", ["growth", "death"]),
    ("death,  growth", ["growth", "death"]),
    ("death,\ngrowth", ["growth", "death"]),
    ("growth, growth", ["growth"]),
    ("growth, death, growth", ["growth", "death"]),
    ("growth, cell death", ["growth", "cell death"]),
    ("cell death, death", ["cell death", "death"]),
    ("Growth", ["growth"]),
    ("GROWTH, Death", ["growth", "death"]),
    ("Cell Death", ["cell death"]),
    ("growth.", ["growth"]),
    ("growth, death.", ["growth", "death"]),
    (" growth, death ", ["growth", "death"]),
    ("\ngrowth\n", ["growth"]),
    ("a, b, growth", ["growth", "a, b"]),
    ("growth, a, b", ["growth", "a, b"]),
    ("a, growth, b", ["growth", "a", "b"]),
    ("a, a", ["a"]),
    ("b, a, b", ["a, b", "b"]),
    ("A, B", ["a, b"]),
    ("B, A", ["a", "b"]),
    ("a,b", ["a", "b"]),
    ("growth, cell death, death, a, b", ["growth", "cell death", "death", "a, b"]),
    ("", BAD),
    (" ", BAD),
    (".", BAD),
    (",", BAD),
    ("growth,", BAD),
    (", growth", BAD),
    ("growth,, death", BAD),
    ("growth death", BAD),
    ("growth and death", BAD),
    ("growth; death", BAD),
    ("growth/death", BAD),
    ("growth, None", BAD),
    ("None, growth", BAD),
    ("None None", BAD),
    ("growt", BAD),
    ("growths", BAD),
    ("cell  death", BAD),
    ("cell, death", BAD),
    ("growth, spread", BAD),
    ("spread", BAD),
    ("'growth'", BAD),
    ('["growth"]', BAD),
    ("Labels: growth", BAD),
    ("growth, deaths", BAD),
]


def check(parsed, expected):
    if isinstance(parsed, ParseFailure):
        assert parsed.code == expected
    else:
        assert parsed == expected


@pytest.mark.parametrize(("text", "expected"), LABEL_CASES)
def test_a_label_is_read(text, expected):
    check(parse_label(text, LABELS), expected)


@pytest.mark.parametrize(("text", "expected"), OPTION_CASES)
def test_an_option_is_read(text, expected):
    check(parse_option(text, OPTIONS), expected)


@pytest.mark.parametrize(("text", "expected"), SET_CASES)
def test_a_label_set_is_read(text, expected):
    check(parse_label_set(text, SET), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("B, A", [1, 0]),
        ("b,c , a.", [1, 2, 0]),
        ("C", [2]),
        ("None", []),
        ("A, A", "not_a_ranking"),
        ("A, D", "not_a_ranking"),
        ("A B", "not_a_ranking"),
        ("A,", "not_a_ranking"),
    ],
)
def test_a_ranking_is_read(text, expected):
    check(parse_ranking(text, ("x", "y", "z")), expected)


def test_there_are_sixty_cases_of_each_family():
    assert min(len(LABEL_CASES), len(OPTION_CASES), len(SET_CASES)) >= 60


def test_labels_that_differ_only_in_case_are_not_confused():
    assert parse_label("A", ("A", "a")) == "A"
    assert parse_label("a", ("A", "a")) == "a"
    assert parse_label("a.", ("A", "a")) == "a"
    assert isinstance(parse_label("aa", ("Aa", "aA")), ParseFailure)
