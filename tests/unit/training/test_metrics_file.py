"""The log of a run: whole lines, which wait while the disk is full."""

from __future__ import annotations

import errno
import json
import resource
from types import SimpleNamespace

import pytest
from accelerate import PartialState

from pipeline.errors import OutputError
from pipeline.training import records
from pipeline.training.records import MetricsFile
from tests.fixtures.tiny_runs import make_recipe, make_tasks, make_trainer


def log(metrics: MetricsFile, step: int, *, is_first: bool = True) -> None:
    state = SimpleNamespace(is_world_process_zero=is_first, global_step=step)
    metrics.on_log(SimpleNamespace(distributed_state=PartialState()), state, None, {"loss": 1.0})


def steps(path) -> list[int]:
    return [json.loads(line)["step"] for line in path.read_text().splitlines()]


def test_only_the_first_process_writes(tmp_path):
    metrics = MetricsFile(tmp_path / "metrics.jsonl")
    log(metrics, 1, is_first=False)
    assert list(tmp_path.iterdir()) == []
    log(metrics, 2)
    assert steps(tmp_path / "metrics.jsonl") == [2]


def test_lines_wait_while_the_disk_is_full(tmp_path, monkeypatch):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    log(metrics, 1)

    def fail(path: object, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records, "_append", fail)
        log(metrics, 2)
        metrics.write_event("loss_spike", {"step": 3})
    log(metrics, 4)
    assert steps(path) == [1, 2, 3, 4]


def test_half_a_line_is_never_left(tmp_path):
    path = tmp_path / "metrics.jsonl"
    metrics = MetricsFile(path)
    log(metrics, 1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 5, hard))
    try:
        with pytest.raises(OutputError):
            log(metrics, 2)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert steps(path) == [1]
    log(metrics, 3)
    assert steps(path) == [1, 2, 3]


def test_an_event_in_a_folder_that_is_gone_is_told_with_the_next_log(tmp_path):
    metrics = MetricsFile(tmp_path / "gone" / "metrics.jsonl")
    metrics.write_event("loss_spike", {"step": 3})
    with pytest.raises(OutputError, match=r"gone/metrics\.jsonl: cannot write here"):
        log(metrics, 4)
    assert list(tmp_path.iterdir()) == []


def test_the_last_steps_are_logged_though_they_do_not_fill_a_window(tmp_path):
    recipe = make_recipe(tmp_path / "run", logging_steps=3)
    make_trainer(recipe, make_tasks(tmp_path / "tasks")).train()
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    losses = [line for line in map(json.loads, lines) if "loss" in line]
    assert [line["step"] for line in losses] == [3, 4]
    assert all(any(name.startswith("task_loss/") for name in line) for line in losses)
