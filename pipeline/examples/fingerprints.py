"""What the examples of a task depend on beside its annotation and its rows."""

from __future__ import annotations

import functools
from pathlib import Path

import pyarrow as pa

from pipeline.annotations.row_operations import Lookup
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.files import sha256_of_file, sha256_of_json
from pipeline.sources.rows import side_file_fingerprint
from pipeline.types import Json

_CODE_PACKAGES = ("annotations", "functions", "sources", "examples")


def side_file_fingerprints(annotation: DatasetAnnotation, data_root: Path | None) -> list[Json]:
    """Return a text per side file that changes when its content does.

    Raises:
        SourceError: A side file is missing.
    """
    names = sorted({op.file for op in annotation.rows if isinstance(op, Lookup)})
    return [side_file_fingerprint(annotation, name, data_root) for name in names]


@functools.lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return a hash of the code that turns rows into examples, and of Arrow's version."""
    root = Path(__file__).resolve().parent.parent
    files = [file for package in _CODE_PACKAGES for file in sorted((root / package).glob("*.py"))]
    hashes: list[Json] = [f"{file.name}:{sha256_of_file(file)}" for file in files]
    return sha256_of_json([*hashes, pa.__version__])
