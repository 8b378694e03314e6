"""A file of the hub that is read where it is, piece by piece, and never stored."""

from __future__ import annotations

import functools
import io
import os
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO, cast

READ_AHEAD_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """One file of a dataset at a commit; has what readers need of a path."""

    dataset: str
    commit: str
    file: str

    def __str__(self) -> str:
        """Return the file as the hub's tools spell it."""
        return f"hf://datasets/{self.dataset}@{self.commit}/{self.file}"

    @property
    def name(self) -> str:
        """Name without folders."""
        return PurePosixPath(self.file).name

    @property
    def suffix(self) -> str:
        """Ending of the name, with its dot."""
        return PurePosixPath(self.file).suffix

    def open_bytes(self) -> BinaryIO:
        """Open the file; only the pieces that are read are fetched.

        Raises:
            OSError: It is not there, or the hub cannot be reached.
        """
        system = _file_system(os.environ.get("HF_ENDPOINT"))
        stream = system.open(str(self), "rb", block_size=READ_AHEAD_BYTES)
        return cast("BinaryIO", io.BufferedReader(stream))

    def num_bytes(self) -> int:
        """Return the size of the file."""
        return int(_file_system(os.environ.get("HF_ENDPOINT")).size(str(self)))


DataFile = Path | RemoteFile


def open_bytes(file: DataFile) -> BinaryIO:
    """Open a file, wherever it is, for reading bytes."""
    return file.open_bytes() if isinstance(file, RemoteFile) else file.open("rb")


def num_bytes(file: DataFile) -> int:
    """Return the size of a file, wherever it is."""
    return file.num_bytes() if isinstance(file, RemoteFile) else file.stat().st_size


@functools.lru_cache(maxsize=4)
def _file_system(endpoint: str | None) -> Any:  # noqa: ANN401 - fsspec is untyped
    from huggingface_hub import HfFileSystem

    return HfFileSystem(endpoint=endpoint)
