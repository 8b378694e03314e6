"""Two real processes that meet numbers that are none, signals, kills and full memory."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import math
import os
import subprocess
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.files import folder_fault, read_json
from pipeline.training import run as run_module
from pipeline.training.run import run_training
from tests.distributed.faulty_training import FaultyTrainer
from tests.distributed.launching import CONFIGS, launch, submit, two_processes, write_place

NUM_STEPS, BAD_STEP, STOP = 9, 3, 6
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, data, a recipe, and a run of one process with one bad step."""
    folder = tmp_path_factory.mktemp("place")
    recipe = write_place(folder, NUM_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
        patch.setattr(FaultyTrainer, "faults", [("nan", BAD_STEP)], raising=False)
        patch.setattr(run_module, "MultiTaskTrainer", FaultyTrainer)
        run_training(recipe)
    return folder


def train_in_two(
    place: Path,
    config: str,
    name: str,
    *fields: str,
    faults: str | None = None,
    as_a_user: bool = False,
):
    output = place / name
    done = launch(
        two_processes(CONFIGS / config, place),
        place / "recipe.yaml",
        "--run_name", name,
        "--output_dir", str(output),
        "--per_device_train_batch_size", "2",
        *fields,
        cache=place / "cache",
        faults=faults,
        as_a_user=as_a_user,
    )  # fmt: skip
    return done, output


def submit_for_two(place: Path, config: str, name: str, *, faults: str):
    """Train as one job of a cluster, which resumes by itself."""
    output = place / name
    done = submit(
        place,
        CONFIGS / config,
        place / "recipe.yaml",
        output,
        "--run_name", name,
        "--per_device_train_batch_size", "2",
        cache=place / "cache",
        faults=faults,
    )  # fmt: skip
    return done, output


def lines_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def losses_of(folder: Path) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in lines_of(folder) if "loss" in line}


FAULTS = f"nan:1:{BAD_STEP},sigterm:1:{STOP}"


SHARDS = {
    "deepspeed_zero2.yaml": "global_step*/*zero_pp_rank_{}_*optim_states.pt",
    "deepspeed_zero3.yaml": "global_step*/*zero_pp_rank_{}_*optim_states.pt",
    "fsdp2.yaml": "optimizer_0/__{}_*.distcp",
}
"""What every process writes of its own."""


@pytest.mark.parametrize("config", SHARDS)
def test_a_bad_step_and_a_signal_to_one_process_leave_the_run_as_it_would_have_been(place, config):
    if "deepspeed" in config and not importlib.util.find_spec("deepspeed"):
        pytest.skip("deepspeed is not installed")
    name = config.removesuffix(".yaml")
    done, output = train_in_two(place, config, name, faults=FAULTS)
    assert done.returncode != 0
    check_stopped(place, done, output)
    checkpoint = output / f"checkpoint-{STOP}"
    for rank in range(2):
        assert list(checkpoint.glob(SHARDS[config].format(rank))), list(checkpoint.rglob("*"))
    done, output = train_in_two(place, config, name, "--resume", "auto")
    check_finished(place, done, output)


def test_a_job_that_was_stopped_is_requeued_and_ends_as_it_would_have(place):
    scheduler = place / "scheduler.log"
    done, output = submit_for_two(place, "cpu_2_processes.yaml", "job", faults=FAULTS)
    assert done.returncode == 75, done.stderr[-3000:]
    assert scheduler.read_text().startswith("requeue ")
    assert "Traceback" not in done.stderr
    check_stopped(place, done, output)
    scheduler.unlink()
    done, output = submit_for_two(place, "cpu_2_processes.yaml", "job", faults=FAULTS)
    check_finished(place, done, output)
    assert not scheduler.exists()


def check_stopped(place: Path, done: subprocess.CompletedProcess[str], output: Path) -> None:
    assert done.stderr.count("[TRN013]") == 1, done.stderr[-3000:]
    stop = read_json(output / "stopped.json")
    assert (stop["step"], stop["exit_code"]) == (STOP, 75)
    assert not (output / "adapter").exists()
    (event,) = [line for line in lines_of(output) if line.get("event") == "skipped_step"]
    assert (event["step"], event["what"]) == (BAD_STEP, "loss")
    assert not math.isfinite(float(event["value"]))
    (wanted,) = [line for line in lines_of(place / "one") if line.get("event") == "skipped_step"]
    assert event["rows"]
    assert set(event["rows"]) < set(wanted["rows"])

    checkpoint = output / f"checkpoint-{STOP}"
    assert folder_fault(checkpoint) is None
    for rank in range(2):
        assert (checkpoint / f"rng_state_{rank}.pth").is_file()


def check_finished(place: Path, done: subprocess.CompletedProcess[str], output: Path) -> None:
    assert done.returncode == 0, done.stderr[-3000:]
    assert not (output / "stopped.json").exists()
    expected = losses_of(place / "one")
    found = losses_of(output)
    assert sorted(found) == sorted(expected) == [1, 2, 4, 5, 6, 7, 8, 9]
    assert [found[step] for step in sorted(found)] == pytest.approx(
        [expected[step] for step in sorted(expected)], rel=1e-5
    )
    mine, theirs = (
        load_file(folder / "adapter" / "adapter_model.safetensors")
        for folder in (output, place / "one")
    )
    assert all(torch.allclose(mine[each], theirs[each], atol=1e-4) for each in theirs)


def test_memory_that_runs_out_in_one_process_ends_the_job_with_the_values_to_set(place):
    started = time.monotonic()
    done, output = train_in_two(
        place, "cpu_2_processes.yaml", "memory", faults="out_of_memory:1:3", as_a_user=True
    )
    assert time.monotonic() - started < 120
    assert done.returncode != 0
    message = "step 3: out of memory with 2 rows in one pass. Resume with"
    assert done.stderr.count(message) == 1, done.stderr[-3000:]
    assert "--per_device_train_batch_size 1 --gradient_accumulation_steps 4" in done.stderr
    assert sorted(losses_of(output)) == [1, 2]


def test_a_killed_process_ends_the_job_and_the_rest_of_the_run_is_the_same(place):
    fields = ("--save_strategy", "steps", "--save_steps", "2")
    done, output = train_in_two(
        place,
        "cpu_2_processes.yaml",
        "killed",
        *fields,
        faults=f"nan:0:{BAD_STEP},kill:1:6",
        as_a_user=True,
    )
    assert done.returncode != 0
    assert alive_with(str(output)) == []
    done, output = train_in_two(
        place, "cpu_2_processes.yaml", "killed", *fields, "--resume", "auto"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on from" in done.stderr
    expected = losses_of(place / "one")
    found = losses_of(output)
    assert [found[step] for step in sorted(expected)] == pytest.approx(
        [expected[step] for step in sorted(expected)], rel=1e-5
    )


def alive_with(text: str) -> list[int]:
    """Return the processes whose command line holds `text`."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if text.encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return [pid for pid in found if pid != os.getpid()]
