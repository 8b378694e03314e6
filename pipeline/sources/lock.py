"""The lock file of a mirror: which files it holds, from which revision, with their hashes.

`taskloom.lock.json` lies in the mirror's own folder. Reading rows takes a file's hash from it, so
that large files are not read twice; a file whose size or time of change does not fit the lock is
hashed as if there were none, and gives the same fingerprint when its content is the same.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pipeline.errors import SourceError
from pipeline.files import read_json, write_json
from pipeline.types import Json

LOCK_NAME = "taskloom.lock.json"
LOCK_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """One file of a mirror."""

    sha256: str
    size: int
    """Bytes."""
    identity: str
    """What it was copied from: a hash, or `owner/name@commit:path`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedSplit:
    """One source split that a task reads."""

    config: str | None
    split: str
    files: tuple[str, ...]
    rows: int
    """Source rows, those that cannot be used included."""
    revision: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedDataset:
    """What a mirror holds of one dataset."""

    revision: str | None = None
    """Commit of the hub; `None` when it was copied from a folder that does not know."""
    files: Mapping[str, LockedFile] = field(default_factory=dict)
    """By path relative to the dataset's folder."""
    splits: tuple[LockedSplit, ...] = ()
    changed_ns: int = 0
    """When the lock file was last written; later changes of a file make its entry void."""

    def sha256_of(self, name: str, path: Path) -> str | None:
        """Return the recorded hash of a file, or `None` if the file may have changed since."""
        entry = self.files.get(name)
        if entry is None or not path.is_file():
            return None
        state = path.stat()
        is_same = state.st_size == entry.size and state.st_mtime_ns <= self.changed_ns
        return entry.sha256 if is_same else None


@dataclass(frozen=True, slots=True)
class Lock:
    """Everything that a mirror's lock file says."""

    datasets: Mapping[str, LockedDataset] = field(default_factory=dict)


def read_lock(data_root: Path) -> Lock:
    """Return what the lock file of a mirror says; an empty lock where there is none.

    Raises:
        SourceError: The lock file cannot be read.
    """
    path = data_root / LOCK_NAME
    if not path.is_file():
        return Lock()
    state = path.stat()
    return _read(path, state.st_mtime_ns, state.st_size)


def write_lock(data_root: Path, lock: Lock) -> None:
    """Write the lock file of a mirror in one step.

    Raises:
        OutputError: It cannot be written.
    """
    datasets: Json = {name: _to_json(lock.datasets[name]) for name in sorted(lock.datasets)}
    write_json(data_root / LOCK_NAME, {"version": LOCK_VERSION, "datasets": datasets})


@functools.lru_cache(maxsize=8)
def _read(path: Path, changed_ns: int, size: int) -> Lock:
    del size
    try:
        value = cast("dict[str, Any]", read_json(path))
        if value["version"] != LOCK_VERSION:
            raise ValueError(f"version {value['version']!r}, {LOCK_VERSION} is read here")
        entries = cast("dict[str, Any]", value["datasets"])
        return Lock({name: _dataset(entry, changed_ns) for name, entry in entries.items()})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            "SRC145",
            f"the lock file of this mirror cannot be read: {reason}",
            where=path,
            hint="Delete it, and run `taskloom mirror` again",
        ) from error


def _dataset(value: Mapping[str, Any], changed_ns: int) -> LockedDataset:
    return LockedDataset(
        revision=value["revision"],
        files={name: LockedFile(**entry) for name, entry in value["files"].items()},
        splits=tuple(
            LockedSplit(**{**entry, "files": tuple(entry["files"])}) for entry in value["splits"]
        ),
        changed_ns=changed_ns,
    )


def _to_json(dataset: LockedDataset) -> dict[str, Json]:
    files: Json = {name: dataclasses.asdict(dataset.files[name]) for name in sorted(dataset.files)}
    splits = [dataclasses.asdict(split) | {"files": list(split.files)} for split in dataset.splits]
    return {"revision": dataset.revision, "files": files, "splits": cast("Json", splits)}
