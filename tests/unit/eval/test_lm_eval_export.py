"""Tasks as files for lm-eval; with TASKLOOM_LM_EVAL_PYTHON also run by lm-eval itself."""

import json
import os
import subprocess
from dataclasses import replace

import pytest

from eval.backends.transformers_backend import TransformersBackend
from eval.harness import evaluate
from eval.lm_eval_export import export_for_lm_eval, task_name
from eval.results import read_samples
from eval.tasks import EvalTask
from pipeline.errors import OutputError
from pipeline.types import TaskExample, TaskSpec
from tests.unit.eval.tiny_llama import build_tiny_model, build_tiny_tokenizer

PEER = os.environ.get("TASKLOOM_LM_EVAL_PYTHON")
LABELS = ("yes", "no", "perhaps so")


def make_task(name="one/label", kind="classification", **inputs):
    labels = LABELS if kind == "classification" else None
    spec = TaskSpec(
        id=name,
        kind=kind,
        family="one",
        instruction="Answer: {{ 7 * 7 }} {% raw %}",
        labels=labels,
        metrics={"classification": ("mcc", "accuracy"), "text": ("exact_match",)}.get(
            kind, ("call_exact_match",)
        ),
    )
    targets = {"classification": "no", "text": "gold {{x}}"}
    rows = [
        TaskExample(
            key=f"{name}/test/{index}",
            task=name,
            split="test",
            inputs=inputs or {"text": f"row {index} '\"{{{{ x }}}}"},
            target=targets.get(kind, [{"name": "f", "arguments": {}}]),
            choices=labels,
        )
        for index in range(12)
    ]
    return EvalTask(spec=spec, examples=rows)


def read(path):
    return json.loads(path.read_text())


def test_a_task_with_choices_is_multiple_choice_with_our_prompts(tmp_path):
    (found,) = export_for_lm_eval([make_task()], tmp_path)
    assert (found.name, found.num_rows) == ("taskloom_one_label", 12)
    config = read(tmp_path / "taskloom_one_label.yaml")
    assert config["output_type"] == "multiple_choice"
    assert config["metric_list"] == [{"metric": "acc"}, {"metric": "mcc"}]
    assert config["target_delimiter"] == ""
    rows = [
        json.loads(line) for line in (tmp_path / f"{found.name}.jsonl").read_text().splitlines()
    ]
    assert [row["key"] for row in rows] == [f"one/label/test/{index}" for index in range(12)]
    assert rows[3]["choices"][rows[3]["gold_index"]] == "no"
    assert "row 3 '\"{{ x }}" in rows[3]["prompt"]
    # The prompt comes from the data, so braces in it are never read as a template.
    assert config["doc_to_text"] == "{{prompt}}"
    assert read(tmp_path / "taskloom.yaml")["task"] == ["taskloom_one_label"]


def test_what_lm_eval_does_otherwise_is_noted(tmp_path):
    plain = make_task()
    spec = replace(plain.spec, labels=("yes", "no", "not at all"))
    rows = [replace(row, choices=spec.labels) for row in plain.examples]
    tasks = [plain, EvalTask(spec=replace(spec, id="one/other"), examples=rows)]
    other, beginning = export_for_lm_eval(tasks, tmp_path)
    assert beginning.note.startswith("'no' begins 'not at all'")
    assert other.note == ""


def test_an_open_task_is_generated_and_matched_exactly(tmp_path):
    (found,) = export_for_lm_eval([make_task("one/text", "text")], tmp_path)
    config = read(tmp_path / f"{found.name}.yaml")
    assert config["output_type"] == "generate_until"
    assert config["generation_kwargs"]["do_sample"] is False
    assert config["metric_list"][0]["metric"] == "exact_match"


def test_what_lm_eval_cannot_ask_is_left_out_by_name(tmp_path):
    function = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}
    task = make_task("two/calls", "function_calling", query="Call it.", functions=[function])
    (found,) = export_for_lm_eval([task], tmp_path)
    assert found.name == ""
    assert "functions" in found.reason
    assert not list(tmp_path.iterdir())


def test_an_export_replaces_nothing_but_an_export(tmp_path):
    folder = tmp_path / "exported"
    export_for_lm_eval([make_task("one/label"), make_task("one/other")], folder)
    export_for_lm_eval([make_task()], folder)
    names = {
        "manifest.json",
        "taskloom.yaml",
        "taskloom_one_label.jsonl",
        "taskloom_one_label.yaml",
    }
    assert {path.name for path in folder.iterdir()} == names
    rows = read(folder / "taskloom_one_label.yaml")["dataset_kwargs"]["data_files"]["test"]
    assert rows == str(folder / "taskloom_one_label.jsonl")
    own = tmp_path / "own"
    own.mkdir()
    (own / "topic.yaml").write_text("id: topic\n")
    for place in (own, tmp_path):
        with pytest.raises(OutputError, match="OUT004"):
            export_for_lm_eval([make_task()], place)
    assert [path.name for path in own.iterdir()] == ["topic.yaml"]


def test_names_are_those_lm_eval_takes():
    assert task_name("gue/emp_H3") == "taskloom_gue_emp_H3"
    assert task_name("a/b-c.d {e}") == "taskloom_a_b_c_d_e_"


@pytest.mark.slow
@pytest.mark.timeout(700)
@pytest.mark.skipif(PEER is None, reason="no lm-eval: set TASKLOOM_LM_EVAL_PYTHON")
def test_lm_eval_gives_the_accuracy_and_likelihoods_of_our_harness(tmp_path):
    model, tokenizer = build_tiny_model(), build_tiny_tokenizer()
    model.save_pretrained(tmp_path / "base")
    tokenizer.save_pretrained(tmp_path / "base")
    task = make_task()
    # lm-eval draws 100,000 bootstrap samples of other metrics, which takes minutes.
    task = replace(task, spec=replace(task.spec, metrics=("accuracy",)))
    export_for_lm_eval([task], tmp_path / "tasks")
    backend = TransformersBackend(model, tokenizer, model_name="tiny")
    ours = evaluate(backend, [task], output_folder=tmp_path / "ours")
    command = [
        str(PEER), "-m", "lm_eval", "--model", "hf", "--device", "cpu", "--batch_size", "4",
        "--model_args", f"pretrained={tmp_path / 'base'},dtype=float32",
        "--include_path", str(tmp_path / "tasks"), "--tasks", "taskloom_one_label",
        "--apply_chat_template", "--log_samples", "--output_path", str(tmp_path / "peer"),
    ]  # fmt: skip
    subprocess.run(command, check=True, timeout=600, cwd=tmp_path, capture_output=True)
    (results,) = (tmp_path / "peer").rglob("results*.json")
    found = read(results)["results"]["taskloom_one_label"]["acc,none"]
    assert found == ours.tasks[0].metrics["accuracy"].value
    (samples,) = (tmp_path / "peer").rglob("samples*.jsonl")
    theirs = {row["doc"]["key"]: row for row in map(json.loads, samples.read_text().splitlines())}
    for row in read_samples(tmp_path / "ours"):
        likelihoods = [float(answer[0][0]) for answer in theirs[row["key"]]["resps"]]
        # lm-eval counts the line feed before the answer with every choice.
        shift = row["choices"]["log_likelihood"][0] - likelihoods[0]
        shifted = [value + shift for value in likelihoods]
        assert shifted == pytest.approx(row["choices"]["log_likelihood"], abs=1e-3)
