import pytest

from pipeline.annotations.labels import LabelTable
from pipeline.annotations.outcomes import RowSkipped
from pipeline.errors import AnnotationError

LISTED = LabelTable.of(["no", "yes"])
MAPPED = LabelTable.of({"0": "no", "1": "yes", "-1": "no", "maybe": "yes", "true": "yes"})


@pytest.mark.parametrize(
    ("value", "name"), [(0, "no"), (1, "yes"), (1.0, "yes"), ("no", "no"), ("yes", "yes")]
)
def test_a_list_of_labels_takes_positions_and_names(value, name):
    assert LISTED.name_of(value) == name


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0, "no"),
        ("0", "no"),
        (-1, "no"),
        (1.0, "yes"),
        ("maybe", "yes"),
        (True, "yes"),
        ("no", "no"),
    ],
)
def test_a_map_of_labels_takes_raw_values_and_names(value, name):
    assert MAPPED.name_of(value) == name


@pytest.mark.parametrize(
    "value", [2, -1, 0.5, "Yes", "0", "", True, float("nan"), float("inf"), ["no"], {}]
)
def test_what_no_label_stands_for_is_an_error(value):
    with pytest.raises(AnnotationError, match=r"no label stands for the value .*\[ANN205\]"):
        LISTED.name_of(value)


@pytest.mark.parametrize(("names", "value"), [(["1", "2", "3"], 1), (["1", "0"], 0.0)])
def test_a_number_that_is_a_position_and_another_name_is_refused(names, value):
    with pytest.raises(AnnotationError, match=r"may be the label '\d' or .*map of raw") as caught:
        LabelTable.of(names).name_of(value)
    assert caught.value.code == "ANN205"
    assert LabelTable.of(names).name_of(str(int(value))) == str(int(value))


def test_a_number_that_spells_the_name_at_its_position_is_no_doubt():
    assert LabelTable.of(["0", "1", "2"]).name_of(1) == "1"
    assert LabelTable(("1", "2", "3")).name_of(1) == "2"  # recorded with the data


def test_a_null_label_skips_the_row():
    with pytest.raises(RowSkipped, match="label is null"):
        LISTED.name_of(None)


def test_names_of_a_map_are_listed_once_in_order():
    assert MAPPED.names == ("no", "yes")
