import json

import pytest

from pipeline.annotations.check import check_golden, golden_values
from pipeline.examples import load_examples, splits_made
from pipeline.examples.golden import golden_examples
from pipeline.examples.normalise import recorded_class_names
from pipeline.sources import load_rows

TASK = """
task: classification
splits: {train: train, test: test}
fields: {text: text, target: label}
labels: ["no", "yes"]
"""


def row(text, label=1):
    return {"text": text, "label": label}


def keys_of(annotation, split, root):
    return [e.key.rsplit("/", 1)[1] for e in load_examples(annotation, split, data_root=root)]


def test_rows_that_give_no_example_are_counted_by_reason(annotate, mirror):
    rows = [row("a"), row(""), row(" \n"), row(None), row("b", None), {}, row("c", 0)]
    surrogate = '{"text": "\\ud83d", "label": 1}'
    examples = load_examples(
        annotate(TASK), "train", data_root=mirror(train=[*map(json.dumps, rows), surrogate])
    )
    assert [example.key for example in examples] == ["demo/train/0", "demo/train/6"]
    assert examples.report.num_rows == 8
    assert examples.report.skipped == {
        "fields.target: label is null": 1,
        "fields.text: empty": 2,
        "fields.text: null": 2,
        "not valid Unicode": 1,
    }


def test_rows_left_out_by_an_operation_are_counted(annotate, mirror):
    text = TASK + "rows: [{where: {of: label, ne: -1}}]\n"
    root = mirror(train=[row("a"), row("b", -1), row("c", 0), row("", 1)])
    examples = load_examples(annotate(text), "train", data_root=root)
    assert [example.target for example in examples] == ["yes", "no"]
    assert examples.report.num_rows == 4
    assert examples.report.skipped == {"fields.text: empty": 1, "rows[0]: where": 1}


def test_rows_that_are_too_large_are_counted_once(annotate, mirror, monkeypatch):
    for module in ("json_lines", "json_part"):
        monkeypatch.setattr(f"pipeline.sources.{module}.MAX_ROW_BYTES", 1000)
    root = mirror(train=[row("a"), row("x" * 2000), row("b")])
    for text in (TASK, TASK + "rows: [{let: {own: text}}]\n"):
        examples = load_examples(annotate(text), "train", data_root=root)
        assert [example.key for example in examples] == ["demo/train/0", "demo/train/2"]
        assert examples.report.num_rows == 3
        assert examples.report.skipped == {"row_too_large": 1}


def test_an_exploded_row_is_numbered_within_its_row(annotate, mirror):
    text = TASK.replace("text: text", "text: item") + "rows: [{explode: texts}]\n"
    rows = [{"texts": ["a", "", "b"], "label": 1}, {"texts": ["c"], "label": 0}]
    examples = load_examples(annotate(text), "train", data_root=mirror(train=rows))
    assert [example.key for example in examples] == [
        "demo/train/0.0",
        "demo/train/0.2",
        "demo/train/1.0",
    ]
    assert examples.report.num_rows == 2


def test_what_is_held_out_stays_out_of_train(annotate, mirror):
    text = TASK + "rows: [{holdout: text}]\n"
    root = mirror(train=[row("a"), row("b"), row("c")], test=[row("b")])
    train = load_examples(annotate(text), "train", data_root=root)
    assert [example.inputs["text"] for example in train] == ["a", "c"]
    assert train.report.skipped == {"holdout": 1}
    assert train.report.num_rows == 3
    first = train.report.fingerprint
    mirror(test=[row("c")])
    again = load_examples(annotate(text), "train", data_root=root)
    assert again.report.fingerprint != first
    assert [example.inputs["text"] for example in again] == ["a", "b"]


def test_splits_made_by_a_hash_share_no_key(annotate, mirror):
    text = TASK.replace("{train: train, test: test}", "{train: train}")
    text += "rows: [{split_by: text, validation: 0.2, test: 0.2}]\n"
    annotation = annotate(text)
    assert splits_made(annotation) == ("train", "validation", "test")
    root = mirror(train=[row(f"t{i % 40}", i % 2) for i in range(200)])
    texts = {}
    for split in splits_made(annotation):
        examples = load_examples(annotation, split, data_root=root)
        assert examples.report.num_rows == 200
        texts[split] = {example.inputs["text"] for example in examples}
    assert texts["train"] | texts["validation"] | texts["test"] == {f"t{i}" for i in range(40)}
    assert sum(map(len, texts.values())) == 40
    assert all(texts.values())


