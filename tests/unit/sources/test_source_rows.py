import json
import os

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.annotations.schema import load_annotation
from pipeline.errors import AnnotationError, PipelineError, SourceError
from pipeline.sources import folder, load_rows, load_side_file, resolve_data_root

ANNOTATION = """schema_version: 1
id: demo
task: classification
source: {{hub: owner/name, licence: mit{source}}}
splits: {splits}
fields: {{text: text, target: label}}
labels: ["no", "yes"]
instruction: Say yes or no.
"""


@pytest.fixture
def annotate(tmp_path):
    def make(splits="{train: train}", source=""):
        path = tmp_path / "annotations" / "demo.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(ANNOTATION.format(splits=splits, source=source))
        return load_annotation(path)

    return make


@pytest.fixture
def mirror(tmp_path, write_lines):
    folder = tmp_path / "mirror" / "owner" / "name"
    write_lines(folder / "train.jsonl", [{"text": f"t{i}", "label": i % 2} for i in range(100)])
    write_lines(folder / "extra.jsonl", [{"text": f"e{i}", "label": 1} for i in range(5)])
    return tmp_path / "mirror"


def test_rows_come_from_the_mirror(annotate, mirror):
    table = load_rows(annotate(), "train", mirror)
    assert len(table) == 100
    assert next(iter(table)) == {"text": "t0", "label": 0}
    assert table.column_names == ("text", "label")
    assert table.features is None
    assert table.class_names == {}
    assert table.origin == str(mirror / "owner" / "name")
    assert table.skipped == {}


def test_merged_splits_are_numbered_one_after_the_other(annotate, mirror):
    table = load_rows(annotate("{train: [extra, train]}"), "train", mirror)
    numbers = [number for number, _ in table.numbered()]
    assert numbers == list(range(105))
    assert [row["text"] for row in table][4:6] == ["e4", "t0"]


def test_a_part_is_taken_and_the_rest_remains(annotate, mirror):
    annotation = annotate(
        "{train: train, validation: {take: 0.1, from: train}, test: {take: 20, from: train}}"
    )
    numbers = {
        split: [number for number, _ in load_rows(annotation, split, mirror).numbered()]
        for split in ("train", "validation", "test")
    }
    assert {split: len(rows) for split, rows in numbers.items()} == {
        "train": 70,
        "validation": 10,
        "test": 20,
    }
    assert sorted(number for part in numbers.values() for number in part) == list(range(100))
    texts = [row["text"] for row in load_rows(annotation, "validation", mirror)]
    assert texts == [f"t{number}" for number in numbers["validation"]]


def test_a_part_of_columns_holds_the_same_rows(annotate, mirror, tmp_path):
    annotation = annotate("{train: [train, extra], test: {take: 0.3, from: train}}")
    pq.write_table(
        pa.table({"text": [f"p{i}" for i in range(50)], "label": [1] * 50}),
        tmp_path / "mirror/owner/name/extra.parquet",
    )
    for split in ("train", "test"):
        table = load_rows(annotation, split, mirror)
        rows, columns = [], []
        for batch in table.batches(["text"]):
            rows += [(number, row["text"]) for number, row in batch.rows()]
            texts = batch.columns().column("text").to_pylist()
            columns += zip(batch.numbers, texts, strict=True)
        assert rows == columns
        assert len(rows) == len(table)


def test_the_fingerprint_follows_content_and_choice_of_rows(annotate, mirror, write_lines):
    def fingerprint(splits, split="train"):
        return load_rows(annotate(splits), split, mirror).fingerprint

    plain = fingerprint("{train: train}")
    taken = "{train: train, test: {take: 0.1, from: train}}"
    other_seed = "{train: train, test: {take: 0.1, from: train, seed: 1}}"
    different = {plain, fingerprint(taken), fingerprint(taken, "test"), fingerprint(other_seed)}
    assert len(different) == 4
    assert fingerprint("{train: train, test: {take: 2, from: extra}}") == plain
    write_lines(mirror / "owner/name/train.jsonl", [{"text": "new", "label": 0}])
    assert fingerprint("{train: train}") != plain


def test_a_mirror_may_be_laid_out_more_plainly_than_the_hub(annotate, mirror, write_lines):
    source = ", data_files: {train: dataset/train.json}, data_dir: data"
    assert len(load_rows(annotate(source=source), "train", mirror)) == 100
    write_lines(mirror / "owner/name/data/dataset/train.json", [{"text": "hub", "label": 0}])
    assert list(load_rows(annotate(source=source), "train", mirror)) == [
        {"text": "hub", "label": 0}
    ]
    wrong = annotate("{train: dev}", ", data_files: {dev: dataset/dev.json}")
    with pytest.raises(SourceError, match=r"no file 'dataset/dev.json' for split 'dev'"):
        load_rows(wrong, "train", mirror)


def test_a_named_file_that_is_missing_is_not_replaced_by_another(annotate, mirror, write_lines):
    source = ", data_files: {train: nothere.jsonl, test: extra.jsonl}"
    with pytest.raises(SourceError, match=r"no file 'nothere.jsonl' for split 'train'"):
        load_rows(annotate(source=source), "train", mirror)


