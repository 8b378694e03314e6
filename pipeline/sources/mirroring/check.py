"""Checking a mirror against its lock file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from pipeline.errors import PipelineError, SourceError
from pipeline.files import sha256_of_file
from pipeline.sources.lock import LOCK_NAME, LockedFile, read_lock


def check_mirror(folder: Path, progress: Callable[[str], None]) -> list[PipelineError]:
    """Return one error per file that is missing or is not what the lock says.

    Args:
        folder: The mirror.
        progress: Told the name of each file when it is done.

    Raises:
        SourceError: There is no lock file, or it cannot be read.
    """
    lock = read_lock(folder)
    if not lock.datasets:
        raise SourceError(
            "SRC148",
            f"there is no {LOCK_NAME} here, or it lists nothing",
            where=folder,
            hint="Fill the folder with `taskloom mirror TASK --to DIR`",
        )
    errors: list[PipelineError] = []
    for dataset, entry in lock.datasets.items():
        for name, locked in entry.files.items():
            wrong = _difference(folder / dataset / name, locked)
            if wrong is not None:
                hint = "Run `taskloom mirror` again: it copies only what does not verify"
                where = folder / dataset / name
                errors.append(SourceError("SRC149", wrong, where=where, hint=hint))
            progress(f"{dataset}/{name}")
    return errors


def _difference(path: Path, locked: LockedFile) -> str | None:
    try:
        size = path.stat().st_size
    except OSError:
        return "the lock lists this file, and it is missing"
    if size != locked.size:
        return f"{size} bytes, {locked.size} are locked"
    return None if sha256_of_file(path) == locked.sha256 else "the content is not the locked one"
