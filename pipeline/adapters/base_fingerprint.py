"""Tells whether two base models are the same, without reading all of their weights.

Guaranteed: two folders whose weight files differ in size, in their first or in their last
mebibyte are told apart. Not covered: files that differ only between, or a folder against a hub id.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pipeline.files import read_json, write_json

BASE_MODEL_FILE = "base_model.json"
"""Beside the adapter's weights; other software ignores it."""

_SAMPLE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class BaseFingerprint:
    """Name of a base model, and a digest of its weight files where they are at hand."""

    name: str
    weights_sha256: str | None = None
    """`None` for a model on the hub."""

    @classmethod
    def of(cls, source: str) -> Self:
        """Return the fingerprint of a model folder or hub id."""
        files = sorted(Path(source).glob("*.safetensors")) if Path(source).is_dir() else []
        if not files:
            return cls(source)
        digest = hashlib.sha256()
        for path in files:
            size = path.stat().st_size
            digest.update(f"{path.name} {size}\n".encode())
            with path.open("rb") as stream:
                digest.update(stream.read(_SAMPLE_BYTES))
                stream.seek(max(size - _SAMPLE_BYTES, 0))
                digest.update(stream.read())
        return cls(source, digest.hexdigest())

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the fingerprint in a file, or `None`: PEFT folders made elsewhere have none."""
        try:
            value = read_json(path)
        except (OSError, ValueError):
            return None
        if not isinstance(value, dict):
            return None
        digest = value.get("weights_sha256")
        return cls(str(value.get("name")), digest if isinstance(digest, str) else None)

    def write(self, path: Path) -> None:
        """Write the fingerprint as JSON.

        Raises:
            OutputError: The file cannot be written.
        """
        write_json(path, {"name": self.name, "weights_sha256": self.weights_sha256})

    def differs_from(self, other: Self) -> bool:
        """Return whether the two are known to be different models."""
        if self.weights_sha256 is not None and other.weights_sha256 is not None:
            return self.weights_sha256 != other.weights_sha256
        both_on_hub = self.weights_sha256 is None and other.weights_sha256 is None
        return both_on_hub and "" not in (self.name, other.name) and self.name != other.name
