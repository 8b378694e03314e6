"""A recipe against its own evaluation: what is refused, counted and left out."""

import json
import shutil

import pytest

from benchmarks.planted_rows import make_texts
from pipeline.annotations import builtin_folder, load_catalogue
from pipeline.errors import MixtureError, PipelineError, PipelineErrors, SourceError
from pipeline.examples.overlap import (
    check_leakage,
    evaluated_splits,
    find_leakage,
    leakage,
    refuse_evaluated_splits,
)
from pipeline.recipe import Recipe

TASK = """schema_version: 1
id: {id}
task: classification
source: {source}
splits: {splits}
{more}
fields: {{text: text, target: label}}
labels: ["no", "yes"]
instruction: Answer.
"""
ROWS = [{"text": text, "label": n % 2} for n, text in enumerate(make_texts(80, seed=4))]


class World:
    """A mirror, a folder of annotations, and recipes about them."""

    def __init__(self, folder):
        self.mirror, self.annotations = folder / "mirror", folder / "annotations" / "general"
        self.mirror.mkdir()
        self.annotations.mkdir(parents=True)

    def rows(self, name, rows, *, folder=None):
        path = (folder or self.mirror) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    def task(self, name, *, source=None, splits="{train: train, test: test}", more=""):
        source = source or f"{{hub: own/{name}, licence: cc0-1.0}}"
        text = TASK.format(id=name, source=source, splits=splits, more=more)
        (self.annotations / f"{name}.yaml").write_text(text, encoding="utf-8")

    def recipe(self, *tasks, evaluated=None, split="test", **fields):
        return Recipe.model_validate(
            {
                "model_name_or_path": "unused",
                "tasks": list(tasks),
                "evaluation": {"tasks": evaluated, "split": split},
                "data_root": str(self.mirror),
                **fields,
            }
        )

    @property
    def catalogue(self):
        return load_catalogue([self.annotations.parent])

    def find(self, recipe):
        return find_leakage(recipe, self.catalogue)


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = World(tmp_path)
    made.task("a")
    made.rows("own/a/train.jsonl", ROWS[:40])
    made.rows("own/a/test.jsonl", ROWS[40:60])
    return made


def refused(world, recipe):
    with pytest.raises(MixtureError) as error:
        refuse_evaluated_splits(recipe, world.catalogue)
    assert error.value.code == "OVL001"
    return str(error.value)


def test_a_clean_recipe_is_clean(world):
    found = world.find(world.recipe("a"))
    assert found.report.pairs == ()
    assert [task.num_repeated for task in found.report.training] == [0]
    assert found.report.evaluated[0].num_rows == 20
    assert found.repeated("a").tolist() == []
    for policy in ("report", "drop", "error"):
        check_leakage(found, policy)


def test_evaluating_the_training_split_is_refused(world):
    told = refused(world, world.recipe("a", split="train"))
    assert told == (
        "a: trains on rows that are evaluated: 40 rows of a/train are its training split. "
        "Evaluate another split, or take one of the two out of the recipe. [OVL001]"
    )


def test_another_annotation_of_an_evaluated_split_is_refused(world):
    world.rows("own/a/dev.jsonl", ROWS[60:80])
    world.task("a", splits="{train: train, validation: dev, test: test}")
    world.task("alias", source="{hub: own/a, licence: cc0-1.0}", splits="{train: dev}")
    told = refused(world, world.recipe("alias", evaluated=["a"], split="validation"))
    assert told.startswith("alias: trains on rows that are evaluated: 20 rows of a/validation")
    refuse_evaluated_splits(world.recipe("alias", evaluated=["a"]), world.catalogue)


def test_a_mirror_of_an_evaluated_split_under_another_id_is_refused(world):
    world.task("mirrored", splits="{train: heldout}")
    (world.mirror / "own" / "mirrored").mkdir()
    shutil.copy(
        world.mirror / "own" / "a" / "test.jsonl", world.mirror / "own/mirrored/heldout.jsonl"
    )
    refused(world, world.recipe("a", "mirrored", evaluated=["a"]))


def test_a_copied_file_beside_the_annotation_is_refused(world):
    world.task(
        "copied", source="{files: {all: mine.jsonl}, licence: cc0-1.0}", splits="{train: all}"
    )
    world.rows("mine.jsonl", ROWS[40:60], folder=world.annotations)
    refused(world, world.recipe("copied", evaluated=["a"]))


