"""Rows that training and evaluation share, from the command line to the data report."""

from __future__ import annotations

import json
import re
import sys

import pytest

from benchmarks.planted_rows import make_texts

pytestmark = pytest.mark.slow

TASK = """schema_version: 1
id: mine
task: classification
source: {hub: own/mine, licence: cc0-1.0}
splits: {train: train, test: test}
fields: {text: text, target: label}
labels: ["no", "yes"]
instruction: Answer.
"""
RECIPE = """model_name_or_path: embedded
data_root: mirror
annotations: [annotations]
tasks: [mine]
max_steps: 1
per_device_train_batch_size: 1
packing: false
"""


@pytest.fixture
def leaking(workspace, small_base):
    """A workspace with a recipe of which 2 of 22 training rows stand among 10 test rows."""
    rows = [{"text": text, "label": n % 2} for n, text in enumerate(make_texts(40, seed=4))]
    splits = {"train": [*rows[:20], rows[31], rows[33]], "test": rows[30:]}
    folder = workspace.folder / "mirror" / "own" / "mine"
    folder.mkdir(parents=True)
    for name, chosen in splits.items():
        lines = (json.dumps(row) for row in chosen)
        (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
    (workspace.folder / "annotations").mkdir()
    (workspace.folder / "annotations" / "mine.yaml").write_text(TASK)
    (workspace.folder / "recipe.yaml").write_text(RECIPE)
    return workspace


def test_overlap_shows_pairs_of_tasks_and_writes_pairs_of_rows(leaking):
    shown = leaking.taskloom("overlap", "recipe.yaml", "--out", "pairs.jsonl")
    assert re.search(r"mine +mine/test +10 +2 +0 +20\.0% +2", shown), shown
    assert "2 of 22 training rows repeat rows of 1 evaluated splits" in shown
    lines = (leaking.folder / "pairs.jsonl").read_text().splitlines()
    assert json.loads(lines[0]) == {
        "training": "mine/train/20",
        "evaluated": "mine/test/1",
        "kind": "exact",
        "share": 1.0,
    }
    assert len(lines) == 2
    report = json.loads(leaking.taskloom("overlap", "recipe.yaml", "--json"))
    assert report["training"][0]["num_exact"] == 2


def test_error_leaves_with_2_and_one_line(leaking):
    shown = leaking.taskloom("overlap", "recipe.yaml", "--decontaminate", "error", expect=2)
    assert re.search(r"^mine: 2 training rows repeat 2 of 10 rows .*\[OVL003\]$", shown, re.M), (
        shown
    )


def test_plan_and_training_tell_and_leave_out_what_repeats(leaking):
    plan = json.loads(leaking.taskloom("plan", "recipe.yaml", "--decontaminate", "drop", "--json"))
    assert plan["tasks"][0]["num_rows"] == 20
    assert plan["overlap"]["training"][0]["num_left_out"] == 2
    printed = leaking.train("recipe.yaml", "--decontaminate", "drop", "--output_dir", "run")
    assert "mine: 2 of 22 training rows are left out" in printed
    report = json.loads((leaking.folder / "run" / "data_report.json").read_text())
    assert report["tasks"][0]["num_rows"] == 20
    assert report["overlap"] == plan["overlap"]


def test_training_on_an_evaluated_split_is_refused_before_anything_is_written(leaking):
    for split in ("--evaluation.split", "train"), ("--decontaminate", "error"):
        # Without the launcher, which turns every exit code into 1 and adds lines of its own.
        command = (sys.executable, "-m", "pipeline.train", "recipe.yaml", "--output_dir", "run")
        printed = leaking.run(*command, *split, expect=2)
        assert re.search(r"^mine: .*\[OVL00[13]\]$", printed, re.MULTILINE), printed
        assert "Traceback" not in printed
        assert not (leaking.folder / "run").exists()