def test_own_files_lie_where_the_annotation_says(tmp_path, write_lines):
    write_lines(tmp_path / "mine" / "train.jsonl", [{"text": "of another task", "label": 1}])
    path = tmp_path / "mine" / "task.yaml"
    text = ANNOTATION.format(splits="{train: train}", source="")
    path.write_text(text.replace("hub: owner/name", "files: {train: helpdesk/trian.jsonl}"))
    with pytest.raises(SourceError, match=r"no file 'helpdesk/trian.jsonl'") as caught:
        load_rows(load_annotation(path), "train", None)
    assert caught.value.code == "SRC108"


@pytest.mark.parametrize(
    ("splits", "files", "code", "part"),
    [
        ("{train: train, test: test}", '{train: "*.jsonl", test: b.jsonl}', "ANN144", "'b.jsonl'"),
        ("{train: [x, z]}", "{x: ./a.jsonl, z: a.jsonl}", "ANN144", "file 'a.jsonl' of 'z'"),
        (
            "{train: train, validation: {take: 1, from: y}}",
            '{train: "*.jsonl", y: b.jsonl}',
            "ANN144",
            "is one of train too",
        ),
        ("{train: train}", '{train: "t*.jsonl"}', "ANN145", "file 'test.jsonl' is a test split"),
    ],
)
def test_a_file_serves_one_source_split_and_tests_no_training(
    splits, files, code, part, tmp_path, write_lines
):
    for name in ("a", "b", *["test"] * (code == "ANN145")):
        write_lines(tmp_path / "mine" / f"{name}.jsonl", [{"text": name, "label": 1}])
    path = tmp_path / "mine" / "task.yaml"
    text = ANNOTATION.format(splits=splits, source="")
    path.write_text(text.replace("hub: owner/name", f"files: {files}"))
    with pytest.raises(AnnotationError, match=part) as caught:
        load_rows(load_annotation(path), "train", None)
    assert caught.value.code == code


def test_files_beside_the_annotation_need_no_mirror(tmp_path, write_lines):
    write_lines(tmp_path / "mine" / "data" / "a.jsonl", [{"text": "a", "label": 1}])
    path = tmp_path / "mine" / "task.yaml"
    text = ANNOTATION.format(splits="{train: train}", source="")
    path.write_text(text.replace("hub: owner/name", "files: {train: data/*.jsonl}"))
    assert list(load_rows(load_annotation(path), "train", None)) == [{"text": "a", "label": 1}]


def test_comma_separated_files_are_read_as_datasets_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "a.txt").write_text('1;"two; words"\n0;b\n')
    path = tmp_path / "mine" / "task.yaml"
    text = ANNOTATION.format(splits="{train: train}", source="")
    source = 'files: {train: a.txt}, format: csv, delimiter: ";", column_names: [label, text]'
    path.write_text(text.replace("hub: owner/name", source))
    table = load_rows(load_annotation(path), "train", None)
    assert list(table) == [{"label": 1, "text": "two; words"}, {"label": 0, "text": "b"}]
    assert len(table) == 2


@pytest.fixture
def own_table(tmp_path, monkeypatch):
    """Return the rows of a file of the user's own."""
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")

    def read(name, content):
        (tmp_path / name).write_text(content)
        os.utime(tmp_path / name, (1, 1))
        text = ANNOTATION.format(splits="{train: train}", source="")
        path = tmp_path / "task.yaml"
        path.write_text(text.replace("hub: owner/name", f"files: {{train: {name}}}"))
        return load_rows(load_annotation(path), "train", None)

    return read


@pytest.mark.parametrize(("name", "sep"), [("a.csv", ","), ("a.tsv", "\t")])
def test_words_that_pandas_reads_as_missing_are_text_and_an_empty_cell_is_null(
    name, sep, own_table
):
    labels = ["None", "NA", "null", "nan", "N/A", "yes"]
    lines = ["text\tlabel", *(f"t\t{label}" for label in labels), "t\t"]
    table = own_table(name, "\n".join(lines).replace("\t", sep) + "\n")
    assert [row["label"] for row in table] == [*labels, None]


def test_a_file_that_is_written_anew_at_the_same_time_is_read_anew(own_table):
    first = own_table("a.csv", "text,label\na,1\n")
    assert list(first) == [{"text": "a", "label": 1}]
    folder._sha256.cache_clear()  # another process
    assert list(own_table("a.csv", "text,label\nb,2\n")) == [{"text": "b", "label": 2}]


def test_a_split_the_task_lacks_is_told(annotate, mirror):
    with pytest.raises(SourceError) as caught:
        load_rows(annotate(), "test", mirror)
    assert str(caught.value) == (
        "demo: the task has no test split; it has train. Choose one of them, or give the split "
        "a source in the annotation. [SRC114]"
    )


def test_a_split_the_mirror_lacks_is_told_with_the_folder(annotate, mirror):
    with pytest.raises(SourceError) as caught:
        load_rows(annotate("{train: trian}"), "train", mirror)
    assert str(caught.value) == (
        "owner/name: no split 'trian'; there is extra, train (looked in "
        f"{mirror}/owner/name). Did you mean 'train' or 'extra'? [SRC104]"
    )


