"""The way by columns against the way by rows, which is the oracle."""

import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import AnnotationError
from pipeline.examples import load_examples, making
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
fields: {text: premise, hint: hypothesis, target: name, cluster: label}
"""

PATHS = """
task: classification
splits: {train: train}
fields: {text: nested.text, context: "options[1]", target: nested.inner.label}
labels: [entailment, neutral, contradiction]
"""
STRUCTS = """
task: multiple_choice
splits: {train: train}
fields:
  question: premise
  choices: records.text
  target: {find: key, in: "records[*].name", else: skip}
"""
ROWS_KEPT = """
task: classification
splits: {train: train}
rows:
  - let: {doubled: {text: "{premise} {premise}"}, size: {clean: hypothesis, steps: [len]}}
  - where: {any: [{of: label, ne: 1}, {of: premise, contains: "0.5"}]}
  - where: {not: {of: size, lt: 3}}
fields: {text: doubled, context: {const: fixed}, target: label, cluster: name}
labels: [low, middle, high]
"""
TEMPLATES = """
task: text
splits: {train: train}
fields:
  both: {text: "P: {premise}\\nL: {label} {flag} {score}", with: {}}
  parts: {join: [premise, hypothesis, name], sep: " | ", skip: [null, ""]}
  strict: {join: [premise, name], sep: " - ", strip: true}
  listed: {join: options, sep: "; "}
  pair: [premise, name]
  number: label
  decimal: score
  kept: flag
  target: {clean: name, steps: [strip, {replace: [te, "\u00e9"]}, lower]}
"""
TABLES = """
task: classification
splits: {train: train}
fields:
  text: {clean: premise, steps: [lstrip, {rstrip: "x0123456789"}]}
  context: {map: gold, to: {"0": {text: "zero {name}"}, "1": {const: one}}, else: skip}
  target: {bin: score, at: [-0.5, 0.5], to: [low, middle, high]}
labels: [low, middle, high]
"""
CONDITIONS = """
task: pair_classification
splits: {train: train}
fields:
  text_a: {if: {of: flag, truthy: true}, then: premise, else: hypothesis}
  text_b: {first: [name, hypothesis]}
  target:
    if: {all: [{of: score, gt: 0}, {of: flag, eq: true}]}
    then: {const: "yes"}
    else: {const: "no"}
labels: ["no", "yes"]
"""
CHOICE_HASHED = CHOICE_LIST + "settings: {choice_order: hashed, max_choices: 3}\n"
REGRESSION = """
task: regression
splits: {train: train}
fields: {text_a: premise, target: score}
settings: {minimum: -1, maximum: 1}
"""
MULTI = """
task: multi_label
splits: {train: train}
fields: {text: premise, target: {flags: {a: flag, b: label}}}
labels: [a, b]
"""
COMPUTED = """
task: extractive_qa
splits: {train: train}
fields: {context: {text: "{premise} {$question}", with: {}}, question: hypothesis, target: options}
"""
REGEX = """
task: text
splits: {train: train}
rows: [{where: {of: premise, matches: "[0-9a]"}}]
fields:
  sub: {clean: premise, steps: [{sub: ["[aeiou]+", "<\\\\0>"]}, upper]}
  spaces: {clean: {text: " {premise}\\t \\x1c {name}  "}, steps: [spaces]}
  target: {clean: name, steps: [{extract: "t(ex)t|x|a+"}, capitalize]}
"""
EVERY_TASK = {
    "regex": REGEX,
    "pair": PAIR,
    "classification": CLASSIFICATION,
    "choice": CHOICE,
    "choice_list": CHOICE_LIST,
    "text": TEXT,
    "paths": PATHS,
    "structs": STRUCTS,
    "rows_kept": ROWS_KEPT,
    "templates": TEMPLATES,
    "tables": TABLES,
    "conditions": CONDITIONS,
    "choice_hashed": CHOICE_HASHED,
    "regression": REGRESSION,
    "multi": MULTI,
    "computed": COMPUTED,
}

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
            "options": [text() or "" for _ in range(rng.randint(0 if messy else 2, 4))],
            "name": text(),
            "flag": rng.random() < 0.5 if rng.random() >= messy else None,
            "score": rng.choice([-0.5, -0.0, 0.0, 0.25, 1.0, rng.uniform(-1, 1)]),
            "key": rng.choice("abc"),
            "records": [
                {"name": name, "text": text() or ""}
                for name in "abc"[: rng.randint(1 if messy else 3, 3)]
            ],
            "nested": {"text": text(), "inner": {"label": rng.randrange(3)}},
            "ignored": {"k": rng.choice([1, "s", None])},
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("name", EVERY_TASK)
@pytest.mark.parametrize("messy", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_both_ways_give_the_same(annotate, tmp_path, monkeypatch, name, messy, form):
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
    annotation = annotate(EVERY_TASK[name])
    assert columnar_plan(annotation, None) is not None
    fast = load_examples(annotation, "train", data_root=tmp_path / "mirror")
    with monkeypatch.context() as patch:
        patch.setattr(making, "columnar_plan", lambda *_: None)
        patch.setattr("pipeline.examples.cache.code_fingerprint", lambda: "by rows")
        slow = load_examples(annotation, "train", data_root=tmp_path / "mirror")
    assert not slow.report.is_cached
    assert list(fast) == list(slow)
    assert fast.report.skipped == slow.report.skipped
    assert fast.report.num_rows == slow.report.num_rows == 400
    if messy == 0.0 and name not in {"regex", "rows_kept", "templates"}:
        assert len(fast) == 400


@pytest.mark.parametrize("name", EVERY_TASK)
def test_few_rows_are_left_to_the_way_by_rows(annotate, name):
    rows = [{k: v for k, v in row.items() if k != "ignored"} for row in rows_of(5)]
    annotation = annotate(EVERY_TASK[name])
    plan = columnar_plan(annotation, None)
    batch = pa.RecordBatch.from_pylist(rows).select(list(plan.columns))
    encoded = plan.encode(range(400), batch, making.examples_schema(annotation))
    assert len(encoded.left) < 100
    num_made = len(encoded.numbers) + len(encoded.left) + encoded.skipped.total()
    assert num_made == 400
    assert encoded.examples.num_rows == len(encoded.numbers)


def test_clean_rows_need_no_python_object_each(annotate, mirror, monkeypatch):
    def refuse(*_):
        raise AssertionError("a row was read one by one")

    monkeypatch.setattr(making.ExampleMaker, "batches", refuse)
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
        PAIR + "rows: [{explode: options}]\n",
        PAIR + "rows: [{unique: premise}]\n",
        PAIR + "rows: [{cap_per: label, max: 3}]\n",
    ],
)
def test_tasks_that_multiply_or_compare_rows_go_by_rows(annotate, text):
    assert columnar_plan(annotate(text), None) is None


def test_a_plan_reads_each_column_once(annotate):
    plan = columnar_plan(annotate(CHOICE), None)
    assert plan.columns == ("gold", "hypothesis", "premise")
