"""`taskloom resume`: which run, which fields, which exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline import launch
from pipeline.cli.main import main
from pipeline.recipe import write_resolved
from pipeline.train import read_arguments
from pipeline.training import command
from pipeline.training.run_folder import RunFolder
from tests.fixtures.tiny_runs import make_recipe


@pytest.fixture
def run(tmp_path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    recipe = make_recipe(tmp_path / "elsewhere", overwrite_output_dir=True)
    write_resolved(recipe, folder / "recipe.resolved.yaml")
    return folder


def test_a_run_goes_on_where_it_lies_and_from_its_newest_checkpoint(run, monkeypatch):
    seen = []
    monkeypatch.setattr(command, "train", seen.append)
    with pytest.raises(SystemExit) as caught:
        main(["resume", str(run), "--logging_steps", "3"])
    assert caught.value.code in (0, None)
    (recipe,) = seen
    assert recipe.output_dir == str(run)
    assert recipe.resume_from_checkpoint == "auto"
    assert (recipe.overwrite_output_dir, recipe.logging_steps) == (False, 3)


def test_a_folder_that_is_no_run_is_told(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["resume", str(tmp_path)])
    assert caught.value.code == 2
    assert "it has no recipe.resolved.yaml" in capsys.readouterr().err


@pytest.mark.parametrize("code", [0, 2, 75])
def test_several_processes_are_launched_and_their_exit_code_handed_on(run, monkeypatch, code):
    seen = []
    monkeypatch.setattr(launch, "launch", lambda arguments: seen.append(arguments) or code)
    with pytest.raises(SystemExit) as caught:
        main(["resume", str(run), "--config-file", "x.yaml", "--logging_steps", "3"])
    assert caught.value.code == code
    (arguments,) = seen
    recipe = str(run / "recipe.resolved.yaml")
    assert arguments[:5] == ["--config_file", "x.yaml", "-m", "pipeline.train", recipe]
    assert read_arguments(arguments[4:]).resume_from_checkpoint == "auto"


def test_resume_is_short_for_its_long_name(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("model_name_or_path: embedded\ntasks: [codah]\n")
    for arguments in (["--resume", "auto"], ["--resume=auto"]):
        assert read_arguments([str(path), *arguments]).resume_from_checkpoint == "auto"


def test_a_finished_run_is_not_trained_again(tmp_path, monkeypatch, capsys):
    from pipeline.files import staged_folder
    from pipeline.training import early_checks

    recipe = make_recipe(tmp_path / "run", resume_from_checkpoint="auto")
    with staged_folder(RunFolder(tmp_path / "run").adapter) as staged:
        (staged / "adapter_config.json").write_text("{}")
    monkeypatch.setattr(early_checks, "check_recipe", lambda recipe: None)
    (tmp_path / "run" / "adapter" / "README.md").write_text("what it is good for")
    command.train(recipe)
    assert "this run is finished" in capsys.readouterr().err
    (tmp_path / "run" / "adapter" / "adapter_config.json").write_text("damaged")
    assert command.finished_adapter(recipe) is None
