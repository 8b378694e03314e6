"""Files of an evaluation that are missing, foreign or damaged; comparing runs that do not fit."""

import json
import socket
from pathlib import Path

import pytest

from eval.compare import TaskComparison, compare_runs
from eval.environment import describe_environment
from eval.experts import compare_with_experts
from eval.results import (
    prompt_excerpt,
    read_results,
    read_samples,
    spec_from_results,
    without_local_folders,
)
from eval.statistics import Comparison
from pipeline.errors import EvalError


def code_of(call):
    with pytest.raises(EvalError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize(
    ("text", "code"),
    [
        (None, "EVL020"),
        ("{", "EVL020"),
        ("", "EVL020"),
        ("[]", "EVL021"),
        ("{}", "EVL021"),
        ('{"schema_version": 99, "tasks": {}}', "EVL021"),
        ('{"schema_version": 1}', "EVL021"),
    ],
)
def test_results_that_cannot_be_used_are_refused(tmp_path, text, code):
    if text is not None:
        (tmp_path / "results.json").write_text(text)
    assert code_of(lambda: read_results(tmp_path)) == code


def test_samples_that_are_missing_or_cut_are_refused(tmp_path):
    assert code_of(lambda: list(read_samples(tmp_path))) == "EVL022"
    path = tmp_path / "samples.jsonl"
    path.write_text('{"key": "a", "task": "t"}\n{"key": "b"}\n')
    rows = read_samples(tmp_path)
    assert next(rows)["key"] == "a"
    assert code_of(lambda: next(rows)) == "EVL023"


def entry(sha, num_rows=1):
    return {
        "num_rows": num_rows,
        "family": "f",
        "kind": "classification",
        "labels": ["a", "b"],
        "settings": {},
        "instruction": "",
        "headline": "accuracy",
        "data_sha256": sha,
        "metrics": {"accuracy": {"value": 1.0, "standard_error": 0.0}},
    }


def write_run(folder, answers, *, task="t", sha="x"):
    folder.mkdir()
    results = {"schema_version": 1, "tasks": {task: entry(sha, len(answers))}}
    (folder / "results.json").write_text(json.dumps(results))
    rows = [
        {"key": str(i), "task": task, "parsed": a, "target": "a"} for i, a in enumerate(answers)
    ]
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_runs_are_compared_on_their_headline_metric(tmp_path):
    first = write_run(tmp_path / "1", ["a"] * 50 + ["b"] * 50)
    second = write_run(tmp_path / "2", ["a"] * 90 + [None] * 10)
    (found,) = compare_runs(first, second).tasks
    assert (found.task, found.metric) == ("t", "accuracy")
    assert found.comparison.difference == pytest.approx(0.4)
    assert found.comparison.p_value < 0.01
    (back,) = compare_runs(second, first).tasks
    assert back.comparison.difference == pytest.approx(-0.4)
    assert back.has_dropped(0.01)
    assert not back.has_dropped(0.5)
    assert not found.has_dropped(0.01)


def test_runs_that_cannot_be_compared_are_refused(tmp_path):
    first = write_run(tmp_path / "1", ["a"])
    assert (
        code_of(lambda: compare_runs(first, write_run(tmp_path / "2", ["a"], task="u"))) == "EVL050"
    )
    assert (
        code_of(lambda: compare_runs(first, write_run(tmp_path / "3", ["a"], sha="y"))) == "EVL051"
    )


def test_samples_cut_at_a_line_end_are_noticed_by_their_number(tmp_path):
    first = write_run(tmp_path / "1", ["a"] * 4)
    second = write_run(tmp_path / "2", ["a"] * 4)
    samples = second / "samples.jsonl"
    lines = samples.read_text().splitlines(keepends=True)
    for broken in (lines[:3], [*lines[:3], lines[2]], [*lines, lines[0]]):
        samples.write_text("".join(broken))
        assert code_of(lambda: compare_runs(first, second)) == "EVL025"


def test_the_mean_over_tasks_has_a_paired_interval_of_its_own(tmp_path):
    folders = []
    for name, answers in (("1", ["a", "b"] * 50), ("2", ["a"] * 70 + ["b"] * 30)):
        folder = write_run(tmp_path / name, answers)
        results = json.loads((folder / "results.json").read_text())
        results["tasks"]["u"] = results["tasks"]["t"]
        (folder / "results.json").write_text(json.dumps(results))
        rows = (folder / "samples.jsonl").read_text()
        (folder / "samples.jsonl").write_text(rows + rows.replace('"task": "t"', '"task": "u"'))
        folders.append(folder)
    found = compare_runs(*folders)
    task = found.tasks[0].comparison
    assert found.macro.difference == pytest.approx(task.difference) == pytest.approx(0.2)
    # Two independent tasks: the interval of the mean is narrower by the square root of 2.
    shrunk = (found.macro.high - found.macro.low) / (task.high - task.low)
    assert shrunk == pytest.approx(2**-0.5, rel=0.15)
    assert found.to_json()["worst_task"] in {"t", "u"}


def test_tasks_of_one_run_only_are_told(tmp_path):
    first = write_run(tmp_path / "1", ["a"])
    results = json.loads((first / "results.json").read_text())
    results["tasks"]["gone"] = entry("x", 0)
    (first / "results.json").write_text(json.dumps(results))
    second = write_run(tmp_path / "2", ["a"])
    assert compare_runs(first, second).only_first == ("gone",)
    assert compare_runs(second, first).only_second == ("gone",)


def test_a_drop_within_chance_does_not_fail_the_gate():
    def dropped(difference, low, high, *, higher_is_better=True, beyond_chance=True, p_value=0.01):
        comparison = Comparison(
            first=0.5,
            second=0.5 + difference,
            difference=difference,
            low=low,
            high=high,
            p_value=p_value,
            num_rows=100,
        )
        return TaskComparison(
            task="t", metric="m", higher_is_better=higher_is_better, comparison=comparison
        ).has_dropped(0.01, beyond_chance=beyond_chance)

    assert dropped(-0.1, -0.15, -0.05)
    assert not dropped(-0.1, -0.15, -0.05, p_value=0.06)
    assert not dropped(-0.1, -0.25, 0.05)
    assert dropped(-0.1, -0.25, 0.05, beyond_chance=False)
    assert not dropped(-0.005, -0.006, -0.004, beyond_chance=False)
    assert not dropped(-0.005, -0.006, -0.004)
    assert not dropped(0.1, 0.05, 0.15)
    assert dropped(0.1, 0.05, 0.15, higher_is_better=False)
    assert not dropped(-0.1, -0.15, -0.05, higher_is_better=False)


def test_a_task_is_rebuilt_from_its_results():
    spec = spec_from_results("t", entry("x"))
    assert (spec.id, spec.labels, spec.metrics) == ("t", ("a", "b"), ("accuracy",))


def test_prompts_are_kept_at_both_ends():
    assert prompt_excerpt("x" * 1200) == "x" * 1200
    text = prompt_excerpt("a" * 2000 + "b" * 2000)
    assert text.startswith("a" * 900)
    assert text.endswith("b" * 300)
    assert len(text) < 1300


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("ncbi/ncbi_disease", "ncbi/ncbi_disease"),
        ("ncbi/ncbi_disease@1a2b", "ncbi/ncbi_disease@1a2b"),
        ("/data/me/mirror/ncbi/ncbi_disease", "ncbi/ncbi_disease"),
        ("~/mirror/own/name/", "own/name"),
        ("../data/own/name", "own/name"),
        ("C:\\Users\\me\\own\\name", "own/name"),
        ("", ""),
    ],
)
def test_folders_of_this_machine_are_left_out(name, shown):
    assert without_local_folders(name) == shown


def test_the_environment_names_versions_but_no_machine():
    facts = describe_environment()
    assert set(facts) == {"python", "libraries", "git_commit", "hardware"}
    assert facts["libraries"]["numpy"]
    text = json.dumps(facts)
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text


def test_three_rows_are_no_negative_transfer(tmp_path):
    expert = write_run(tmp_path / "expert", ["a"] * 3)
    mixed = write_run(tmp_path / "mixed", ["b"] * 3)
    found = compare_with_experts(mixed, {"t": expert})
    assert found.tasks[0].gain == -1.0
    assert found.negative_transfer == ()
    expert = write_run(tmp_path / "large expert", ["a"] * 30)
    mixed = write_run(tmp_path / "large mixed", ["b"] * 30)
    assert compare_with_experts(mixed, {"t": expert}).negative_transfer == ("t",)
