"""A dataset as a folder of files: a mirror, a hub snapshot, or a user's own data."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from pipeline.errors import SourceError
from pipeline.files import sha256_of_file
from pipeline.sources.card import Card, read_card
from pipeline.sources.guards import read_errors
from pipeline.sources.layout import WantedSplit, is_address
from pipeline.sources.lock import LockedDataset
from pipeline.sources.remote import DataFile


class Place(Protocol):
    """Where the files of one dataset are."""

    @property
    def origin(self) -> str:
        """Where that is, for messages and reports."""
        ...

    @property
    def revision(self) -> str | None:
        """Commit of the hub that the files come from, where that is known."""
        ...

    def sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of listed files; those that only fetching would tell are left out."""
        ...

    def listing(self) -> Sequence[str]:
        """All files as `/`-separated paths relative to the dataset's folder."""
        ...

    def card(self) -> Card:
        """What the dataset card declares."""
        ...

    def fetch(self, name: str) -> Path:
        """Return a local path of the listed file `name`."""
        ...

    def stream(self, name: str) -> DataFile:
        """Return the listed file `name` to be read where it is."""
        ...

    def identity(self, name: str) -> str:
        """Return a text that changes when the content of the file does."""
        ...

    def guess(self, wanted: WantedSplit) -> Sequence[str]:
        """Return the files that `datasets` itself would take; none if it cannot tell."""
        ...


class FolderPlace:
    """A dataset in a local folder, whose list of files and card are read once."""

    def __init__(
        self, folder: Path, *, revision: str | None = None, lock: LockedDataset | None = None
    ) -> None:
        """Keep where the files are.

        Args:
            folder: The folder, which must exist.
            revision: Commit of the hub that it is a copy of.
            lock: What the mirror's lock file says of it.
        """
        self.folder = folder
        self.revision = revision or (lock.revision if lock else None)
        self._lock = lock
        self._listing: Sequence[str] | None = None
        self._card: Card | None = None

    @property
    def origin(self) -> str:
        """Where that is, for messages and reports."""
        return str(self.folder)

    def sizes(self, names: Sequence[str]) -> Mapping[str, int]:
        """Return the bytes of listed files; those that only fetching would tell are left out."""
        paths = {name: self.folder / name for name in names}
        return {name: path.stat().st_size for name, path in paths.items() if path.is_file()}

    def listing(self) -> Sequence[str]:
        """All files as `/`-separated paths relative to the dataset's folder."""
        if self._listing is None:
            self._listing = _list_files(self.folder)
        return self._listing

    def card(self) -> Card:
        """What the dataset card declares."""
        if self._card is None:
            self._card = read_card(self.folder / "README.md")
        return self._card

    def fetch(self, name: str) -> Path:
        """Return a local path of the listed file `name`.

        Raises:
            SourceError: `name` is a web address, and the folder has no copy of that file.
        """
        if is_address(name):
            raise SourceError(
                "SRC108",
                "this folder has no copy of a file that comes from the web",
                where=self.folder,
                hint=f"Download {name} into it",
            )
        return self.folder / name

    def stream(self, name: str) -> DataFile:
        """Return the listed file `name`, which is read where it is anyway."""
        return self.fetch(name)

    def identity(self, name: str) -> str:
        """Return a text that changes when the content of the file does."""
        path = self.folder / name
        locked = self._lock.sha256_of(name, path) if self._lock else None
        return locked or content_of_file(path)

    def guess(self, wanted: WantedSplit) -> Sequence[str]:
        """Return the files that `datasets` itself would take; none if it cannot tell."""
        base = self.folder / (wanted.data_dir or "")
        if wanted.config and (base / wanted.config).is_dir():
            base = base / wanted.config
        prefix = f"{self.folder.resolve()}/"
        names = guess_files(str(base.resolve()), wanted.split, tuple(self.listing()))
        return [name.removeprefix(prefix) for name in names]


def _list_files(folder: Path) -> list[str]:
    found: list[str] = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        base = Path(parent).relative_to(folder)
        found += [(base / name).as_posix() for name in files if not name.startswith(".")]
    return sorted(found)


def guess_files(base_path: str, split: str, listing: tuple[str, ...] = ()) -> list[str]:
    """Return what `datasets` finds for a split below `base_path`.

    Args:
        base_path: A folder, or an `hf://` URL with the commit.
        split: Name of the split.
        listing: Files of the folder; where they are the same, `datasets` is not asked again.
    """
    from datasets.data_files import DataFilesDict

    patterns = _guess_patterns(base_path, listing)
    if split not in patterns:
        return []
    found = DataFilesDict.from_patterns({split: patterns[split]}, base_path=base_path)
    return sorted(str(name) for name in found[split])


@functools.lru_cache(maxsize=256)
def _guess_patterns(base_path: str, listing: tuple[str, ...]) -> Mapping[str, list[str]]:
    """Return the patterns of files by split, as `datasets` derives them from names."""
    from datasets.data_files import EmptyDatasetError, get_data_patterns

    del listing
    try:
        found = get_data_patterns(base_path)
    except (EmptyDatasetError, FileNotFoundError):
        return {}
    return {str(split): entries for split, entries in found.items()}


def content_of_file(path: Path) -> str:
    """Return the SHA-256 of a file, hashed once per process while the file stays the same.

    Raises:
        SourceError: The file cannot be read.
    """
    with read_errors(path):
        state = path.stat()
        return _sha256(path, state.st_size, state.st_mtime_ns, state.st_ino)


@functools.lru_cache(maxsize=4096)
def _sha256(path: Path, size: int, modified: int, inode: int) -> str:
    del size, modified, inode
    return sha256_of_file(path)
