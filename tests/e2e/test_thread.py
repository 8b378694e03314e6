"""The whole thread through the command line: recipe, training, evaluation, leaderboard."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.slow

QUICKSTART = ROOT / "recipes" / "quickstart" / "embedded.yaml"
REAL_ROWS = ROOT / "recipes" / "mixed" / "real_rows.yaml"


def read_results(folder: Path) -> dict:
    return json.loads((folder / "results.json").read_text(encoding="utf-8"))


def read_samples(folder: Path) -> list[dict]:
    lines = (folder / "samples.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


class Text(HTMLParser):
    """Collects the visible text of a page, and what it would load from elsewhere."""

    def __init__(self) -> None:
        super().__init__()
        self.text: list[str] = []
        self.loaded: list[str] = []

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        if tag in {"img", "script", "link", "iframe"}:
            self.loaded += [value for name in ("src", "href") if (value := values.get(name))]

    def handle_data(self, data):
        self.text.append(data)


def check_run_folder(run: Path) -> None:
    for name in ("recipe.resolved.yaml", "environment.json", "data_report.json", "metrics.jsonl"):
        assert (run / name).is_file(), name
    assert (run / "adapter" / "adapter_model.safetensors").is_file()
    assert not list(run.rglob("*.bin"))
    page = Text()
    page.feed((run / "report.html").read_text(encoding="utf-8"))
    assert page.loaded == []
    text = "".join(page.text)
    assert "majority" in text.lower()
    assert f"Learning curves of {run.name}" in text


def test_the_quickstart_recipe_trains_evaluates_and_reports(workspace, small_base):
    run = workspace.folder / "run"
    changes = ["--model_name_or_path", str(small_base), "--output_dir", str(run)]
    changes += ["--evaluation.max_rows", "8", "--evaluation.max_length", "1024"]
    printed = workspace.train(str(QUICKSTART), *changes, "--max_steps", "4")
    assert "adapter:" in printed
    printed = workspace.taskloom("eval", "--recipe", str(QUICKSTART), *changes, "--max_steps", "4")
    check_run_folder(run)
    assert str(run / "report.html") in printed.replace("\n", "")
    base, adapter = read_results(run / "eval" / "base"), read_results(run / "eval" / "adapter")
    assert len(base["tasks"]) >= 8
    assert {task["family"] for task in base["tasks"].values()} >= {
        "biomedical",
        "function_calling",
        "dna",
    }
    for results in (base, adapter):
        assert results["data_root_kind"] == "embedded"
        assert results["max_length"] == 1024
        for task in results["tasks"].values():
            assert task["num_rows"] == 8
            headline = task["metrics"][task["headline"]]
            assert 0 <= headline["value"] <= 1 or task["headline"] == "mcc"
            assert headline["standard_error"] >= 0
    assert len(read_samples(run / "eval" / "adapter")) == 8 * len(adapter["tasks"])
    assert base["tasks"].keys() == adapter["tasks"].keys()


def test_training_twice_gives_the_same_losses_and_weights(workspace, small_base):
    losses, weights = [], []
    for name in ("first", "second"):
        run = workspace.folder / name
        arguments = ["--model_name_or_path", str(small_base), "--output_dir", str(run)]
        workspace.train(str(QUICKSTART), *arguments, "--max_steps", "3", "--logging_steps", "1")
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        losses.append([json.loads(line).get("loss") for line in lines])
        weights.append((run / "adapter" / "adapter_model.safetensors").read_bytes())
    assert losses[0] == losses[1]
    assert len(losses[0]) >= 3
    assert weights[0] == weights[1]


@pytest.mark.real_data
def test_the_real_rows_recipe_runs_on_the_local_mirror(workspace, small_base, mirror):
    run = workspace.folder / "run"
    changes = ["--model_name_or_path", str(small_base), "--output_dir", str(run)]
    changes += ["--max_steps", "2", "--max_length", "512", "--evaluation.max_rows", "4"]
    changes += ["--data_root", str(mirror)]
    workspace.train(str(REAL_ROWS), *changes)
    workspace.taskloom("eval", "--recipe", str(REAL_ROWS), *changes)
    check_run_folder(run)
    results = read_results(run / "eval" / "adapter")
    assert results["data_root_kind"] == "mirror"
    assert {
        "ncbi_disease",
        "pubmedqa",
        "gue/emp_H3",
        "seal_tools/calls",
        "bfcl/simple_python",
    } <= results["tasks"].keys()
    keys = {sample["key"] for sample in read_samples(run / "eval" / "adapter")}
    assert len(keys) == 4 * len(results["tasks"])
    report = json.loads((run / "data_report.json").read_text(encoding="utf-8"))
    assert "ncbi_disease" in json.dumps(report)


def test_the_steps_between_work_by_themselves(workspace, small_base):
    out = workspace.folder / "rows.jsonl"
    data = ["--data-root", "embedded"]
    workspace.taskloom(*data, "export", "ncbi_disease", "--split", "test", "--out", str(out))
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert list(rows[0]) == [
        "key",
        "task",
        "split",
        "inputs",
        "target",
        "choices",
        "prompt",
        "completion",
        "tools",
    ]
    assert rows[0]["key"] == "ncbi_disease/test/0"

    shown = workspace.taskloom(*data, "show", "ncbi_disease", "--model", str(small_base), "-n", "1")
    assert "trained on" in shown

    planned = workspace.taskloom(
        "plan", str(QUICKSTART), "--model_name_or_path", str(small_base), "--json"
    )
    plan = json.loads(planned[planned.index("{") : planned.rindex("}") + 1])
    assert sum(task["rate"] for task in plan["tasks"]) == pytest.approx(1.0)

    right = [{"key": row["key"], "text": row["completion"]} for row in rows]
    answers = workspace.folder / "answers.jsonl"
    answers.write_text("\n".join(json.dumps(row) for row in right), encoding="utf-8")
    scores = workspace.folder / "scores"
    workspace.taskloom(*data, "score", "ncbi_disease", str(answers), "--out", str(scores))
    result = read_results(scores)["tasks"]["ncbi_disease"]
    assert result["metrics"]["entity_f1"]["value"] == 1.0

    board = workspace.folder / "board"
    workspace.taskloom("report", str(scores), "--out", str(board))
    with next(board.glob("*.csv")).open(encoding="utf-8") as stream:
        assert any("ncbi_disease" in ",".join(row) for row in csv.reader(stream))
