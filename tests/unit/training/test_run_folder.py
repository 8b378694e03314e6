"""The run folder: free or not, whole or absent."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.errors import OutputError, TrainingError
from pipeline.recipe import load_recipe
from pipeline.training.run_folder import RunFolder
from tests.fixtures.tiny_runs import make_recipe


@pytest.fixture
def started(tmp_path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.start(make_recipe(tmp_path / "run"), {"python": "3"}, {"tasks": []})
    return folder


def refusal(folder: RunFolder, recipe) -> str:
    with pytest.raises((TrainingError, OutputError)) as caught:
        folder.check_free(recipe)
    return str(caught.value).replace(str(folder.path), "RUN")


def test_a_folder_that_does_not_exist_is_free_and_is_not_made(tmp_path):
    RunFolder(tmp_path / "a" / "b").check_free(make_recipe(tmp_path / "a" / "b"))
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_free(tmp_path):
    RunFolder(tmp_path).check_free(make_recipe(tmp_path))


def test_starting_writes_recipe_environment_and_data_report(started):
    assert sorted(path.name for path in started.path.iterdir()) == [
        "data_report.json",
        "environment.json",
        "recipe.resolved.yaml",
    ]
    assert load_recipe(started.path / "recipe.resolved.yaml") == make_recipe(started.path)
    assert json.loads((started.path / "environment.json").read_text()) == {"python": "3"}


def test_the_same_recipe_may_run_again(started):
    started.check_free(make_recipe(started.path, logging_steps=7, report_to="wandb"))


def test_another_recipe_is_refused_with_what_differs(started):
    recipe = make_recipe(started.path, learning_rate=0.5, lora_r=3)
    assert refusal(started, recipe) == (
        "RUN: this run folder holds another run; differs in: lora_r, learning_rate. Choose "
        "another run_name or output_dir, or set `overwrite_output_dir: true`. [TRN001]"
    )


def test_another_recipe_may_overwrite_when_it_says_so(started):
    started.check_free(make_recipe(started.path, lora_r=3, overwrite_output_dir=True))


def test_a_folder_with_other_files_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    text = refusal(RunFolder(tmp_path), make_recipe(tmp_path))
    assert "holds files, but no readable recipe.resolved.yaml" in text


def test_an_unfinished_run_is_not_thrown_away(started):
    (started.path / "checkpoint-30").mkdir()
    assert refusal(started, make_recipe(started.path)) == (
        "RUN: this run is unfinished and has 1 checkpoints. Go on with `taskloom resume RUN`, "
        "or start anew with `--overwrite_output_dir true`. [TRN009]"
    )
    started.check_free(make_recipe(started.path, resume_from_checkpoint="auto"))


def test_a_path_below_a_file_is_refused(tmp_path):
    (tmp_path / "file").touch()
    folder = RunFolder(tmp_path / "file" / "run")
    assert refusal(folder, make_recipe(folder.path)) == (
        "RUN: cannot write here: Not a directory. Choose a folder you may write to, with free "
        "space. [OUT001]"
    )


def test_a_new_start_removes_what_an_earlier_one_left(started):
    for name in ("adapter", "checkpoint-4"):
        (started.path / name).mkdir()
    started.metrics.write_text('{"step": 1}\n')
    started.start(make_recipe(started.path), {}, {})
    assert not started.adapter.exists()
    assert not started.metrics.exists()
    assert started.checkpoints == []


def test_going_on_keeps_checkpoints_and_what_was_logged_before(started):
    for step in (2, 10):
        (started.path / f"checkpoint-{step}").mkdir()
    started.metrics.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    started.start(make_recipe(started.path), {}, {}, first_step=2)
    assert started.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert [folder.name for folder in started.checkpoints] == ["checkpoint-2", "checkpoint-10"]


@pytest.mark.parametrize("line", [b"{", b"[1]", b'"x"', b'{"loss": 1}', b'{"step": "\xff"}', b"1"])
def test_a_damaged_line_of_the_log_does_not_keep_a_run_from_going_on(started, line):
    started.metrics.write_bytes(b'{"step": 1}\n' + line + b'\n{"step": 2}\n')
    started.start(make_recipe(started.path), {}, {}, first_step=2)
    assert started.metrics.read_text() == '{"step": 1}\n{"step": 2}\n'


def test_an_unreadable_earlier_recipe_is_no_traceback(started):
    Path(started.path / "recipe.resolved.yaml").write_text("[")
    assert refusal(started, make_recipe(started.path)).endswith("[TRN001]")
