"""Two real processes share the preparation, and draw the same under rates that change."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.distributed.launching import CONFIGS, launch, logged
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def place(tmp_path) -> Path:
    write_tiny_mirror(tmp_path)
    save_tiny_model(tmp_path / "base")
    return tmp_path


def launch_script(num_processes: int, work: str, place: Path, *arguments: str) -> None:
    done = launch(
        CONFIGS / ("cpu.yaml" if num_processes == 1 else "cpu_2_processes.yaml"),
        work,
        str(place),
        *arguments,
        cache=place / "cache",
        program="tests.distributed.share_data",
        as_a_user=num_processes == 1,
    )
    assert done.returncode == 0, done.stderr[-3000:]


def records(place: Path) -> list[dict]:
    return [json.loads((place / f"record-{rank}.json").read_text()) for rank in range(2)]


def test_processes_share_the_parts_and_read_the_same_tokens(place):
    launch_script(2, "prepare", place)
    first, second = records(place)
    assert [first["share"], second["share"]] == [[0, 2, 0], [1, 2, 0]]
    assert first["tasks"] == second["tasks"]
    made = [tuple(part) for part in first["made"] + second["made"]]
    assert len(made) == len(set(made))
    assert min(len(first["made"]), len(second["made"])) >= len(made) // 2
    assert not list((place / "cache").glob(".process-*"))


def test_processes_without_a_common_cache_each_make_all(place):
    launch_script(2, "prepare", place, "own")
    first, second = records(place)
    assert [first["share"], second["share"]] == [[0, 1, 0], [0, 1, 1]]
    assert first["made"] == second["made"]
    assert [task[:2] for task in first["tasks"]] == [task[:2] for task in second["tasks"]]
    assert first["tasks"] != second["tasks"]


def test_changing_rates_are_the_same_for_one_process_and_two(place):
    launch_script(1, "train", place, "one", "32")
    launch_script(2, "train", place, "two", "16")
    rates = [
        [
            (line["step"], line["mixture_rate/tiny/colour"])
            for line in map(json.loads, (place / name / "metrics.jsonl").read_text().splitlines())
            if "mixture_rate/tiny/colour" in line
        ]
        for name in ("one", "two")
    ]
    assert rates[0] == rates[1]
    assert rates[0][-1][1] > 0.55
    assert logged(place / "two", "loss") == pytest.approx(logged(place / "one", "loss"), rel=1e-5)
    tokens = [logged(place / name, "task_tokens/tiny/colour") for name in ("one", "two")]
    assert tokens[0] == tokens[1]
    assert tokens[0][-1] > tokens[0][0]
