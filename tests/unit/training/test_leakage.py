"""What a run trains on when training rows repeat evaluated rows."""

import json

import pytest

from benchmarks.planted_rows import make_texts
from pipeline.errors import MixtureError
from pipeline.files import cache_root
from pipeline.recipe import Recipe
from pipeline.training.leakage import find_left_out, leakage_notes, leakage_of, leakage_to_json
from pipeline.training.task_tokens import data_of, load_source

TASK = """schema_version: 1
id: mine
task: classification
source: {hub: own/mine, licence: cc0-1.0}
splits: {train: train, test: test}
fields: {text: text, target: label}
labels: ["no", "yes"]
instruction: Answer.
"""
ROWS = [{"text": text, "label": n % 2} for n, text in enumerate(make_texts(40, seed=4))]


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    """Make a recipe of a task whose training rows 5 and 9 stand in its test split."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mirror" / "own" / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "annotations").mkdir()
    (tmp_path / "annotations" / "mine.yaml").write_text(TASK)
    train = [*ROWS[:5], ROWS[31], *ROWS[5:8], ROWS[33], *ROWS[8:20]]
    for name, rows in {"train": train, "test": ROWS[30:]}.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text)

    def make(policy, **fields):
        values = {
            "model_name_or_path": "unused",
            "tasks": ["mine"],
            "data_root": str(tmp_path / "mirror"),
            "annotations": [str(tmp_path / "annotations")],
            "decontaminate": policy,
        }
        return Recipe.model_validate(values | fields)

    return make


def source_of(recipe):
    (data,) = data_of(recipe, "train")
    return load_source(recipe, data)


def test_dropped_rows_are_not_in_the_training_examples_and_change_the_tokens(recipe):
    counted, dropped = source_of(recipe("report")), source_of(recipe("drop"))
    keys = [example.key for example in counted.examples]
    assert [example.key for example in dropped.examples] == [
        key for number, key in enumerate(keys) if number not in (5, 9)
    ]
    texts = {row["text"] for row in ROWS[30:]}
    assert all(example.inputs["text"] not in texts for example in dropped.examples)
    assert dropped.fingerprint != counted.fingerprint
    assert source_of(recipe("none")).fingerprint == counted.fingerprint


def test_a_drop_that_drops_nothing_changes_nothing(recipe):
    evaluation = {"tasks": ["mine"], "split": "validation"}
    clean = recipe("report", evaluation=evaluation), recipe("none")
    assert source_of(clean[0]).fingerprint == source_of(clean[1]).fingerprint


def test_only_drop_compares_rows_before_tokens_are_made(recipe):
    for policy in ("none", "report", "error"):
        assert find_left_out(recipe(policy)) is None
    assert not (cache_root() / "overlap").exists()
    assert find_left_out(recipe("drop")).repeated("mine").tolist() == [5, 9]


def test_the_validation_split_stays_whole(recipe):
    assert data_of(recipe("drop"), "validation") == []
    (data,) = data_of(recipe("drop"), "train")
    assert data.leakage is not None


def test_the_data_report_tells_policy_counts_and_what_is_left_out(recipe):
    reports = {
        policy: leakage_to_json(recipe(policy), leakage_of(recipe(policy)))
        for policy in ("none", "report", "drop")
    }
    assert reports["none"] == {"decontaminate": "none"}
    for policy, num_left_out in (("report", 0), ("drop", 2)):
        report = json.loads(json.dumps(reports[policy]))
        assert report["decontaminate"] == policy
        assert report["training"] == [
            {
                "task": "mine",
                "num_rows": 22,
                "num_exact": 2,
                "num_near": 0,
                "num_left_out": num_left_out,
            }
        ]
        (pair,) = report["pairs"]
        assert (pair["evaluated_task"], pair["split"], pair["num_exact"]) == ("mine", "test", 2)
    (note,) = leakage_notes(recipe("drop"), leakage_of(recipe("drop")))
    assert note.startswith("mine: 2 of 22 training rows are left out")


def test_error_refuses_what_report_only_counts(recipe):
    with pytest.raises(MixtureError, match=r"\[OVL003\]"):
        leakage_of(recipe("error"))


@pytest.mark.parametrize("policy", ["none", "report", "drop", "error"])
def test_no_policy_allows_to_train_on_an_evaluated_split(recipe, policy):
    with pytest.raises(MixtureError, match=r"\[OVL001\]"):
        data_of(recipe(policy, evaluation={"split": "train"}), "train")
