"""The launcher ends as its workers do; workers here are small scripts, the launcher is real."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from pipeline import launch
from pipeline.launch import main
from tests.soak.processes import fork

CONFIGS = Path(__file__).resolve().parents[3] / "accelerate_configs"
ONE, TWO = CONFIGS / "cpu.yaml", CONFIGS / "cpu_2_processes.yaml"


def arguments(config: Path, worker: Path) -> list[str]:
    return ["--config_file", str(config), "--main_process_port", "0", str(worker), "--field", "1"]


@pytest.fixture
def worker(tmp_path):
    """Writes the script that every worker runs; `rank` is its number."""

    def write(body: str) -> Path:
        path = tmp_path / "worker.py"
        path.write_text(
            f"import os, signal, sys, time\nrank = int(os.environ.get('RANK', 0))\n{body}\n"
        )
        return path

    return write


@pytest.mark.parametrize("config", [ONE, TWO], ids=["one", "two"])
@pytest.mark.parametrize("code", [0, 2, 75])
def test_the_exit_code_of_the_workers_is_handed_on(worker, capfd, config, code):
    path = worker(f"sys.stderr.write('told once\\n' if rank == 0 else ''); sys.exit({code})")
    assert main(arguments(config, path)) == code
    told = capfd.readouterr().err
    assert told.count("told once") == 1
    assert "Traceback" not in told
    assert "exitcode" not in told


def test_a_launch_on_a_cpu_says_nothing_itself(worker, capfd, caplog, monkeypatch):
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr("psutil.cpu_count", lambda logical: 4)
    assert main(arguments(ONE, worker("pass"))) == 0
    assert capfd.readouterr().err == ""
    assert caplog.messages == []


def test_a_mistake_of_all_workers_is_told_though_the_one_that_tells_comes_last(worker, capfd):
    # The launcher ends all workers as soon as one has left.
    body = "import pipeline.train as command\nfrom pipeline.errors import AdapterError\n"
    body += "def fail(recipe):\n    time.sleep(2 * (rank == 0))\n"
    body += "    raise AdapterError('ADP001', 'told late')\n"
    body += "command.read_arguments, command.train = str, fail\nsys.exit(command.main([]))"
    assert main(arguments(TWO, worker(body))) == 2
    assert capfd.readouterr().err.count("told late. [ADP001]") == 1


def test_the_worker_that_failed_first_is_heard(worker):
    # The other one, told to end, would ask for a requeue.
    body = "signal.signal(signal.SIGTERM, lambda *_: sys.exit(75))\n"
    body += "time.sleep(30) if rank == 0 else (time.sleep(0.3), sys.exit(3))"
    assert main(arguments(TWO, worker(body))) == 3


@pytest.mark.parametrize(("config", "who"), [(ONE, "the training process"), (TWO, "process 1")])
def test_a_worker_that_was_killed_is_named(worker, capfd, config, who):
    rank = 0 if config == ONE else 1
    path = worker(f"rank == {rank} and os.kill(os.getpid(), signal.SIGKILL); time.sleep(5)")
    assert main(arguments(config, path)) == 128 + 9
    assert f"{who} was ended by SIGKILL\n" in capfd.readouterr().err


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_worker_stopped_while_it_starts_asks_for_a_requeue(worker, number):
    assert main(arguments(ONE, worker(f"os.kill(os.getpid(), {int(number)})"))) == 75


def test_a_launcher_stopped_before_it_has_workers_asks_for_a_requeue(monkeypatch):
    monkeypatch.setattr(launch, "_launch", lambda arguments: signal.raise_signal(signal.SIGTERM))
    # Other tests of this process may have left helpers.
    monkeypatch.setattr("psutil.Process.children", lambda self: [])
    with pytest.raises(SystemExit) as caught:
        main(["--config_file", "x.yaml"])
    assert caught.value.code == 75


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
@pytest.mark.parametrize("config", [ONE, TWO], ids=["one", "two"])
def test_a_signal_reaches_the_workers_which_take_their_time(tmp_path, worker, config, number):
    path = worker(
        f"""
def stop(number, frame):
    time.sleep(0.2)
    sys.exit(75)
signal.signal({int(number)}, stop)
open(f"{tmp_path}/started-{{rank}}", "w")
time.sleep(30)
"""
    )
    child = fork(lambda tell: main(arguments(config, path)), tmp_path / "log.txt")
    num_workers = 1 if config == ONE else 2
    deadline = time.monotonic() + 30
    while len(list(tmp_path.glob("started-*"))) < num_workers and time.monotonic() < deadline:
        time.sleep(0.02)
    child.kill(number)
    assert child.wait(20) == 75, (tmp_path / "log.txt").read_text()
    child.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("distributed_type: [", "while parsing"),
        ("num_processes: 1", "`distributed_type` must be specified"),
        ("distributed_type: 'NO'\nno_such_field: 1", "no_such_field"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_one_line(tmp_path, worker, capfd, text, message):
    path = tmp_path / "config.yaml"
    if text is not None:
        path.write_text(text)
    assert main(arguments(path, worker("pass"))) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"{path}: ")
    assert message in told
    assert told.endswith("[TRN015]\n")
    assert told.count("\n") == 1


def test_the_help_is_short(capsys):
    assert main(["--help"]) == 0
    assert "usage: python -m pipeline.launch" in capsys.readouterr().out


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of POSIX")
def test_ctrl_c_to_a_launch_of_several_is_told_by_its_exit_code(worker, tmp_path):
    body = "open(f'{os.path.dirname(__file__)}/{rank}', 'w').close()\n"
    path = worker(body + "try:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    sys.exit(130)")
    launched = fork(lambda tell: main(arguments(TWO, path)), tmp_path / "log.txt")
    while not {"0", "1"} <= {each.name for each in tmp_path.iterdir()}:
        time.sleep(0.05)
    launched.kill(signal.SIGINT)
    assert launched.wait(60) == 130
    launched.close()
    assert (tmp_path / "log.txt").read_text() == ""


def test_ctrl_c_before_there_are_workers_is_one_line(monkeypatch, capsys):
    def interrupt(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "_launch", interrupt)
    assert main(["--config_file", "x.yaml"]) == 130
    assert capsys.readouterr().err == "interrupted before anything was started\n"
