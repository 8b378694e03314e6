"""Real rows of public datasets, from a local mirror, with their rough edges."""

import collections
import json
import os
from pathlib import Path

import pytest

from eval.tasks import find_majority_answer
from pipeline.annotations.schema import load_annotation
from pipeline.examples import load_examples
from pipeline.sources import load_rows, load_side_file

ROOT = Path(os.environ.get("TASKLOOM_DATA_ROOT") or Path(__file__).parents[3] / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not (ROOT / "ncbi").is_dir(),
        reason="no mirror of public data: set TASKLOOM_DATA_ROOT, or put one at ../shared/data",
    ),
]

NCBI = """
id: ncbi_disease
task: token_classification
source: {hub: ncbi/ncbi_disease, licence: unknown, language: en}
splits: {train: train, validation: validation, test: test}
fields: {tokens: tokens, target: {spans: ner_tags, tokens: tokens}}
instruction: List every disease in the text.
"""

PUBMEDQA = """
id: pubmedqa
task: classification
source: {hub: qiaojin/PubMedQA, config: pqa_labeled, licence: mit, language: en}
splits: {train: train, test: {take: 200, from: train}}
fields:
  text: {join: "context.contexts", sep: "\\n"}
  question: question
  target: final_decision
labels: ["yes", "no", maybe]
instruction: Does the abstract answer the question with yes, no or maybe?
"""

GUE = """
id: gue/emp_H3
task: dna_classification
source: {hub: leannmlindsey/GUE, config: emp_H3, licence: apache-2.0, modality: dna}
splits: {train: train, test: test}
fields: {sequence: sequence, target: label}
labels: ["no", "yes"]
instruction: Is histone H3 bound here?
"""

BFCL = """
id: bfcl/simple_python
task: function_calling
source:
  hub: gorilla-llm/Berkeley-Function-Calling-Leaderboard
  data_files: {test: BFCL_v4_simple_python.json}
  licence: apache-2.0
splits: {test: test}
rows:
  - lookup: {as: answer, file: possible_answer/BFCL_v4_simple_python.json, key: id, of: id}
fields:
  query: question[0]
  functions: {function: function_specs, of: function}
  target:
    record:
      category: {const: simple_python}
      ground_truth: "answer[0].ground_truth"
      functions: function
settings: {checker: bfcl}
"""

SEAL_TOOLS = """
id: seal_tools
task: function_calling
source: {hub: fairyshine/Seal-Tools, licence: apache-2.0}
splits: {validation: validation, test: [test_in_domain, test_out_domain]}
rows:
  - lookup: {as: library, file: tool.jsonl, key: api_name, of: "calling[*].api", distractors: 2}
fields:
  query: query
  functions: {function: function_specs, of: library}
  target: {function: function_calls, of: calling}
"""

HAMMER = """
id: hammer/toolalpaca
task: function_calling
source: {hub: MadeAgents/Hammer, config: toolalpaca, licence: apache-2.0}
splits: {test: test}
fields:
  query: query
  functions: {function: function_specs, of: tools}
  target: {function: function_calls, of: answers}
"""


@pytest.fixture
def annotate(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))

    def make(text):
        path = tmp_path / "task.yaml"
        path.write_text(f"schema_version: 1{text}")
        return load_annotation(path)

    return make