def test_a_dataset_that_is_nowhere_names_both_places(annotate, mirror, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "none"))
    (mirror / "owner" / "name").rename(mirror / "owner" / "other")
    with pytest.raises(SourceError) as caught:
        load_rows(annotate(), "train", mirror)
    assert str(caught.value) == (
        "owner/name: cannot be fetched from the hub: the hub is switched off (HF_HUB_OFFLINE), "
        f"and it is not in the hub's cache; not in the mirror {mirror}. Run `taskloom mirror TASK "
        "--to DIR` where there is a network; give --data-root DIR. [SRC106]"
    )
    gated = annotate(source=', access: gated, how_to_get: "Write to the authors."')
    with pytest.raises(SourceError, match=r"Write to the authors\. \[SRC106\]"):
        load_rows(gated, "train", None)


def test_data_that_is_only_local_is_never_looked_for_on_the_hub(annotate, mirror, monkeypatch):
    def unexpected(*args, **kwargs):
        raise AssertionError("the hub was asked")

    monkeypatch.setattr("pipeline.sources.rows.open_hub", unexpected)
    task = annotate(source=', local: true, how_to_get: "Sign the agreement at example.org."')
    assert len(load_rows(task, "train", mirror)) > 0
    for root, shown in ((None, "DIR"), (mirror / "elsewhere", str(mirror / "elsewhere"))):
        with pytest.raises(SourceError) as caught:
            load_rows(task, "train", root)
        hint = f"Put it into {shown}/owner/name and give --data-root {shown}"
        assert caught.value.code == "SRC117"
        assert caught.value.hint == f"Sign the agreement at example.org. {hint}"


def test_side_files_are_read_whole_and_stay_inside(annotate, mirror, write_lines):
    write_lines(mirror / "owner/name/tool.jsonl", [{"name": "f"}, {"name": "g"}])
    annotation = annotate()
    assert load_side_file(annotation, "tool.jsonl", mirror) == [{"name": "f"}, {"name": "g"}]
    for name in ("absent.jsonl", "../name/tool.jsonl", "/etc/passwd"):
        with pytest.raises(PipelineError):
            load_side_file(annotation, name, mirror)


@pytest.mark.parametrize("name", ["../../etc", "a/b/c", "", ".hidden/x", "a b"])
def test_a_dataset_id_cannot_name_another_folder(name, tmp_path):
    from pipeline.sources.data_root import dataset_folder

    with pytest.raises(SourceError, match="SRC113"):
        dataset_folder(tmp_path, name)


def test_the_data_root_comes_from_the_argument_or_the_environment(monkeypatch, tmp_path):
    monkeypatch.delenv("TASKLOOM_DATA_ROOT", raising=False)
    assert resolve_data_root(None) is None
    assert resolve_data_root(str(tmp_path)) == tmp_path
    monkeypatch.setenv("TASKLOOM_DATA_ROOT", str(tmp_path))
    assert resolve_data_root(None) == tmp_path
    monkeypatch.setenv("TASKLOOM_DATA_ROOT", str(tmp_path / "absent"))
    with pytest.raises(SourceError) as caught:
        resolve_data_root(None)
    assert str(caught.value) == (
        f"{tmp_path}/absent: TASKLOOM_DATA_ROOT is no folder. Give the folder that holds "
        "owner/name/..., or `embedded` for generated rows. [SRC101]"
    )


def test_a_broken_card_is_told(annotate, mirror):
    (mirror / "owner/name/README.md").write_text("---\nconfigs: [unclosed\n---\n")
    with pytest.raises(SourceError) as caught:
        load_rows(annotate(), "train", mirror)
    assert caught.value.code == "SRC110"
    assert "\n" not in str(caught.value)


def test_a_card_without_data_changes_nothing(annotate, mirror):
    (mirror / "owner/name/README.md").write_text("---\nlicense: mit\n---\n# configs: none\n")
    assert len(load_rows(annotate(), "train", mirror)) == 100


def test_a_card_declares_files_and_class_names(annotate, mirror):
    (mirror / "owner/name/README.md").write_text(
        "---\nconfigs:\n- config_name: default\n  data_files:\n  - split: train\n"
        "    path: extra.jsonl\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n"
        "  - name: label\n    dtype:\n      class_label:\n        names:\n"
        "          '0': 'no'\n          '1': 'yes'\n---\n"
    )
    table = load_rows(annotate(), "train", mirror)
    assert len(table) == 5
    assert table.class_names == {"label": ("no", "yes")}
    assert json.dumps(table.column_names) == '["text", "label"]'


def test_the_embedded_mirror_is_built_on_demand(monkeypatch, tmp_path):
    monkeypatch.setattr("pipeline.sources.generated.ensure_generated_mirror", lambda: tmp_path)
    assert resolve_data_root("embedded") == tmp_path
    monkeypatch.setenv("TASKLOOM_DATA_ROOT", "embedded")
    assert resolve_data_root(None) == tmp_path
