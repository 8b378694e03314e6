"""Checkpoint folders: chosen, refused, replaced and removed."""

from __future__ import annotations

import json
import shutil
from collections import namedtuple
from pathlib import Path

import pytest
import torch
from accelerate import PartialState

from pipeline.errors import CheckpointError, OutputError
from pipeline.files import folder_fault
from pipeline.training import checkpoint as checkpoint_module
from pipeline.training.checkpoint import (
    CheckpointStore,
    check_free_space,
    load_parts,
    writing_errors,
)
from pipeline.training.checkpoint_folders import (
    check_checkpoint,
    find_newest_checkpoint,
    list_checkpoints,
    remove_leftovers,
    step_of,
)
from pipeline.training.recipe_record import RecipeRecord, changed_fields
from tests.fixtures.tiny_runs import make_recipe


class Counter:
    """A part with a number as its state."""

    def __init__(self, value: float = 0.0) -> None:
        self.value = value

    def state(self, num_completed_steps: int):
        return {"value": self.value, "steps": num_completed_steps}

    def load_state(self, state) -> None:
        self.value = state["value"]


def make_store(folder: Path, *, num_kept: int | None = 2, **parts: Counter) -> CheckpointStore:
    return CheckpointStore(folder, PartialState(), num_kept=num_kept, parts=parts)


def write_weights(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"12345678")
    (folder / "global_step1").mkdir()
    (folder / "global_step1" / "shard.bin").write_bytes(b"abc")


def saved(folder: Path, *steps: int, **options) -> CheckpointStore:
    store = make_store(folder, **options)
    for step in steps:
        store.save(step, write_weights)
    return store


def test_a_checkpoint_holds_its_files_its_parts_and_a_manifest(tmp_path):
    saved(tmp_path, 3, policy=Counter(0.1 + 0.2))
    folder = tmp_path / "checkpoint-3"
    assert folder_fault(folder) is None
    listed = json.loads((folder / "manifest.json").read_text())["files"]
    assert sorted(listed) == ["global_step1/shard.bin", "run_state.json", "weights.bin"]
    part = Counter()
    load_parts(folder, {"policy": part})
    assert part.value == 0.1 + 0.2
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-3"]


def test_files_nobody_reads_are_left_out(tmp_path):
    def write(folder: Path) -> None:
        for name in ("training_args.bin", "README.md", "adapter_config.json"):
            (folder / name).write_text("x")

    make_store(tmp_path).save(1, write)
    names = {path.name for path in (tmp_path / "checkpoint-1").iterdir()}
    assert names == {"adapter_config.json", "run_state.json", "manifest.json"}


def test_only_the_newest_are_kept_and_the_best(tmp_path):
    store = make_store(tmp_path, num_kept=2)
    for step in (1, 2, 10, 11):
        store.save(step, write_weights, protected=[tmp_path / "checkpoint-2"])
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [2, 10, 11]


def test_none_is_removed_without_a_limit(tmp_path):
    saved(tmp_path, 1, 2, 3, num_kept=None)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [1, 2, 3]


def test_an_older_one_stays_until_the_newer_one_was_read_back(tmp_path, monkeypatch):
    store = saved(tmp_path, 1, num_kept=1)
    monkeypatch.setattr(checkpoint_module, "folder_fault", lambda path: "weights.bin: changed")
    with pytest.raises(OutputError, match=r"read back, weights.bin: changed.*\[OUT001\]"):
        store.save(2, write_weights)
    assert folder_fault(tmp_path / "checkpoint-1") is None


def test_checkpoints_of_an_abandoned_future_do_not_push_out_the_present(tmp_path):
    saved(tmp_path, 10, 20, 30, num_kept=None)
    (tmp_path / "checkpoint-30" / "weights.bin").write_bytes(b"damaged!")
    store = make_store(tmp_path, num_kept=2)
    store.save(21, write_weights)
    assert [step_of(path) for path in list_checkpoints(tmp_path)] == [20, 21, 30]


def test_the_same_step_may_be_saved_again(tmp_path):
    store = saved(tmp_path, 4, value=Counter(1.0))
    store.parts["value"].value = 2.0
    store.save(4, write_weights)
    part = Counter()
    load_parts(tmp_path / "checkpoint-4", {"value": part})
    assert part.value == 2.0


@pytest.mark.parametrize(
    "error",
    [OSError(28, "No space left on device"), PermissionError(13, "Permission denied")],
)
def test_a_save_that_fails_leaves_nothing_but_what_was_there(tmp_path, error):
    store = saved(tmp_path, 1)

    def fail(folder: Path) -> None:
        write_weights(folder)
        raise error

    with pytest.raises(OutputError, match=r"checkpoint-2: cannot write here: .*\[OUT001\]"):
        store.save(2, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]


def test_too_little_room_is_told_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(100, 60, 40)
    monkeypatch.setattr(checkpoint_module.shutil, "disk_usage", lambda path: usage)
    store = make_store(tmp_path)
    with pytest.raises(OutputError, match=r"need 41 bytes, free are 40.*\[OUT002\]"):
        store.save(1, write_weights, num_bytes=41)
    assert list(tmp_path.iterdir()) == []
    check_free_space(tmp_path / "not" / "there", 40, what="two checkpoints")