def test_class_names_of_the_data_are_the_labels(annotate, mirror, tmp_path):
    root = mirror(train=[row("a", 1), row("b", 0)])
    (root / "owner/name/README.md").write_text(
        "---\ndataset_info:\n  features:\n  - name: text\n    dtype: string\n  - name: label\n"
        "    dtype:\n      class_label:\n        names:\n          '0': bad\n          '1': good\n"
        "---\n"
    )
    annotation = annotate(TASK.replace('labels: ["no", "yes"]\n', ""))
    examples = load_examples(annotation, "train", data_root=root)
    assert examples.spec.labels == ("bad", "good")
    assert [example.target for example in examples] == ["good", "bad"]
    assert examples[0].choices == ("bad", "good")
    tables = [load_rows(annotation, "train", root)]
    assert recorded_class_names(annotation, tables) == ("bad", "good")


def test_side_files_are_part_of_the_fingerprint(annotate, mirror):
    text = TASK + "rows: [{lookup: {as: more, file: side.jsonl, key: id, of: text}}]\n"
    text = text.replace("text: text", 'text: "more[0].full"')
    root = mirror(train=[row("a")], side=[{"id": "a", "full": "long a"}])
    first = load_examples(annotate(text), "train", data_root=root)
    assert first[0].inputs == {"text": "long a"}
    mirror(side=[{"id": "a", "full": "longer a"}])
    assert load_examples(annotate(text), "train", data_root=root)[0].inputs == {"text": "longer a"}


@pytest.mark.parametrize(
    ("inputs", "is_kept"),
    [
        ({"instruction": "Say hi.", "context": ""}, True),
        ({"instruction": "", "context": " "}, False),
    ],
)
def test_one_input_of_a_text_task_may_be_empty(annotate, mirror, inputs, is_kept):
    text = """
task: text
splits: {train: train}
fields: {instruction: instruction, context: context, target: answer}
"""
    rows = [{"instruction": "x", "context": "y", "answer": "z"}, {**inputs, "answer": "hi"}]
    rows.append({"instruction": "x", "context": "y", "answer": ""})
    examples = load_examples(annotate(text), "train", data_root=mirror(train=rows))
    assert len(examples) == 1 + is_kept
    assert examples.report.skipped["fields.target: empty"] == 1
    assert examples.report.skipped.get("fields: empty", 0) == (not is_kept)


def test_a_request_without_functions_is_an_example(annotate, mirror):
    text = """
task: function_calling
splits: {train: train}
fields:
  query: query
  functions: {function: function_specs, of: tools}
  target: {function: function_calls, of: calls}
"""
    rows = [
        {"query": "hi", "tools": [], "calls": []},
        {"query": "add", "tools": [{"name": "add"}], "calls": [{"name": "add", "arguments": {}}]},
        {"query": "bad", "tools": ["x"], "calls": []},
        {"query": "bad", "tools": [], "calls": [{"call": 1}]},
    ]
    examples = load_examples(annotate(text), "train", data_root=mirror(train=rows))
    assert [example.target for example in examples] == [[], [{"name": "add", "arguments": {}}]]
    assert set(examples.report.skipped.values()) == {1}
    assert len(examples.report.skipped) == 2


@pytest.mark.parametrize("rows", ["", "rows: [{unique: text}]\n"])
def test_what_rows_of_one_source_share_is_kept_and_not_shown(annotate, mirror, rows):
    text = TASK.replace("target: label", "target: label, cluster: patient") + rows
    text = text.replace(", test: test", "")
    data = [row("a") | {"patient": 7}, row("b") | {"patient": "x"}, row("c"), row("d")]
    data[3]["patient"] = 7
    examples = list(load_examples(annotate(text), "train", data_root=mirror(train=data)))
    assert [example.inputs for example in examples] == [{"text": part} for part in "abcd"]
    first, second, third, fourth = (example.cluster for example in examples)
    assert first == fourth != second
    assert second == "x"
    assert third is None


def test_a_golden_row_may_say_what_its_source_is(annotate):
    text = TASK.replace("target: label", "target: label, cluster: patient")
    golden = "golden: [{row: {text: a, label: 1, patient: p}, example: {target: "
    annotation = annotate(text + golden + '"yes", cluster: p}}]\n')
    assert check_golden(annotation, golden_values) == []
    assert [example.cluster for example in golden_examples(annotation)] == ["p"]
    annotation = annotate(text + golden + '"yes", cluster: q}}]\n')
    (error,) = check_golden(annotation, golden_values)
    assert "cluster is" in str(error)
