"""The way by columns against the way by rows, which is the oracle."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AnnotationError
from pipeline.examples import load_examples, normalise
from pipeline.examples.columnar import columnar_plan

PAIR = """
task: pair_classification
splits: {train: train}
fields: {text_a: premise, text_b: hypothesis, target: label}
labels: [entailment, neutral, contradiction]
"""
CLASSIFICATION = """
task: classification
splits: {train: train}
fields: {text: premise, context: hypothesis, target: label}
labels: {"0": low, "1": high, "2": high, "true": high}
"""
CHOICE = """
task: multiple_choice
splits: {train: train}
fields: {question: premise, choices: [hypothesis, premise], target: gold}
"""
CHOICE_LIST = """
task: multiple_choice
splits: {train: train}
fields: {question: premise, choices: options, target: gold}
"""
TEXT = """
task: text
splits: {train: train}
fields: {text: premise, hint: hypothesis, target: name}
"""

MESSY = ["", "  ", "\x00x", None, "é\u2028😀", "a" * 5000, "null", '{"a": 1}', "\u00a0", "x"]


def rows_of(seed, count=400, messy=0.0):
    rng = random.Random(seed)

    def text():
        return rng.choice(MESSY) if rng.random() < messy else f"text {rng.random()}"

    return [
        {
            "premise": text(),
            "hypothesis": text(),
            "label": rng.randrange(3),
            "gold": rng.randrange(2),
            "options": [text() or "" for _ in range(rng.randint(2, 4))],
            "name": text(),
            "ignored": {"k": rng.choice([1, "s", None])},
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("text", [PAIR, CLASSIFICATION, CHOICE, CHOICE_LIST, TEXT])
@pytest.mark.parametrize("messy", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_both_ways_give_the_same(annotate, tmp_path, monkeypatch, text, messy, form):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("pipeline.sources.arrow_part.BATCH_ROWS", 50)
    monkeypatch.setattr("pipeline.sources.json_lines.BLOCK_BYTES", 10_000)
    folder = tmp_path / "mirror" / "owner" / "name"
    folder.mkdir(parents=True)
    rows = rows_of(3, messy=messy)
    if form == "jsonl":
        (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        columns = [{k: v for k, v in row.items() if k != "ignored"} for row in rows]
        pq.write_table(pa.Table.from_pylist(columns), folder / "train.parquet")
    annotation = annotate(text)
    assert columnar_plan(annotation, None) is not None
    fast = load_examples(annotation, "train", data_root=tmp_path / "mirror")
    with monkeypatch.context() as patch:
        patch.setattr(normalise, "columnar_plan", lambda *_: None)
        patch.setattr("pipeline.examples.cache.code_fingerprint", lambda: "by rows")
        slow = load_examples(annotation, "train", data_root=tmp_path / "mirror")
    assert not slow.report.is_cached
    assert list(fast) == list(slow)
    assert fast.report.skipped == slow.report.skipped
    assert fast.report.num_rows == slow.report.num_rows == 400
    if messy == 0.0:
        assert len(fast) == 400


def test_clean_rows_need_no_python_object_each(annotate, mirror, monkeypatch):
    def refuse(*_):
        raise AssertionError("a row was read one by one")

    monkeypatch.setattr(normalise.ExampleMaker, "batch", refuse)
    examples = load_examples(annotate(PAIR), "train", data_root=mirror(train=rows_of(0)))
    assert len(examples) == 400


@pytest.mark.parametrize("label", [3, -1, "other", 1.5, True])
def test_a_label_that_is_not_listed_is_an_error_with_its_row(annotate, mirror, label):
    rows = rows_of(0, count=20)
    rows[12]["label"] = label
    with pytest.raises(AnnotationError) as caught:
        load_examples(annotate(PAIR), "train", data_root=mirror(train=rows))
    assert "row 12: fields.target" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        PAIR.replace("premise,", "{clean: premise, steps: [strip]},"),
        PAIR.replace("premise,", "premise.text,"),
        PAIR + "rows: [{where: {of: label, ne: 1}}]\n",
        CHOICE_LIST + "settings: {choice_order: hashed}\n",
        CHOICE_LIST + "settings: {max_choices: 4}\n",
        CHOICE.replace("target: gold", "target: {find: name, in: options}"),
    ],
)
def test_tasks_that_need_more_go_by_rows(annotate, text):
    assert columnar_plan(annotate(text), None) is None


def test_a_plan_reads_each_column_once(annotate):
    plan = columnar_plan(annotate(CHOICE), None)
    assert plan.columns == ["premise", "gold", "hypothesis"]
