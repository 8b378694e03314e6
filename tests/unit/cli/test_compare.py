"""`taskloom compare`: the table, the JSON file, and the gate's exit codes."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from eval.backends.given_backend import GivenBackend
from eval.compare import compare_runs
from eval.experts import compare_with_experts
from eval.harness import evaluate
from eval.leaderboard import build_leaderboard
from eval.leaderboard.details import build_details
from eval.tasks import EvalTask
from pipeline.cli.main import app
from pipeline.errors import EvalError
from pipeline.types import TaskExample, TaskSpec

runner = CliRunner()


def make_task(name: str) -> EvalTask:
    spec = TaskSpec(
        id=name,
        kind="classification",
        family="fam",
        instruction="Say.",
        labels=("yes", "no"),
        metrics=("accuracy",),
    )
    rows = [
        TaskExample(
            key=f"{name}/test/{index}",
            task=name,
            split="test",
            inputs={"text": f"row {index}"},
            target="yes",
            choices=("yes", "no"),
        )
        for index in range(40)
    ]
    return EvalTask(spec=spec, examples=rows)


def write_run(folder, *, right, names=("one", "two")):
    """Write a run that answers the first `right` rows of each task correctly."""
    tasks = [make_task(name) for name in names]
    answers = {
        row.key: "yes" if index < right else "no"
        for task in tasks
        for index, row in enumerate(task.examples)
    }
    evaluate(GivenBackend(answers, name=folder.name), tasks, output_folder=folder)
    return folder


def compare(*arguments: object):
    return runner.invoke(app, ["compare", *map(str, arguments)], catch_exceptions=False)


def test_the_table_tells_difference_interval_and_p_value(tmp_path):
    first = write_run(tmp_path / "a", right=36)
    second = write_run(tmp_path / "b", right=20)
    result = compare(first, second, "--json", tmp_path / "difference.json")
    assert result.exit_code == 0
    for shown in ("one", "two", "mean over tasks", "90.0", "50.0", "-40.0", "< 0.001"):
        assert shown in result.output
    found = json.loads((tmp_path / "difference.json").read_text())
    assert found["tasks"]["one"]["difference"] == pytest.approx(-0.4)
    assert found["tasks"]["one"]["low"] < -0.4 < found["tasks"]["one"]["high"] < 0
    assert found["macro"]["difference"] == pytest.approx(-0.4)


@pytest.mark.parametrize("option", ["--gate", "--fail-if-drop"])
@pytest.mark.parametrize(("right", "exit_code"), [(36, 0), (35, 1), (40, 0), (10, 1)])
def test_the_gate_shuts_on_a_drop_of_more_than_epsilon(tmp_path, right, exit_code, option):
    first, second = write_run(tmp_path / "a", right=36), write_run(tmp_path / "b", right=right)
    # 36 to 35 of 40 rows is a drop of 0.025.
    assert compare(first, second, option, "0.02").exit_code == exit_code
    if right == 35:
        assert compare(first, second, option, "0.03").exit_code == 0
        assert compare(first, second, option, "0.02", "--beyond-chance").exit_code == 0
    if right == 10:
        assert compare(first, second, option, "0.02", "--beyond-chance").exit_code == 1


def test_a_task_that_is_gone_shuts_the_gate(tmp_path):
    first = write_run(tmp_path / "a", right=36)
    second = write_run(tmp_path / "b", right=40, names=("one",))
    result = compare(first, second, "--gate", "0.5")
    assert result.exit_code == 1
    assert "two was not evaluated" in result.output
    assert compare(second, first, "--gate", "0.5").exit_code == 0


def test_of_a_training_run_the_adapter_is_compared(tmp_path):
    write_run(tmp_path / "run/eval/base", right=10)
    write_run(tmp_path / "run/eval/adapter", right=30)
    other = write_run(tmp_path / "other", right=30)
    assert compare(other, tmp_path / "run", "--gate", "0").exit_code == 0


def test_folders_that_cannot_be_compared_are_told(tmp_path):
    first = write_run(tmp_path / "a", right=36)
    for folder, code in ((tmp_path / "none", "CLI006"), (tmp_path, "CLI020")):
        write_run(tmp_path / "b", right=36)
        with pytest.raises(EvalError, match=code):
            compare(first, folder)


def test_negative_transfer_is_flagged_per_task(tmp_path):
    names = ("one", "two", "three")
    mixed = write_run(tmp_path / "mixed", right=30, names=names)
    worse = write_run(tmp_path / "expert-one", right=10, names=("one",))
    better = write_run(tmp_path / "expert-two", right=40, names=("two",))
    options = ["--expert", f"one={worse}", "--expert", f"two={better}"]
    arguments = ["experts", str(mixed), *options, "--json", str(tmp_path / "e.json")]
    result = runner.invoke(app, arguments, catch_exceptions=False)
    assert result.output.count("negative transfer") == 1
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["negative_transfer"] == ["two"]
    assert found["without_expert"] == ["three"]
    assert found["tasks"]["one"]["gain"] == pytest.approx(0.5)
    assert found["mean"]["difference"] == pytest.approx((0.5 - 0.25) / 2)
    for option, code in ((f"two={worse}", "EVL052"), ("two", "CLI023"), ("two=", "CLI023")):
        with pytest.raises(EvalError, match=code):
            runner.invoke(app, ["experts", str(mixed), "--expert", option], catch_exceptions=False)


def intervals(found):
    return {
        item.task: (item.comparison.low, item.comparison.high, item.comparison.p_value)
        for item in found.tasks
    }


def test_one_pair_of_runs_has_one_interval_wherever_it_is_shown(tmp_path):
    names = ("one", "two", "three")
    rights = {"one": 13, "two": 22, "three": 31}
    folders = []
    for name, right in (("base", 20), ("adapter", None)):
        tasks = [make_task(each) for each in names]
        answers = {
            row.key: "yes" if index < (right or rights[task.spec.id]) else "no"
            for task in tasks
            for index, row in enumerate(task.examples)
        }
        folders.append(tmp_path / name)
        evaluate(GivenBackend(answers, name=name), tasks, output_folder=folders[-1])
        results = json.loads((folders[-1] / "results.json").read_text())
        about = {"backend": "transformers", "model": "m"}
        about["adapter"] = None if name == "base" else name
        (folders[-1] / "results.json").write_text(json.dumps(results | about))
    found = compare_runs(*folders)
    asked = intervals(found)
    page = build_details(build_leaderboard(folders))
    shown = {item.column.task: item.differences["adapter"] for item in page}
    assert {task: (it.low, it.high, it.p_value) for task, it in shown.items()} == asked
    experts = compare_with_experts(folders[1], dict.fromkeys(reversed(names), folders[0]))
    assert intervals(experts) == asked
    assert experts.mean == found.macro
    for folder in folders:
        results = json.loads((folder / "results.json").read_text())
        results["tasks"] = dict(reversed(results["tasks"].items()))
        (folder / "results.json").write_text(json.dumps(results))
    reordered = compare_runs(*folders)
    assert [item.task for item in reordered.tasks] == ["three", "two", "one"]
    assert intervals(reordered) == asked
    assert reordered.macro == found.macro


def test_tasks_of_equal_answers_still_draw_rows_of_their_own(tmp_path):
    first, second = (write_run(tmp_path / name, right=n) for name, n in (("a", 10), ("b", 20)))
    found = compare_runs(first, second)
    # Were the draws the same, the mean would be as uncertain as one task.
    one = found.tasks[0].comparison
    width = (found.macro.high - found.macro.low) / (one.high - one.low)
    assert width == pytest.approx(0.5**0.5, abs=0.06)
