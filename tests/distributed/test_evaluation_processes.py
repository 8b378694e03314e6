"""Two processes share one evaluation: the files are those of one process, byte by byte."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distributed.launching import CONFIGS, REPOSITORY, launch
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, data, and the evaluation by one process."""
    folder = tmp_path_factory.mktemp("place")
    write_tiny_mirror(folder)
    save_tiny_model(folder / "base")
    finish(start(folder, "one", num_processes=1))
    return folder


def start(place: Path, name: str, *, num_processes: int) -> subprocess.Popen[str]:
    """Start an evaluation as a user does."""
    config = REPOSITORY / "accelerate_configs" / "cpu_2_processes.yaml"
    launcher = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
        "--main_process_port", "0",
    ]  # fmt: skip
    command = [
        *(launcher if num_processes > 1 else [sys.executable]), "-m", "pipeline.cli.main",
        "--annotations", str(place / "annotations"), "--data-root", str(place / "mirror"),
        "eval", str(place / "base"), "--tasks", "tiny/colour,tiny/calls",
        "--out", str(place / name),
    ]  # fmt: skip
    environment = {
        **os.environ,
        "TASKLOOM_CACHE": str(place / f"cache-{name}"),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(REPOSITORY),
    }
    return subprocess.Popen(
        command,
        cwd=place,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        printed, _ = process.communicate(timeout=240)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, printed[-3000:]
    return printed


def samples(place: Path, name: str) -> bytes:
    return (place / name / "base" / "samples.jsonl").read_bytes()


def numbers(place: Path, name: str) -> dict[str, object]:
    tasks = json.loads((place / name / "base" / "results.json").read_text())["tasks"]
    return {task: {**entry, "seconds": 0} for task, entry in tasks.items()}


def test_two_processes_write_the_files_of_one(place):
    printed = finish(start(place, "two", num_processes=2))
    assert printed.count("report:") == 1
    assert samples(place, "two") == samples(place, "one")
    assert numbers(place, "two") == numbers(place, "one")
    results = json.loads((place / "two" / "base" / "results.json").read_text())
    assert results["num_processes"] == 2
    assert not list((place / "two" / "base").glob("samples.partial*"))


@pytest.mark.parametrize("num_processes", [1, 2])
def test_a_killed_launch_goes_on_to_the_same_bytes(place, num_processes):
    name = f"killed-{num_processes}"
    process = start(place, name, num_processes=2)
    folder = place / name / "base"
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if any(path.stat().st_size for path in folder.glob("samples.partial*")):
            os.killpg(process.pid, signal.SIGKILL)
            break
        time.sleep(0.01)
    process.communicate(timeout=60)
    finish(start(place, name, num_processes=num_processes))
    assert samples(place, name) == samples(place, "one")


def ended(place: Path, name: str, tasks: str = "tiny/colour,tiny/calls") -> str:
    """Evaluate in two processes that meet a mistake, and return what they printed."""
    done = launch(
        CONFIGS / "cpu_2_processes.yaml",
        "--annotations", str(place / "annotations"), "--data-root", str(place / "mirror"),
        "eval", str(place / "base"), "--tasks", tasks, "--out", str(place / name),
        cache=place / "cache-mistakes",
        program="pipeline.cli.main",
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    return done.stderr


def test_a_mistake_of_all_processes_is_told_once(place):
    told = ended(place, "unknown", tasks="tiny/colours")
    assert told.count("[ANN160]") == 1
    assert "[TRN006]" not in told


@pytest.mark.parametrize("rank", [0, 1])
def test_a_process_that_cannot_write_its_answers_is_heard_and_nobody_waits(place, rank):
    folder = place / f"refused-{rank}"
    (folder / "base" / ("samples.partial.1.jsonl" if rank else "samples.partial.jsonl")).mkdir(
        parents=True
    )
    told = ended(place, folder.name)
    assert told.count("[OUT001]") == 1
    assert not (folder / "base" / "results.json").exists()


def test_a_folder_of_another_evaluation_is_refused_before_any_process_answers(place):
    folder = place / "another" / "base"
    folder.mkdir(parents=True)
    (folder / "evaluation.json").write_text('{"seed": 1}')
    told = ended(place, "another")
    assert told.count("[EVL024]") == 1
    assert [path.name for path in folder.iterdir()] == ["evaluation.json"]
