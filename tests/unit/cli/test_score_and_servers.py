"""`taskloom score` and `taskloom eval http://...`: groups of tasks, names, and what is told."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from eval.results import read_results
from pipeline.cli import eval_tasks, report
from pipeline.cli.main import app
from pipeline.errors import EvalError
from tests.unit.cli.test_compare import make_task
from tests.unit.eval.loopback import completion, serve


@pytest.fixture
def tasks(monkeypatch):
    made = [make_task("bfcl/one"), make_task("bfcl/two")]
    monkeypatch.setattr(eval_tasks, "build_eval_tasks", lambda *_, **__: made)
    return made


def run(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def test_a_name_that_stands_for_several_tasks_is_scored_as_all_of_them(tasks, tmp_path):
    path = tmp_path / "answers.jsonl"
    rows = [{"key": task.examples[0].key, "text": "yes"} for task in tasks]
    path.write_text("\n".join(map(json.dumps, rows)))
    result = run("score", "bfcl", path, "--out", tmp_path / "out")
    assert result.exit_code == 0
    assert "78 of 80 rows without an answer" in result.output
    assert "39 without an answer" in result.output
    assert "unparsable" not in result.output
    assert ", 39 without an answer" in (tmp_path / "out" / "report.html").read_text()
    found = read_results(tmp_path / "out")["tasks"]
    assert {name: entry["metrics"]["accuracy"]["value"] for name, entry in found.items()} == {
        "bfcl/one": 1 / 40,
        "bfcl/two": 1 / 40,
    }


def test_a_served_models_name_stands_in_the_results_and_answers_taken_over_are_told(
    tasks, tmp_path, monkeypatch
):
    monkeypatch.setattr(report, "show_leaderboard", lambda *_: None)
    with serve(lambda *_: completion("yes")) as server:
        command = ["eval", server.url, "--served-model", "me/a", "--tasks", "bfcl"]
        first = run(*command, "--out", tmp_path / "out")
        second = run(*command, "--out", tmp_path / "out")
    assert len(server.requests) == 80
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("results.json"))
    results = read_results(folder)
    assert results["name"] == results["model"] == "me/a"
    assert "127.0.0.1" not in json.dumps(results)
    assert "taken over" not in first.output
    assert "80 answers were taken over" in second.output


@pytest.mark.parametrize("option", ["--concurrency", "--timeout", "--attempts"])
def test_options_of_servers_are_refused_where_there_is_none(option):
    with pytest.raises(EvalError, match=f"{option}.*CLI021"):
        run("eval", "embedded", "--tasks", "codah", option, "3")
