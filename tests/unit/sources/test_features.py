import datasets
import pyarrow as pa
import pytest
import yaml
from datasets import ClassLabel, Image, Json, LargeList, List, Sequence, Value

from pipeline.sources.card import read_card
from pipeline.sources.features import (
    ClassNames,
    class_names,
    features_from_json,
    features_from_yaml,
    holds_json,
    recorded_features,
)

CASES = {
    "plain": ({"a": Value("string"), "b": Value("int32")}, {"a": "string", "b": "int32"}),
    "labels": ({"a": ClassLabel(names=["no", "yes"])}, {"a": ClassNames(("no", "yes"))}),
    "list": ({"a": List(Value("string"))}, {"a": ["string"]}),
    "list of labels": ({"a": List(ClassLabel(names=["O", "B"]))}, {"a": [ClassNames(("O", "B"))]}),
    "list of lists": ({"a": List(List(Value("int8")))}, {"a": [["int8"]]}),
    "large list": ({"a": LargeList(Value("int8"))}, {"a": ["int8"]}),
    "struct": (
        {"a": {"x": Value("string"), "y": {"z": Value("bool")}}},
        {"a": {"x": "string", "y": {"z": "bool"}}},
    ),
    "list of structs": ({"a": List({"x": Value("string")})}, {"a": [{"x": "string"}]}),
    "sequence of structs": ({"a": Sequence({"x": Value("string")})}, {"a": {"x": ["string"]}}),
    "unknown": (
        {"a": Json(), "b": Image(), "c": List(Json())},
        {"a": None, "b": None, "c": [None]},
    ),
}


@pytest.mark.parametrize("case", list(CASES))
def test_types_are_read_from_what_datasets_writes(case):
    written, expected = CASES[case]
    features = datasets.Features(written)
    assert features_from_json(features.to_dict()) == expected
    assert recorded_features(features.arrow_schema) == expected


@pytest.mark.parametrize("case", [name for name in CASES if name != "unknown"])
def test_types_are_read_from_the_card_that_datasets_writes(case):
    written, expected = CASES[case]
    text = yaml.safe_dump(datasets.Features(written)._to_yaml_list(), sort_keys=False)
    assert features_from_yaml(yaml.safe_load(text)) == expected


def test_old_ways_to_write_a_card_are_understood():
    text = """
- name: answers
  sequence:
  - name: text
    dtype: string
  - name: start
    dtype: int32
- name: tags
  sequence:
    class_label:
      names: [O, B]
- name: label
  dtype:
    class_label:
      names: {'1': high, '0': low}
- name: picture
  dtype: image
"""
    assert features_from_yaml(yaml.safe_load(text)) == {
        "answers": {"text": ["string"], "start": ["int32"]},
        "tags": [ClassNames(("O", "B"))],
        "label": ClassNames(("low", "high")),
        "picture": "image",
    }


@pytest.mark.parametrize("value", ["text", [1], [{"dtype": "string"}], {"a": 1}])
def test_other_forms_are_refused(value):
    with pytest.raises(ValueError, match="feature"):
        features_from_yaml(value)


def test_class_names_are_found_in_columns_and_lists():
    features = {"label": ClassNames(("no", "yes")), "tags": [ClassNames(("O",))], "text": "string"}
    assert class_names(features) == {"label": ("no", "yes"), "tags": ("O",)}
    assert class_names(None) == {}


def test_names_that_yaml_made_booleans_are_no_names():
    value = {"a": {"_type": "ClassLabel", "names": [False, True]}}
    assert class_names(features_from_json(value)) == {}


def test_files_without_a_note_record_nothing():
    assert recorded_features(pa.schema([("a", pa.string())])) is None
    broken = pa.schema([("a", pa.string())], metadata={"huggingface": "{}"})
    assert recorded_features(broken) is None
    assert not holds_json(broken)
    assert holds_json(datasets.Features({"a": Json()}).arrow_schema)


def test_a_card_is_read_without_the_traps_of_yaml(tmp_path):
    path = tmp_path / "README.md"
    path.write_text(
        "---\r\nconfigs:\n- config_name: a\n  default: true\n  data_files: [x.jsonl, y.jsonl]\n"
        "- config_name: b\n  data_dir: sub\n  sep: ';'\n  data_files:\n    train: t.csv\n"
        "    test: [u.csv]\ndataset_info:\n- config_name: a\n  features:\n  - name: label\n"
        "    dtype:\n      class_label:\n        names:\n          0: no\n          1: yes\n"
        "---\n# x\n"
    )
    card = read_card(path)
    assert card.configs["a"].patterns == {"train": ["x.jsonl", "y.jsonl"]}
    assert card.configs["b"].patterns == {"train": ["sub/t.csv"], "test": ["sub/u.csv"]}
    assert card.configs["b"].reader_options == {"sep": ";"}
    assert card.default_config() == "a"
    assert card.features_of("a") == {"label": ClassNames(("no", "yes"))}
    assert card.features_of("b") is None


def test_a_card_may_be_longer_than_our_own_files(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.yaml_reader.MAX_BYTES", 100)
    path = tmp_path / "README.md"
    names = "".join(f"          '{i}': name{i}\n" for i in range(100))
    path.write_text(
        "---\nconfigs:\n- config_name: a\n  data_files: x.jsonl\n"
        "dataset_info:\n  config_name: a\n  features:\n  - name: label\n    dtype:\n"
        f"      class_label:\n        names:\n{names}---\n"
    )
    card = read_card(path)
    assert list(card.configs) == ["a"]
    assert len(class_names(card.features_of("a"))["label"]) == 100


@pytest.mark.parametrize(
    "header",
    [
        "configs: 3",
        "configs: [3]",
        "configs: [{data_files: x}]",
        "configs: [{config_name: a, data_files: [{split: train}]}]",
        "configs: [{config_name: a, data_files: {train: 3}}]",
        "dataset_info: {features: text}",
        "configs: [unclosed",
        "configs: [&a {config_name: a}, *a]",
        "configs: " + "[" * 5000,
        "configs: !!python/object/apply:os.system [echo]",
    ],
)
def test_a_card_that_cannot_be_read_is_told(tmp_path, header):
    path = tmp_path / "README.md"
    path.write_text(f"---\n{header}\n---\n")
    with pytest.raises(Exception, match="SRC110") as caught:
        read_card(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text", ["", "# configs: none", "---\nlicense: mit\n---\n", "--\nconfigs:"]
)
def test_a_card_without_a_header_declares_nothing(tmp_path, text):
    path = tmp_path / "README.md"
    path.write_text(text)
    assert read_card(path).configs == {}
    assert read_card(tmp_path / "absent.md").configs == {}
