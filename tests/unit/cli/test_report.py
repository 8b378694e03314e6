"""`taskloom report`: several runs in one table, joined runs, and differences with intervals."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from eval.compare import compare_runs
from eval.joining import join_results
from eval.results import read_results, read_samples_by_task
from pipeline.cli.main import app
from pipeline.errors import EvalError, OutputError
from tests.unit.cli.test_compare import write_run

runner = CliRunner()


def report(*arguments: object):
    return runner.invoke(app, ["report", *map(str, arguments)], catch_exceptions=False)


@pytest.fixture
def runs(tmp_path):
    """Two runs of both tasks, and one run per task."""
    write_run(tmp_path / "weak", right=20)
    write_run(tmp_path / "strong", right=36)
    write_run(tmp_path / "single" / "first", right=30, names=("one",))
    write_run(tmp_path / "single" / "second", right=10, names=("two",))
    return tmp_path


def test_runs_of_single_tasks_are_one_row_with_a_mean(runs):
    out = runs / "out"
    result = report(runs / "weak", f"single={runs / 'single'}", "--out", out)
    assert result.exit_code == 0
    board = json.loads((out / "leaderboard.json").read_text())
    means = {row["name"]: row["macro_mean"]["value"] for row in board["runs"]}
    assert means["single"] == pytest.approx((30 / 40 + 10 / 40) / 2)
    assert board["differences"] is None


def test_differences_are_those_of_compare_and_stand_in_table_json_and_page(runs):
    out = runs / "out"
    result = report(runs / "weak", runs / "strong", "--against", "weak", "--out", out)
    assert result.exit_code == 0
    found = compare_runs(runs / "weak", runs / "strong")
    low, high = (f"{100 * value:+.1f}" for value in (found.macro.low, found.macro.high))
    shown = f"+40.0 ({low} to {high})"
    assert shown in result.output
    assert shown in (out / "report.html").read_text()
    board = json.loads((out / "leaderboard.json").read_text())
    assert board["differences"]["against"] == "weak"
    assert board["differences"]["runs"] == {"strong": found.to_json()}


def test_a_joined_run_is_an_evaluation_like_any_other(runs):
    joined = join_results(
        [runs / "single" / "first", runs / "single" / "second"], runs / "joined", name="single"
    )
    results = read_results(joined)
    assert {task: entry["num_rows"] for task, entry in results["tasks"].items()} == {
        "one": 40,
        "two": 40,
    }
    assert len(read_samples_by_task(joined, results["tasks"])["two"]) == 40
    compared = compare_runs(runs / "weak", joined)
    assert [item.comparison.difference for item in compared.tasks] == pytest.approx([0.25, -0.25])


def test_of_a_training_run_its_adapter_is_joined(tmp_path):
    for name, right in (("base", 10), ("adapter", 30)):
        write_run(tmp_path / "single" / "first" / "eval" / name, right=right, names=("one",))
    write_run(tmp_path / "other", right=20, names=("one",))
    out = tmp_path / "out"
    report(tmp_path / "other", f"single={tmp_path / 'single'}", "--out", out)
    (_, single) = json.loads((out / "leaderboard.json").read_text())["runs"]
    assert single["tasks"]["one"]["value"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["weak", "twice=."], "EVL026"),
        (["weak", "strong", "--against", "wek"], "EVL062"),
        (["weak", "../x=strong"], "CLI024"),
        (["weak", "single=nowhere"], "CLI006"),
    ],
)
def test_mistakes_are_told_in_one_line(runs, monkeypatch, arguments, code):
    monkeypatch.chdir(runs)
    with pytest.raises(EvalError) as caught:
        report(*arguments, "--out", "out")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
    assert not (runs / "out").exists()


def change(folder, **facts):
    path = folder / "results.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


def test_a_joined_run_is_transductive_where_any_part_is(runs):
    change(runs / "single" / "second", transductive=True)
    parts = [runs / "single" / name for name in ("first", "second")]
    assert read_results(join_results(parts, runs / "joined", name="single"))["transductive"]


def test_generated_rows_are_not_joined_to_public_ones(runs):
    change(runs / "single" / "second", data_root_kind="embedded")
    parts = [runs / "single" / name for name in ("first", "second")]
    with pytest.raises(EvalError, match=r"embedded.*EVL027"):
        join_results(parts, runs / "joined", name="single")
    assert not (runs / "joined").exists()


def test_files_of_ones_own_are_joined_to_rows_of_a_data_root(runs):
    change(runs / "single" / "first", data_root_kind="files")
    parts = [runs / "single" / name for name in ("first", "second")]
    joined = read_results(join_results(parts, runs / "joined", name="single"))
    assert joined["data_root_kind"] == "hub"


def test_a_file_for_a_folder_is_told_before_anything_is_shown(runs, tmp_path):
    (tmp_path / "README.md").touch()
    with pytest.raises(OutputError, match=r"this is a file.*\[OUT001\]"):
        report(runs / "weak", "--out", tmp_path / "README.md")
