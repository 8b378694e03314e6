import pytest

from pipeline.errors import SourceError
from pipeline.sources.card import NO_CARD, Card, CardConfig
from pipeline.sources.layout import WantedSplit, find_split, has_only_configs, missing_split


def wanted(split="train", **settings):
    return WantedSplit(dataset="owner/name", split=split, **settings)


def files_of(listing, card=NO_CARD, **settings):
    found = find_split(wanted(**settings), listing, card)
    return found and found.files


@pytest.mark.parametrize(
    ("listing", "settings", "expected"),
    [
        (["train.jsonl", "test.jsonl"], {}, ("train.jsonl",)),
        (["rte/train.jsonl", "mrpc/train.jsonl"], {"config": "rte"}, ("rte/train.jsonl",)),
        (["train.jsonl"], {"config": "plain_text"}, ("train.jsonl",)),
        (["train.json", "train.parquet"], {}, ("train.json",)),
        (["train.csv.gz"], {}, ("train.csv.gz",)),
        (
            ["train-00001-of-00002.parquet", "train-00000-of-00002.parquet"],
            {},
            ("train-00000-of-00002.parquet", "train-00001-of-00002.parquet"),
        ),
        (["data/train-0001.parquet"], {}, ("data/train-0001.parquet",)),
        (
            ["rte/train/0000.parquet", "rte/test/0000.parquet"],
            {"config": "rte"},
            ("rte/train/0000.parquet",),
        ),
        (["deep/er/test.jsonl"], {"split": "test", "data_dir": "deep/er"}, ("deep/er/test.jsonl",)),
        (["train_extra.jsonl"], {}, None),
        (["train.md"], {}, None),
    ],
)
def test_usual_names_are_found(listing, settings, expected):
    assert files_of(listing, **settings) == expected


def test_files_of_the_annotation_win_and_stay_in_order():
    listing = ["a.json", "sub/b1.json", "sub/b2.json", "test.jsonl"]
    data_files = {"test": ["sub/*.json", "a.json"]}
    expected = ("sub/b1.json", "sub/b2.json", "a.json")
    assert files_of(listing, split="test", data_files=data_files) == expected


def test_one_list_of_files_is_the_train_split():
    assert files_of(["a.json"], data_files="a.json") == ("a.json",)
    with pytest.raises(SourceError, match="no split 'test'; there is train"):
        files_of(["a.json"], split="test", data_files="a.json")


def test_a_star_stays_inside_a_folder_and_two_stars_do_not():
    listing = ["a/x.json", "a/b/x.json"]
    assert files_of(listing, data_files="a/*.json") == ("a/x.json",)
    assert files_of(listing, data_files="**/x.json") == ("a/b/x.json", "a/x.json")


def test_data_files_are_relative_to_the_data_folder():
    assert files_of(["d/x.json"], data_files="x.json", data_dir="d") == ("d/x.json",)


@pytest.mark.parametrize(
    "pattern", ["../x.json", "/etc/passwd", "a/../../x", "~/x", "a\\b", "a\x00b", "a\nb"]
)
def test_patterns_cannot_leave_the_folder(pattern):
    with pytest.raises(SourceError) as caught:
        files_of(["x.json"], data_files=pattern)
    assert caught.value.code == "SRC109"


def test_a_missing_file_is_told_with_near_names():
    with pytest.raises(SourceError) as caught:
        files_of(["BFCL_v4_simple_python.json"], data_files="BFCL_v4_simple_pyton.json")
    assert str(caught.value) == (
        "owner/name: no file 'BFCL_v4_simple_pyton.json' for split 'train'. "
        "Did you mean 'BFCL_v4_simple_python.json'? [SRC108]"
    )


def test_a_web_address_is_taken_from_the_folder_when_it_is_there():
    address = "https://example.org/files/train.tsv?download=1"
    assert files_of(["train.tsv"], data_files=address) == ("train.tsv",)
    assert files_of([], data_files=address) == (address,)


def test_a_hub_address_of_the_same_dataset_is_a_plain_path():
    address = "hf://datasets/owner/name@refs%2Fconvert%2Fparquet/default/train/*.parquet"
    listing = ["default/train/0000.parquet"]
    assert files_of(listing, data_files=address) == ("default/train/0000.parquet",)


CARD = Card(
    configs={
        "rte": CardConfig(patterns={"train": ["glue/rte-*.jsonl"], "test": ["t.jsonl"]}),
        "mrpc": CardConfig(patterns={"train": ["glue/mrpc.jsonl"]}),
        "loose": CardConfig(patterns={}, data_dir="somewhere"),
    },
    features={},
)


def test_configs_of_the_card_decide():
    listing = ["glue/rte-1.jsonl", "glue/mrpc.jsonl", "rte/train.jsonl"]
    assert files_of(listing, CARD, config="rte") == ("glue/rte-1.jsonl",)


def test_a_card_config_with_only_a_folder_is_searched_by_name():
    assert files_of(["somewhere/train.csv"], CARD, config="loose") == ("somewhere/train.csv",)


def test_unknown_configs_and_splits_list_what_exists():
    with pytest.raises(SourceError) as caught:
        files_of([], CARD, config="rta")
    assert str(caught.value) == (
        "owner/name: no config 'rta'; there is loose, mrpc, rte. Did you mean 'rte'? [SRC103]"
    )
    with pytest.raises(SourceError) as caught:
        files_of([], CARD, config="mrpc", split="validation")
    assert str(caught.value).startswith(
        "owner/name (mrpc): no split 'validation'; there is train. "
    )
    assert caught.value.code == "SRC104"


def test_a_config_must_be_named_where_there_are_several():
    with pytest.raises(SourceError) as caught:
        files_of([], CARD)
    assert str(caught.value) == (
        "owner/name: this dataset has several configs and none is named: loose, mrpc, rte. "
        "Set `config:`. [SRC103]"
    )


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ({"a": {}}, "a"),
        ({"a": {}, "b": {"is_default": True}}, "b"),
        ({"a": {}, "default": {}}, "default"),
        ({"a": {}, "b": {}}, None),
        ({}, None),
    ],
)
def test_the_default_config_is_the_only_one_or_the_marked_one(configs, expected):
    made = {name: CardConfig(patterns={}, **more) for name, more in configs.items()}
    assert Card(configs=made, features={}).default_config() == expected


@pytest.mark.parametrize(
    ("listing", "settings", "message"),
    [
        (["a/train.jsonl", "b/train.jsonl"], {}, "several configs and none is named: a, b"),
        (["a/train.jsonl", "b/train.jsonl"], {"config": "c"}, "no config 'c'; there is a, b"),
        (["a/train.jsonl"], {"config": "a", "split": "dev"}, "no split 'dev'; there is train"),
        (
            ["train.jsonl", "test-00000-of-00001.parquet"],
            {"split": "dev"},
            "no split 'dev'; there is test, train",
        ),
        (["README.md"], {}, "no split 'train'; there is none"),
    ],
)
def test_a_missing_split_is_explained(listing, settings, message):
    assert message in str(missing_split(wanted(**settings), listing))


def test_folders_of_configs_are_recognised():
    assert has_only_configs(["a/train.jsonl", "b/train.jsonl", "README.md"])
    assert not has_only_configs(["a/train.jsonl", "train.jsonl"])
    assert not has_only_configs(["data/train.jsonl", "a/train.jsonl"])
