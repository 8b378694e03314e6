"""A run folder that vanishes or becomes read-only during training: one line, nothing half written.

Two processes are in `tests/distributed/test_lost_run_folder.py`.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path

import pytest

from pipeline.files import folder_fault
from pipeline.recipe import Recipe, write_resolved
from pipeline.training import run as run_module
from pipeline.training.checkpoint_folders import FoundCheckpoint, find_newest_checkpoint
from tests.distributed.faulty_training import run
from tests.fixtures.tiny_recipe import write_tiny_recipe


@pytest.fixture
def recipe(tmp_path, monkeypatch) -> Recipe:
    """A recipe of a few quick steps, with a checkpoint after every second one."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    for module, name in ((io, "open"), (os, "mkdir"), (os, "open")):
        # Put back after a test that lets them refuse.
        monkeypatch.setattr(module, name, getattr(module, name))
    return write_tiny_recipe(
        tmp_path,
        run_name="lost",
        max_steps=6,
        logging_steps=1,
        save_strategy="steps",
        save_steps=2,
        per_device_train_batch_size=2,
    )


def train(recipe: Recipe, place: Path, monkeypatch, fault: str, *fields: str) -> int:
    write_resolved(recipe, place / "recipe.yaml")
    return run(
        [fault, str(place / "recipe.yaml"), *fields],
        lambda name, value: monkeypatch.setattr(run_module, name, value),
    )


@pytest.mark.parametrize("loss", ["vanished", "replaced", "read_only"])
@pytest.mark.parametrize("when", [":0:4", "_at_end:0:0"])
def test_a_lost_run_folder_is_one_line(recipe, tmp_path, monkeypatch, capsys, loss, when):
    code = train(recipe, tmp_path, monkeypatch, f"{loss}{when}")
    told = capsys.readouterr().err
    assert code == 2, told
    (line,) = [line for line in told.splitlines() if line.endswith("[OUT001]")]
    folder = tmp_path / "run"
    assert line.startswith(str(folder))
    assert "--resume auto" in line
    assert "Traceback" not in told
    if loss == "vanished":
        assert not folder.exists()
    elif loss == "replaced":
        assert folder.read_text() == "not a folder"
    else:
        newest = "checkpoint-2" if when == ":0:4" else "checkpoint-6"
        assert find_newest_checkpoint(folder) == FoundCheckpoint(folder / newest)
        assert not (folder / "adapter").exists()
        assert not list(folder.glob(".*"))


def test_a_checkpoint_elsewhere_stays_and_the_run_goes_on_from_it(
    recipe, tmp_path, monkeypatch, capsys
):
    elsewhere = tmp_path / "elsewhere" / "checkpoint-4"
    assert train(recipe, tmp_path, monkeypatch, "none:0:0") == 0
    shutil.copytree(tmp_path / "run" / "checkpoint-4", elsewhere)
    adapter = (tmp_path / "run" / "adapter" / "adapter_model.safetensors").read_bytes()
    again = ("--resume", str(elsewhere))
    assert train(recipe, tmp_path, monkeypatch, "vanished:0:6", *again) == 2
    assert "the run folder is gone" in capsys.readouterr().err
    assert folder_fault(elsewhere) is None
    assert train(recipe, tmp_path, monkeypatch, "none:0:0", *again) == 0
    assert (tmp_path / "run" / "adapter" / "adapter_model.safetensors").read_bytes() == adapter
