"""Helping processes of the preparation."""

from __future__ import annotations

import os
import time
from pathlib import Path

import psutil
import pytest

from pipeline.training.crew import Crew
from tests.soak.processes import fork


class Worker:
    def work(self, folder: Path) -> None:
        (folder / f"{os.getpid()}").touch()
        time.sleep(60)


def help_for_ever(folder: Path) -> int:
    with Crew(Worker, most_workers=2) as crew:
        crew.run(Worker.work, [folder, folder], is_much=True)
    return 0


@pytest.mark.slow
def test_helpers_do_not_outlive_a_process_that_was_killed(tmp_path):
    folder = tmp_path / "helpers"
    folder.mkdir()
    child = fork(lambda tell: help_for_ever(folder), tmp_path / "log.txt")
    deadline = time.monotonic() + 60
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    helpers = [psutil.Process(int(path.name)) for path in folder.iterdir()]
    assert len(helpers) == 2, (tmp_path / "log.txt").read_text()
    child.kill()
    child.wait(10)
    child.close()
    _, alive = psutil.wait_procs(helpers, timeout=10)
    for helper in alive:
        helper.kill()
    assert not alive
