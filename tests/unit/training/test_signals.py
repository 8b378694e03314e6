"""Signals: the first one waits for the end of a step, the second does not."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.training import signals as signals_module
from pipeline.training.signals import StopSignals, TrainingStopped, stopped
from tests.fixtures.tiny_runs import make_recipe, make_tasks, make_trainer
from tests.soak.stopping import StopAt

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture
def ended(monkeypatch) -> list[int]:
    codes: list[int] = []
    monkeypatch.setattr(signals_module.os, "_exit", codes.append)
    return codes


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_the_first_signal_during_training_is_remembered(number, ended):
    signals = StopSignals()
    with signals.handled():
        signals.is_training = True
        os.kill(os.getpid(), number)
        assert signals.received == number.name
    assert ended == []


def test_a_signal_handed_on_by_the_launcher_is_not_a_second_one(ended):
    signals = StopSignals()
    with signals.handled():
        signals.is_training = True
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGTERM)
    assert ended == []


def test_a_second_signal_exits_at_once(ended, monkeypatch):
    monkeypatch.setattr(signals_module, "SAME_EVENT_SECONDS", -1.0)
    signals = StopSignals()
    with signals.handled():
        signals.is_training = True
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGUSR1)
    assert ended == [75]


def test_a_signal_before_the_first_step_stops_at_once_and_asks_for_a_requeue():
    signals = StopSignals()
    with pytest.raises(TrainingStopped) as caught, signals.handled():
        os.kill(os.getpid(), signal.SIGTERM)
    assert caught.value.exit_code == 75
    assert "before the first step" in str(caught.value)


def test_the_handlers_of_before_are_put_back():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)
    with StopSignals().handled():
        assert signal.getsignal(signal.SIGTERM) != before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGUSR1)) == before


def test_the_message_says_what_is_saved(tmp_path):
    error = stopped("SIGTERM", step=7, checkpoint=tmp_path / "checkpoint-7")
    assert str(error).replace(str(tmp_path), "RUN") == (
        "RUN/checkpoint-7: stopped by SIGTERM after step 7, which is saved. Go on with `--resume "
        "auto`. [TRN013]"
    )


def test_a_signal_saves_the_step_even_where_the_recipe_saves_none(tmp_path):
    tasks = make_tasks(tmp_path / "tasks")
    stopping = StopAt(2)
    trainer = make_trainer(make_recipe(tmp_path / "run"), tasks, signals=stopping.signals)
    stopping.train(trainer)
    assert trainer.stopped_by == "SIGTERM"
    assert trainer.last_saved == tmp_path / "run" / "checkpoint-2"
    assert [path.name for path in (tmp_path / "run").glob("checkpoint-*")] == ["checkpoint-2"]


def test_a_signal_in_the_last_step_lets_the_run_end(tmp_path):
    tasks = make_tasks(tmp_path / "tasks")
    stopping = StopAt(4)
    trainer = make_trainer(make_recipe(tmp_path / "run"), tasks, signals=stopping.signals)
    stopping.train(trainer)
    assert trainer.stopped_by is None
    assert trainer.state.global_step == 4


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT])
@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["pipeline.train", "run/recipe.resolved.yaml"], "numpy"),
        (["pipeline.train", "run/recipe.resolved.yaml"], "torch"),
        (["pipeline.cli.main", "resume", "run"], "torch"),
    ],
)
def test_a_signal_while_training_imports_asks_for_a_requeue(tmp_path, command, package, number):
    recipe = tmp_path / "run" / "recipe.resolved.yaml"
    recipe.parent.mkdir()
    recipe.write_text("model_name_or_path: embedded\ntasks: [codah]\n")
    stand_in = tmp_path / "packages" / package / "__init__.py"
    stand_in.parent.mkdir(parents=True)
    stand_in.write_text(
        f"import os, time\ntry:\n    os.kill(os.getpid(), {int(number)})\n    time.sleep(5)\n"
        "except BaseException:\n    pass\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{stand_in.parents[1]}:{REPOSITORY}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        # Where the tests run in the background, Ctrl-C is ignored, and so would it be here.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    if number == signal.SIGINT:
        told = "interrupted before the first step; nothing was written\n"
        assert (done.returncode, done.stderr) == (130, told)
        return
    assert done.returncode == 75, done.stderr
    assert done.stderr == (
        f"training: stopped by {number.name} before the first step. Go on with `--resume auto`. "
        "[TRN013]\n"
    )
    assert not (tmp_path / "runs").exists()