def test_only_errors_of_torchs_writer_are_taken_for_the_disk(tmp_path):
    with pytest.raises(OutputError), writing_errors(tmp_path):
        torch.save({"a": torch.zeros(2)}, tmp_path / "missing" / "file.pt")
    with pytest.raises(RuntimeError, match="shapes"), writing_errors(tmp_path):
        raise RuntimeError("shapes do not fit")
    with pytest.raises(OutputError, match="File too large"), writing_errors(tmp_path):
        raise Exception("File too large (os error 27)")
    with pytest.raises(ValueError, match="other"), writing_errors(tmp_path):
        raise ValueError("other")


def test_the_newest_whole_one_is_found_and_what_is_passed_over_is_told(tmp_path):
    saved(tmp_path, 2, 10, 11, 12, num_kept=None)
    (tmp_path / "checkpoint-12" / "manifest.json").unlink()
    (tmp_path / "checkpoint-11" / "global_step1" / "shard.bin").write_bytes(b"abd")
    (tmp_path / "checkpoint-last").mkdir()
    found = find_newest_checkpoint(tmp_path)
    assert found.path == tmp_path / "checkpoint-10"
    assert [(path.name, fault) for path, fault in found.skipped] == [
        ("checkpoint-12", "it has no manifest.json, so it was never finished"),
        ("checkpoint-11", "global_step1/shard.bin: changed since it was written"),
    ]


def test_a_run_without_checkpoints_starts_afresh(tmp_path):
    assert find_newest_checkpoint(tmp_path / "none").path is None


def test_a_run_does_not_start_afresh_when_all_its_checkpoints_are_damaged(tmp_path):
    saved(tmp_path, 5)
    (tmp_path / "checkpoint-5" / "weights.bin").unlink()
    with pytest.raises(CheckpointError) as caught:
        find_newest_checkpoint(tmp_path)
    assert str(caught.value).replace(str(tmp_path), "RUN") == (
        "RUN: none of the 1 checkpoints is whole: checkpoint-5: weights.bin: missing. Restore one "
        "of them, or start anew with `--overwrite_output_dir true`. [CKP002]"
    )


@pytest.mark.parametrize("damage", ["none", "extra", "flip", "folder"])
def test_a_checkpoint_named_by_the_user_is_verified_too(tmp_path, damage):
    saved(tmp_path, 5)
    path = tmp_path / "checkpoint-5"
    if damage == "none":
        check_checkpoint(path)
        return
    if damage == "extra":
        (path / "optimizer.pt").write_bytes(b"")
    elif damage == "flip":
        (path / "run_state.json").write_text("{}")
    else:
        path = tmp_path / "checkpoint-6"
    with pytest.raises(CheckpointError, match=r"no whole checkpoint: .*\[CKP001\]"):
        check_checkpoint(path)


def test_leftovers_of_killed_saves_are_removed_and_nothing_else(tmp_path):
    saved(tmp_path, 5)
    for name in (".checkpoint-6.partial", ".checkpoint-4.old", ".checkpoint-5.abcd"):
        (tmp_path / name).mkdir()
    (tmp_path / ".hidden").mkdir()
    remove_leftovers(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"checkpoint-5", ".hidden"}


@pytest.mark.parametrize("text", ["{", "[]", '{"other": {}}'])
def test_a_state_that_does_not_fit_this_program_is_told(tmp_path, text):
    (tmp_path / "run_state.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"\[CKP003\]"):
        load_parts(tmp_path, {"mine": Counter()})


def test_another_recipe_is_refused_with_both_fingerprints_and_what_differs(tmp_path):
    earlier = RecipeRecord(make_recipe(tmp_path), global_batch_size=8)
    mine = RecipeRecord(make_recipe(tmp_path, lora_r=8, seed=1), global_batch_size=16)
    state = json.loads(json.dumps(earlier.state(3)))
    with pytest.raises(
        CheckpointError, match=r"differs in: global batch size, lora_r, seed"
    ) as caught:
        mine.load_state(state)
    fingerprints = (earlier.state(3)["fingerprint"][:12], mine.state(3)["fingerprint"][:12])
    assert all(each in str(caught.value) for each in fingerprints)
    assert str(caught.value).endswith("[CKP004]")


def test_what_decides_nothing_may_change(tmp_path):
    earlier = RecipeRecord(make_recipe(tmp_path), global_batch_size=8)
    changes = {
        "per_device_train_batch_size": 1,
        "gradient_accumulation_steps": 2,
        "logging_steps": 7,
        "save_steps": 9,
        "resume_from_checkpoint": "auto",
    }
    mine = RecipeRecord(make_recipe(tmp_path / "moved", **changes), global_batch_size=8)
    mine.load_state(json.loads(json.dumps(earlier.state(3))))


def test_the_batch_may_be_divided_otherwise_only_when_going_on(tmp_path):
    earlier = make_recipe(tmp_path)
    recipe = make_recipe(tmp_path, per_device_train_batch_size=1, lora_r=2)
    assert changed_fields(recipe, earlier, resumes=True) == ["lora_r"]
    assert changed_fields(recipe, earlier, resumes=False) == [
        "lora_r",
        "per_device_train_batch_size",
    ]


def test_a_run_folder_that_is_gone_is_not_made_anew(tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    store = saved(run, 1)
    shutil.rmtree(run)
    with pytest.raises(OutputError) as caught:
        store.save(2, write_weights)
    assert str(run / "checkpoint-2") in str(caught.value)
    assert list(tmp_path.iterdir()) == []