def lines_of(path):
    with (ROOT / path).open(encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def test_the_empty_last_row_of_ncbi_is_left_out_with_a_reason(annotate):
    annotation = annotate(NCBI)
    counts = {"train": 2000, "validation": 500, "test": 500}
    for split, num_rows in counts.items():
        examples = load_examples(annotation, split, data_root=ROOT)
        assert examples.report.num_rows == num_rows
        assert len(examples) == num_rows - 1
        assert examples.report.skipped == {"fields.tokens: empty": 1}
        assert examples[-1].key == f"ncbi_disease/{split}/{num_rows - 2}"
    assert examples.spec.labels == ("Disease",)
    assert examples[0].target == [
        {"text": "Ataxia - telangiectasia", "type": "Disease", "start": 0, "end": 3},
        {"text": "A - T", "type": "Disease", "start": 4, "end": 7},
        {"text": "recessive multi - system disorder", "type": "Disease", "start": 10, "end": 15},
    ]
    assert examples[0].choices is None
    for example in examples:
        for mention in example.target:
            words = example.inputs["tokens"][mention["start"] : mention["end"]]
            assert mention["text"] == " ".join(words)


def test_pubmedqa_keeps_its_thousand_rows_apart(annotate):
    annotation = annotate(PUBMEDQA)
    train = load_examples(annotation, "train", data_root=ROOT)
    test = load_examples(annotation, "test", data_root=ROOT)
    assert (len(train), len(test)) == (800, 200)
    rows = lines_of("qiaojin/PubMedQA/pqa_labeled/train.jsonl")
    seen = {}
    for example in [*train, *test]:
        row = rows[int(example.key.rsplit("/", 1)[1])]
        assert example.inputs["question"] == row["question"]
        assert example.inputs["text"] == "\n".join(row["context"]["contexts"])
        assert example.target == row["final_decision"]
        assert example.choices == ("yes", "no", "maybe")
        seen[row["pubid"]] = example.target
    assert len(seen) == 1000
    assert collections.Counter(seen.values()) == {"yes": 552, "no": 338, "maybe": 110}
    assert find_majority_answer(train, train.spec) == "yes"


def test_gue_is_read_from_parquet(annotate):
    annotation = annotate(GUE)
    train = load_examples(annotation, "train", data_root=ROOT)
    test = load_examples(annotation, "test", data_root=ROOT)
    assert (len(train), len(test)) == (1497, 500)
    assert train.report.skipped == {}
    assert train.spec.labels == train[0].choices == ("no", "yes")
    first = train[0]
    assert first.key == "gue/emp_H3/train/0"
    assert list(first.inputs) == ["sequence"]
    assert first.inputs["sequence"].startswith("ACAATAATAATAATAATAATAATAATAATAACAATAACAATAG")
    assert first.target == "no"
    rows = load_rows(annotation, "train", ROOT)
    for example, row in zip(train, rows, strict=True):
        assert example.inputs == {"sequence": row["sequence"]}
        assert example.target == ("no", "yes")[row["label"]]


@pytest.mark.parametrize(
    "file", ["BFCL_v4_simple_python.json", "BFCL_v4_live_multiple.json", "BFCL_v4_parallel.json"]
)
def test_bfcl_rows_come_back_as_they_are_in_the_file(annotate, file):
    annotation = annotate(BFCL.replace("{test: BFCL_v4_simple_python.json}", f"{{test: {file}}}"))
    folder = "gorilla-llm/Berkeley-Function-Calling-Leaderboard"
    expected = lines_of(f"{folder}/{file}")
    rows = list(load_rows(annotation, "test", ROOT))
    assert [json.dumps(row) for row in rows] == [json.dumps(row) for row in expected]


def test_bfcl_answers_are_joined_without_invented_keys(annotate):
    examples = load_examples(annotate(BFCL), "test", data_root=ROOT)
    assert len(examples) == 400
    folder = "gorilla-llm/Berkeley-Function-Calling-Leaderboard"
    questions = lines_of(f"{folder}/BFCL_v4_simple_python.json")
    answers = lines_of(f"{folder}/possible_answer/BFCL_v4_simple_python.json")
    for example, question, answer in zip(examples, questions, answers, strict=True):
        assert question["id"] == answer["id"]
        expected = {
            "category": "simple_python",
            "ground_truth": answer["ground_truth"],
            "functions": question["function"],
        }
        assert json.dumps(example.target) == json.dumps(expected)
        assert example.inputs["query"] == question["question"][0]
        assert set(example.inputs["functions"][0]) == {"name", "description", "parameters"}
    # A number that JSON readers of `datasets` rounded to 0.0.
    assert examples[39].target["ground_truth"][0]["calculate_electric_field"]["permitivity"] == [
        "",
        8.854e-12,
    ]


def test_seal_tools_calls_refer_to_earlier_ones(annotate):
    annotation = annotate(SEAL_TOOLS)
    assert len(load_side_file(annotation, "tool.jsonl", ROOT)) == 3000
    examples = load_examples(annotation, "validation", data_root=ROOT)
    assert examples.report.num_rows == 700
    assert len(examples) + sum(examples.report.skipped.values()) == 700
    assert len(examples) >= 690
    first = examples[0]
    assert first.inputs["query"] == (
        "Retrieve information about the number of nurses in a specific country."
    )
    assert first.target == [
        {
            "name": "getHealthWorkforce",
            "arguments": {"location": "country", "occupation": "nurses"},
        }
    ]
    names = [spec["name"] for spec in first.inputs["functions"]]
    assert "getHealthWorkforce" in names
    assert len(names) == 3
    for example in examples:
        offered = {spec["name"] for spec in example.inputs["functions"]}
        assert {call["name"] for call in example.target} <= offered
    test = load_examples(annotation, "test", data_root=ROOT)
    assert test.report.num_rows == 1354


def test_hammer_rows_come_back_as_they_are_in_the_file(annotate):
    annotation = annotate(HAMMER)
    expected = lines_of("MadeAgents/Hammer/toolalpaca/test.jsonl")
    rows = list(load_rows(annotation, "test", ROOT))
    assert [json.dumps(row) for row in rows] == [json.dumps(row) for row in expected]
    examples = load_examples(annotation, "test", data_root=ROOT)
    assert examples.report.num_rows == 114
    for example in examples:
        row = rows[int(example.key.rsplit("/", 1)[1])]
        calls = [{"name": c["name"], "arguments": c["arguments"]} for c in example.target]
        assert calls == [{"name": c["name"], "arguments": c["arguments"]} for c in row["answers"]]


def test_examples_are_the_same_however_they_are_read(annotate):
    examples = load_examples(annotate(NCBI), "validation", data_root=ROOT)
    again = load_examples(annotate(NCBI), "validation", data_root=ROOT)
    assert not examples.report.is_cached
    assert again.report.is_cached
    assert list(examples) == list(again) == [again[i] for i in range(len(again))]
    few = load_examples(annotate(NCBI), "validation", data_root=ROOT, max_rows=20, seed=3)
    assert len(few) == 20
    assert set(map(str, few)) < set(map(str, examples))