def test_one_file_for_training_and_test_is_refused_with_its_annotation(world):
    files = "{files: {one: mine.jsonl, two: mine.jsonl}, licence: cc0-1.0}"
    world.task("twice", source=files, splits="{train: one, test: two}")
    world.rows("mine.jsonl", ROWS[:30], folder=world.annotations)
    with pytest.raises(PipelineError) as error:
        refuse_evaluated_splits(world.recipe("twice"), world.catalogue)
    assert error.value.code == "ANN144"


def test_parts_of_one_file_are_told_apart_by_their_rows(world):
    source = "{hub: own/one, licence: cc0-1.0}"
    world.rows("own/one/train.jsonl", ROWS)
    for name, seed in (("first", 1), ("second", 1), ("third", 2)):
        take = f"{{train: train, test: {{take: 20, from: train, seed: {seed}}}}}"
        world.task(name, source=source, splits=take)
    refuse_evaluated_splits(world.recipe("first", "second"), world.catalogue)
    with pytest.raises(PipelineErrors) as errors:
        refuse_evaluated_splits(world.recipe("first", "third"), world.catalogue)
    assert {error.where for error in errors.value.errors} == {"first", "third"}


def test_tasks_that_pick_different_rows_of_one_file_are_compared_by_rows(world):
    source = "{hub: own/table, licence: cc0-1.0}"
    rows = [{**row, "label": 0, "half": "ab"[n % 2]} for n, row in enumerate(ROWS)]
    world.rows("own/table/all.jsonl", rows)
    for name, split in (("a", "train"), ("b", "test")):
        where = f"rows: [{{where: {{of: half, eq: {name}}}}}]"
        world.task(f"half_{name}", source=source, splits=f"{{{split}: all}}", more=where)
    recipe = world.recipe("half_a", evaluated=["half_b"])
    assert world.find(recipe).report.pairs == ()


def test_a_reformatted_copy_of_an_evaluated_split_is_refused_by_its_rows(world):
    world.task("other", splits="{train: all}")
    copied = [
        {"id": n, "text": row["text"].upper(), "label": 0} for n, row in enumerate(ROWS[40:60])
    ]
    world.rows("own/other/all.jsonl", copied + ROWS[60:70])
    recipe = world.recipe("other", evaluated=["a"])
    found = world.find(recipe)
    with pytest.raises(MixtureError, match=r"20 of 20 rows of a/test stand in .*\[OVL002\]"):
        check_leakage(found, "report")
    check_leakage(found, "drop")
    assert found.repeated("other").tolist() == list(range(20))


def test_drop_needs_a_row_that_is_left(world):
    world.task("other", splits="{train: all}")
    world.rows("own/other/all.jsonl", [{**row, "new": 1} for row in ROWS[40:60]])
    with pytest.raises(MixtureError, match=r"^other: .*leaves none of its 20 .*\[OVL004\]"):
        check_leakage(world.find(world.recipe("other", evaluated=["a"])), "drop")


def test_single_repeated_rows_are_counted_listed_and_dropped(world):
    near = {"text": ROWS[45]["text"] + " So it was.", "label": 1}
    world.rows("own/a/train.jsonl", [*ROWS[:40], ROWS[41], near, ROWS[41]])
    found = world.find(world.recipe("a"))
    (pair,) = found.report.pairs
    assert (pair.num_exact, pair.num_near, pair.num_training_rows) == (1, 1, 3)
    assert (pair.num_evaluated, pair.share) == (20, 0.1)
    (task,) = found.report.training
    assert (task.num_rows, task.num_exact, task.num_near) == (43, 2, 1)
    assert found.repeated("a").tolist() == [40, 41, 42]
    lines = [json.loads(line) for line in found.matches.read_text().splitlines()]
    keys = [(line["training"], line["evaluated"], line["kind"]) for line in lines]
    assert keys == [
        ("a/train/40", "a/test/1", "exact"),
        ("a/train/41", "a/test/5", "near"),
        ("a/train/42", "a/test/1", "exact"),
    ]
    assert 0.5 <= lines[1]["share"] <= 1.0
    check_leakage(found, "report")
    with pytest.raises(MixtureError, match=r"^a: 3 training rows repeat 2 of 20 .*\[OVL003\]"):
        check_leakage(found, "error")
    (note,) = found.report.notes(are_dropped=True)
    assert note.startswith("a: 3 of 43 training rows are left out")


