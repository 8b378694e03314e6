"""From which checkpoint a run goes on, if from any."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from accelerate.utils import broadcast_object_list

from pipeline.recipe import Recipe
from pipeline.training.checkpoint_folders import (
    FoundCheckpoint,
    check_checkpoint,
    find_newest_checkpoint,
)
from pipeline.training.processes import run_together

if TYPE_CHECKING:
    from accelerate import PartialState


def choose_checkpoint(recipe: Recipe, folder: Path, processes: PartialState) -> FoundCheckpoint:
    """Return the checkpoint to go on from, verified byte for byte; none starts afresh.

    The first process looks and decides for all: they read the same files.

    Args:
        recipe: Names a checkpoint, or `auto` for the newest whole one.
        folder: The run folder.
        processes: The group of processes; all of them must call this.

    Raises:
        CheckpointError: The checkpoint named is not whole, or none of several is.
    """
    found = run_together(
        processes,
        lambda: _choose(recipe, folder) if processes.is_main_process else FoundCheckpoint(None),
    )
    if processes.num_processes > 1:
        (found,) = broadcast_object_list([found])
    return found


def _choose(recipe: Recipe, folder: Path) -> FoundCheckpoint:
    wanted = recipe.resume_from_checkpoint
    if wanted is None:
        return FoundCheckpoint(None)
    if wanted == "auto":
        return find_newest_checkpoint(folder)
    # Its name tells the step, which a link's name does not.
    path = Path(wanted).resolve()
    check_checkpoint(path)
    return FoundCheckpoint(path)
