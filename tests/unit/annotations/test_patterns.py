import pytest

from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.patterns import (
    MAX_REGEX_TEXT,
    extract,
    matcher,
    regex_complaint,
    split_by_regex,
    substitute,
    substitution_complaint,
)


@pytest.mark.parametrize("pattern", ["a+", "(?P<x>a)|b", "[[a]", "\\d{1,1000}", "(?i)a", "^$"])
def test_plain_patterns_are_fine(pattern):
    assert regex_complaint(pattern) is None


@pytest.mark.parametrize(
    "pattern", [None, "", 5, "(", "(?<=a)b", "(?!a)", "(a)\\1", "(?P=x)", "a{1001}", "a" * 301]
)
def test_others_get_a_reason(pattern):
    assert regex_complaint(pattern)


def test_a_replacement_is_a_text():
    assert substitution_complaint(["a", "b"]) is None
    assert substitution_complaint(["a", None])
    assert substitution_complaint("a")


def test_functions_work_over_line_breaks():
    assert substitute(["\\n+", " "])("a\n\nb") == "a b"
    assert extract("b.")("a\nbc\nd") == "bc"
    assert extract("b(.)")("a\nbc\nd") == "c"
    assert split_by_regex("\\n")("a\nb") == ["a", "b"]
    assert matcher("^b")("a\nb") is False


def test_what_the_engine_refuses_is_a_value_error_at_once():
    for build, argument in [
        (substitute, ["[[:bad:]]", ""]),
        (substitute, ["a", "\\1"]),
        (extract, "[[:bad:]]"),
        (split_by_regex, "[[:bad:]]"),
        (matcher, "[[:bad:]]"),
    ]:
        with pytest.raises(ValueError, match="Invalid"):
            build(argument)


def test_very_long_texts_skip_the_row():
    with pytest.raises(RowSkipped, match="too long"):
        extract("a")("a" * (MAX_REGEX_TEXT + 1))