def test_a_row_of_two_evaluated_tasks_counts_for_both(world):
    world.task("b")
    world.rows("own/b/train.jsonl", [*ROWS[60:70], ROWS[41]])
    world.rows("own/b/test.jsonl", [ROWS[41], ROWS[75]])
    found = world.find(world.recipe("a", "b"))
    pairs = {(p.training_task, p.evaluated_task): p.num_exact for p in found.report.pairs}
    assert pairs == {("b", "a"): 1, ("b", "b"): 1}
    assert [task.num_exact for task in found.report.evaluated] == [1, 1]
    assert found.report.training[1].num_repeated == 1


def test_the_comparison_is_made_once_and_again_when_anything_changes(world, monkeypatch):
    recipe = world.recipe("a")
    first = world.find(recipe)
    with monkeypatch.context() as patch:
        patch.setattr(leakage, "compare", None)
        assert world.find(recipe) == first
    for other in (
        world.recipe({"task": "a", "max_train_rows": 9}),
        world.recipe({"task": "a", "max_train_rows": 9}, seed=7),
    ):
        assert world.find(other).folder != first.folder
    world.rows("own/a/test.jsonl", ROWS[41:60])
    assert world.find(recipe).folder != first.folder


def test_evaluated_data_out_of_reach_are_told_or_an_error(world):
    world.task("away", splits="{test: test}")
    found = world.find(world.recipe("a", evaluated=["a", "away"]))
    (gap,) = found.report.not_compared
    assert (gap.task, gap.split) == ("away", "test")
    (note,) = found.report.notes(are_dropped=False)
    assert note.startswith("away/test is not compared with training: ")
    for policy in ("drop", "error"):
        with pytest.raises(SourceError):
            world.find(world.recipe("a", evaluated=["a", "away"], decontaminate=policy))


def test_without_evaluation_the_test_splits_of_the_tasks_count(world):
    world.task("only_train", splits="{train: train}")
    recipe = world.recipe("a", "only_train")
    assert [split.name for split in evaluated_splits(recipe, world.catalogue)] == ["a/test"]
    bare = Recipe.model_validate({"model_name_or_path": "x", "tasks": ["a"]})
    assert [split.name for split in evaluated_splits(bare, world.catalogue)] == ["a/test"]


def test_who_trains_function_calling_is_compared_with_the_leaderboard_of_the_mirror(world):
    recipe = world.recipe("seal_tools/calls", evaluated=["codah"])
    catalogue = load_catalogue()
    assert [s.name for s in evaluated_splits(recipe, catalogue)] == ["codah/test"]
    (world.mirror / "gorilla-llm" / "Berkeley-Function-Calling-Leaderboard").mkdir(parents=True)
    names = [split.name for split in evaluated_splits(recipe, catalogue)]
    assert "bfcl/simple_python/test" in names
    assert all(name.startswith("bfcl/") for name in names[1:])


def test_categories_of_the_leaderboard_that_the_mirror_lacks_are_not_missed(world):
    world.rows("gorilla-llm/Berkeley-Function-Calling-Leaderboard/README.txt", [])
    (world.annotations / "calls.yaml").write_text(
        (builtin_folder() / "function_calling" / "bfcl.yaml").read_text()
    )
    text = """schema_version: 1
id: calls
task: function_calling
source: {hub: own/calls, licence: cc0-1.0}
splits: {train: train}
fields:
  query: text
  functions: {function: function_specs, of: tools}
  target: {function: function_calls, of: calls}
"""
    (world.annotations / "own.yaml").write_text(text)
    tools = [{"name": "ring", "description": "Rings.", "parameters": {}}]
    calls = [{"name": "ring", "arguments": {}}]
    row = {"text": ROWS[0]["text"], "tools": tools, "calls": calls}
    world.rows("own/calls/train.jsonl", [row])
    for policy in ("report", "drop"):
        found = world.find(world.recipe("calls", evaluated=["a"], decontaminate=policy))
        assert found.report.not_compared == ()
        assert [split.task for split in found.report.evaluated] == ["a"]
