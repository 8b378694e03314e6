import datasets
import pytest
from datasets import ClassLabel, Features, List, Value

from pipeline.sources.declared import row_converter
from pipeline.sources.features import ClassNames, features_from_json


def test_values_are_cast_as_datasets_casts_them(tmp_path):
    features = Features(
        {
            "label": ClassLabel(names=["no", "yes"]),
            "tags": List(ClassLabel(names=["O", "B"])),
            "id": Value("string"),
            "count": Value("int64"),
            "score": Value("float64"),
            "missing": Value("string"),
        }
    )
    path = tmp_path / "t.jsonl"
    path.write_text(
        '{"label": "yes", "tags": ["B", "O"], "id": 7, "count": "12", "score": "0.5"}\n'
    )
    expected = datasets.load_dataset(
        "json",
        data_files=str(path),
        features=features,
        split="train",
        cache_dir=str(tmp_path / "cache"),
    )[0]
    row = {"label": "yes", "tags": ["B", "O"], "id": 7, "count": "12", "score": "0.5"}
    assert row_converter(features_from_json(features.to_dict()))(row) == expected
    assert expected["missing"] is None
    assert "missing" not in row


@pytest.mark.parametrize("value", ["maybe", 5, True, None, ["yes"]])
def test_what_does_not_fit_stays_as_it_is(value):
    convert = row_converter({"label": ClassNames(("no", "yes"))})
    assert convert({"label": value}) == {"label": value}


def test_nested_values_are_never_completed():
    features = {"call": {"name": "string", "arguments": {"x": "int64"}}}
    row = {"call": {"name": "f"}}
    assert row_converter(features)(row) == row


def test_nothing_declared_needs_no_conversion():
    assert row_converter(None) is None
