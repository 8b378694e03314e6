"""Which folders of a run are checkpoints, and which of them are whole; imports no torch."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import CheckpointError
from pipeline.files import folder_fault

PREFIX = "checkpoint-"
RUN_STATE_FILE = "run_state.json"
"""In a checkpoint: the state of every `CheckpointPart`, by name."""


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """The newest checkpoint that verifies, and what was passed over."""

    path: Path | None
    skipped: tuple[tuple[Path, str], ...] = ()
    """Newer folders that do not verify, each with the reason."""


def find_newest_checkpoint(folder: Path) -> FoundCheckpoint:
    """Return the newest checkpoint of a run that verifies.

    Raises:
        CheckpointError: There are checkpoints, but none verifies.
    """
    skipped: list[tuple[Path, str]] = []
    for path in reversed(list_checkpoints(folder)):
        fault = folder_fault(path)
        if fault is None:
            return FoundCheckpoint(path, tuple(skipped))
        skipped.append((path, fault))
    if skipped:
        reasons = "; ".join(f"{path.name}: {fault}" for path, fault in skipped)
        raise CheckpointError(
            "CKP002",
            f"none of the {len(skipped)} checkpoints is whole: {reasons}",
            where=folder,
            hint="Restore one of them, or start anew with `--overwrite_output_dir true`",
        )
    return FoundCheckpoint(None)


def check_checkpoint(path: Path) -> None:
    """Check that a folder is a checkpoint, byte for byte as it was written.

    Raises:
        CheckpointError: It is not.
    """
    if not path.is_dir():
        fault: str | None = "there is no such folder"
    else:
        fault = folder_fault(path)
    if fault is None and not (path / RUN_STATE_FILE).is_file():
        fault = f"it has no {RUN_STATE_FILE}"
    if fault is None and step_of(path) < 0:
        fault = f"its name is not {PREFIX}N"
    if fault is not None:
        raise CheckpointError(
            "CKP001",
            f"this is no whole checkpoint: {fault}",
            where=path,
            hint="Give a checkpoint-* folder of a run, or 'auto' for the newest whole one",
        )


def list_checkpoints(folder: Path) -> list[Path]:
    """Return the folders named `checkpoint-N`, by number, whole or not."""
    found = [path for path in folder.glob(f"{PREFIX}*") if path.is_dir()]
    return sorted((path for path in found if step_of(path) >= 0), key=step_of)


def step_of(checkpoint: Path) -> int:
    """Return the number of steps in a checkpoint's name; -1 where there is none."""
    digits = checkpoint.name.removeprefix(PREFIX)
    return int(digits) if digits.isdecimal() else -1


def remove_leftovers(folder: Path) -> None:
    """Remove what saves that were killed left behind; nothing of it has a final name."""
    for path in folder.glob(f".{PREFIX}*"):
        shutil.rmtree(path, ignore_errors=True)
