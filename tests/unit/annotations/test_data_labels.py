import pytest

from pipeline.annotations.data_labels import MAX_DATA_LABELS, compile_label_values, label_order
from pipeline.errors import AnnotationError


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["b", "a", "b"], ("a", "b")),
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "x"], ("10", "9", "x")),
        ([], ()),
    ],
)
def test_label_values_have_a_lasting_order(values, expected):
    assert label_order(values) == label_order(reversed(values)) == expected


def test_too_many_values_are_no_closed_set():
    with pytest.raises(AnnotationError) as caught:
        label_order(str(number) for number in range(MAX_DATA_LABELS + 1))
    assert caught.value.code == "ANN213"


@pytest.mark.parametrize(
    ("lines", "row", "expected"),
    [
        ({}, {"sentence": "x", "label": 3}, ["3"]),
        ({}, {"sentence": "x", "label": None}, []),
        ({}, {"sentence": "x", "label": True}, ["true"]),
        (
            {"fields": "{text: sentence, target: {majority: votes}}"},
            {"sentence": "x", "votes": ["a", "b"]},
            [],
        ),
        (
            {"task": "multi_label", "fields": "{text: sentence, target: label}"},
            {"sentence": "x", "label": ["b", "a"]},
            ["b", "a"],
        ),
        (
            {
                "task": "token_classification",
                "fields": "{tokens: words, target: {spans: tags, tokens: $tokens}}",
            },
            {"words": ["a", "b"], "tags": ["O", "B-X"]},
            ["O", "B-X"],
        ),
        (
            {"fields": "{text: sentence, target: {pick: label, at: {count: $text}}}"},
            {"sentence": ["x"], "label": ["n", "y"]},
            ["y"],
        ),
    ],
)
def test_the_label_values_of_a_row_are_read_off_its_target(annotate, lines, row, expected):
    annotation = annotate(**{"labels": "from_data", **lines})
    assert compile_label_values(annotation)(row) == expected


def test_a_number_found_in_the_data_is_a_name_and_no_position(annotate):
    table = annotate(labels="from_data").label_table(("1", "2", "5"))
    assert table.name_of(2) == "2"
    assert table.names == ("1", "2", "5")
    with pytest.raises(AnnotationError):
        table.name_of(0)


def test_from_data_is_refused_where_there_are_no_labels(refusals):
    found = refusals(task="text", labels="from_data")
    assert "a text task has no labels" in found[0]


def test_another_word_than_from_data_is_refused(refusals):
    found = refusals(labels="from_rows")
    assert "or from_data is needed" in found[0]
