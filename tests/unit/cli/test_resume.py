"""`taskloom resume`: which run, which fields, which exit code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipeline.cli.main import main
from pipeline.recipe import write_resolved
from pipeline.train import read_arguments
from pipeline.training import command
from pipeline.training.run_folder import RunFolder
from tests.fixtures.tiny_runs import make_recipe

ROOT = Path(__file__).resolve().parents[3]

LAUNCHER = """#!{python}
import pathlib, signal, sys, time
run = pathlib.Path({run!r})
if {waits}:
    assert signal.getsignal(signal.SIGUSR1) == signal.SIG_IGN
    def stop(number, frame):
        (run / "stopped.json").write_text("{{}}")
        sys.exit(1)
    signal.signal(signal.SIGUSR1, stop)
    (run / "started").write_text(" ".join(sys.argv[1:]))
    time.sleep(60)
sys.exit({code})
"""


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


def fake_python(folder: Path, run: Path, *, code: int = 0, waits: bool = False) -> Path:
    path = folder / "python"
    text = LAUNCHER.format(python=sys.executable, run=str(run), code=code, waits=waits)
    path.write_text(text)
    path.chmod(0o755)
    return path


def start(run: Path, python: Path) -> subprocess.Popen[bytes]:
    """Run the verb in a process of its own, with a stand-in for the launcher."""
    code = (
        "import sys; from pipeline.cli import resume; from pathlib import Path\n"
        f"sys.executable = {str(python)!r}\n"
        f"sys.exit(resume._launch(Path('x.yaml'), ['recipe.yaml'], Path({str(run)!r})))\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], cwd=ROOT)


@pytest.mark.parametrize("code", [0, 1])
def test_the_exit_code_of_the_launcher_is_handed_on(run, tmp_path, code):
    assert start(run, fake_python(tmp_path, run, code=code)).wait(60) == code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_reaches_the_workers_and_the_exit_code_asks_for_a_requeue(run, tmp_path, number):
    process = start(run, fake_python(tmp_path, run, waits=True))
    deadline = time.monotonic() + 60
    while not (run / "started").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, number)
    assert process.wait(60) == 75
    launched = (run / "started").read_text()
    assert launched.endswith("--config_file x.yaml -m pipeline.train recipe.yaml")


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
    command.train(recipe)
    assert "this run is finished" in capsys.readouterr().err
    (tmp_path / "run" / "adapter" / "adapter_config.json").write_text("damaged")
    assert command.finished_adapter(recipe) is None
