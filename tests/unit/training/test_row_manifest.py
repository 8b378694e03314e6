"""Which rows a run used is written down where not all of them are."""

import json
from collections import Counter

import pytest

from pipeline.recipe import Recipe
from pipeline.training.row_manifest import ROWS_FILE, write_row_manifest
from pipeline.training.task_tokens import data_of, load_source

TASK = """schema_version: 1
id: mine
task: classification
source: {hub: own/mine, licence: cc0-1.0}
splits: {train: train, validation: validation}
fields: {text: text, target: label}
labels: ["no", "yes"]
instruction: Answer.
"""
ROWS = [{"text": f"row {n}", "label": int(n % 10 == 0)} for n in range(100)]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mirror" / "own" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "mine.yaml").write_text(TASK)
    for name in ("train", "validation"):
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))

    def make(**fields):
        values = {
            "model_name_or_path": "unused",
            "tasks": ["mine"],
            "data_root": str(tmp_path / "mirror"),
            "annotations": [str(tmp_path / "annotations")],
            "decontaminate": "none",
            "seed": 7,
        }
        return Recipe.model_validate(values | fields)

    return make


def entries(recipe, folder):
    write_row_manifest(recipe, folder)
    return [json.loads(line) for line in (folder / ROWS_FILE).read_text().splitlines()]


def test_few_shot_rows_are_even_and_listed(recipe, tmp_path):
    (entry,) = entries(recipe(few_shot=16), tmp_path)
    assert (entry["task"], entry["split"], entry["seed"]) == ("mine", "train", 7)
    assert (entry["num_available"], entry["num_used"]) == (100, 16)
    assert Counter(ROWS[int(row)]["label"] for row in entry["rows"]) == {0: 8, 1: 8}


def test_the_listed_rows_are_those_that_are_trained_on(recipe, tmp_path):
    few = recipe(few_shot=16)
    (entry,) = entries(few, tmp_path)
    (data,) = data_of(few, "train")
    keys = [example.key for example in load_source(few, data).examples]
    assert keys == [f"mine/train/{row}" for row in entry["rows"]]


def test_another_seed_gives_other_rows(recipe, tmp_path):
    (first,) = entries(recipe(few_shot=16), tmp_path)
    (second,) = entries(recipe(few_shot=16, seed=8), tmp_path)
    assert first["rows"] != second["rows"]


def test_a_limit_of_rows_is_listed_too_and_the_smaller_limit_holds(recipe, tmp_path):
    (entry,) = entries(recipe(tasks=[{"task": "mine", "max_train_rows": 30}]), tmp_path)
    assert entry["num_used"] == len(entry["rows"]) == 30
    both = recipe(tasks=[{"task": "mine", "max_train_rows": 5}], few_shot=16)
    assert both.train_rows_of(both.tasks[0]) == 5


def test_without_a_limit_there_is_no_list(recipe, tmp_path):
    (tmp_path / ROWS_FILE).write_text("of an earlier run\n")
    write_row_manifest(recipe(), tmp_path)
    assert not (tmp_path / ROWS_FILE).exists()
