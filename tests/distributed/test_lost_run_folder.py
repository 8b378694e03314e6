"""A run folder that vanishes or becomes read-only while two processes train."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.recipe import write_resolved
from pipeline.training.checkpoint_folders import FoundCheckpoint, find_newest_checkpoint
from tests.distributed.launching import CONFIGS, launch, two_processes
from tests.fixtures.tiny_recipe import write_tiny_recipe

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, data and a recipe."""
    folder = tmp_path_factory.mktemp("place")
    recipe = write_tiny_recipe(
        folder,
        run_name="lost",
        output_dir=str(folder / "lost"),
        max_steps=6,
        logging_steps=1,
        save_strategy="steps",
        save_steps=2,
        per_device_train_batch_size=2,
    )
    write_resolved(recipe, folder / "recipe.yaml")
    return folder


@pytest.mark.parametrize(
    "faults",
    [
        "vanished:0:4",
        "read_only:0:4,read_only:1:4",
        "read_only_at_end:0:0,read_only_at_end:1:0",
    ],
)
def test_a_lost_run_folder_is_one_line_and_nobody_waits(place, faults):
    name = faults.partition(":")[0]
    output = place / name
    done = launch(
        two_processes(CONFIGS / "cpu_2_processes.yaml", place),
        place / "recipe.yaml",
        "--run_name", name,
        "--output_dir", str(output),
        cache=place / "cache",
        faults=faults,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr[-3000:]
    assert "Traceback" not in done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.endswith("[OUT001]")]
    assert str(output) in line
    assert "--resume auto" in line
    if name == "vanished":
        assert not output.exists()
    else:
        newest = "checkpoint-2" if name == "read_only" else "checkpoint-6"
        assert find_newest_checkpoint(output) == FoundCheckpoint(output / newest)
        assert not list(output.glob(".*"))
        assert not (output / "adapter").exists()
