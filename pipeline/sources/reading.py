"""Opening the files of one split at its place, in whatever format they are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.errors import SourceError
from pipeline.files import sha256_of_json
from pipeline.sources.arrow_part import open_parquet, part_of_dataset
from pipeline.sources.batches import Part, RowBatch
from pipeline.sources.declared import row_converter
from pipeline.sources.features import Features, features_from_json, recorded_features
from pipeline.sources.folder import Place, content_of_file
from pipeline.sources.guards import quiet_datasets, read_errors
from pipeline.sources.json_lines import JsonLinesFile
from pipeline.sources.json_part import JsonPart
from pipeline.sources.layout import (
    FoundSplit,
    WantedSplit,
    find_split,
    has_only_configs,
    missing_split,
)
from pipeline.sources.remote import DataFile, RemoteFile

if TYPE_CHECKING:
    import datasets

_FORMATS = {
    ".jsonl": "jsonl",
    ".json": "json",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".arrow": "arrow",
    ".txt": "text",
}
_EMPTY_IS_MISSING = {"keep_default_na": False, "na_values": [""]}
"""Without these, pandas takes `None`, `NA` and other words, which may be labels, for no value."""
_READER_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "csv": _EMPTY_IS_MISSING,
    "tsv": {"sep": "\t", **_EMPTY_IS_MISSING},
}
_DATA_ENDINGS = (*_FORMATS, ".gz", ".zip", ".zst", ".xz", ".tar", ".xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSplit:
    """The rows of one source split, numbered from 0 over all its files."""

    name: str
    parts: tuple[Part, ...]
    features: Features | None
    fingerprint: str
    """Changes when the content of a file does."""

    def columns(self) -> tuple[str, ...]:
        """Return the columns: those that are declared, or else those of the first rows."""
        if self.features:
            return tuple(self.features)
        return tuple(dict.fromkeys(name for part in self.parts for name in part.column_names()))

    def count_rows(self) -> int:
        """Return the number of rows, skipped ones included."""
        return sum(part.count_rows() for part in self.parts)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, RowBatch]]:
        """Yield `(rows before the file, batch)` with at least the named columns."""
        start = 0
        for part in self.parts:
            for batch in part.batches(columns):
                yield start, batch
            start += part.num_seen

    def num_seen(self) -> int:
        """Return the number of rows that the latest complete reading passed."""
        return sum(part.num_seen for part in self.parts)


def locate_split(place: Place, wanted: WantedSplit) -> FoundSplit:
    """Find the files of one split, without fetching them.

    Raises:
        SourceError: The config or split does not exist.
    """
    listing = place.listing()
    return find_split(wanted, listing, place.card()) or _guess(place, wanted, listing)


def open_split(place: Place, wanted: WantedSplit, found: FoundSplit | None = None) -> SourceSplit:
    """Find and open one split of a dataset.

    Args:
        place: Where the dataset is.
        wanted: The split.
        found: Its files, where they are known already.

    Raises:
        SourceError: The config or split does not exist, or its files cannot be read.
    """
    found = found or locate_split(place, wanted)
    card = place.card()
    paths = [place.stream(name) if wanted.stream else place.fetch(name) for name in found.files]
    features = card.features_of(found.config)
    options = {**found.reader_options, **wanted.reader_options}
    parts: list[Part] = []
    for path in paths:
        part, recorded = _open_part(path, wanted.format, options, features)
        features = features or recorded
        parts.append(part)
    return SourceSplit(
        name=wanted.split,
        parts=tuple(parts),
        features=features,
        fingerprint=sha256_of_json([place.identity(name) for name in found.files]),
    )


def _guess(place: Place, wanted: WantedSplit, listing: Sequence[str]) -> FoundSplit:
    """Return the files that `datasets` would take where names tell nothing.

    Raises:
        SourceError: There are none.
    """
    scripts = [name for name in listing if name.endswith(".py")]
    if scripts and not any(name.endswith(_DATA_ENDINGS) for name in listing):
        raise SourceError(
            "SRC107",
            f"holds no data files, only the loading script {scripts[0]}, which is never run",
            where=wanted.dataset,
            hint="Set `revision: refs/convert/parquet`, or use a copy with data files",
        )
    has_folder = any(name.startswith(f"{wanted.config}/") for name in listing)
    if has_folder or not has_only_configs(listing):
        known = set(listing)
        files = tuple(name for name in place.guess(wanted) if name in known)
        if files:
            return FoundSplit(files=files, config=wanted.config)
    raise missing_split(wanted, listing)


def _open_part(
    path: DataFile,
    declared: str | None,
    options: Mapping[str, Any],
    features: datasets.Features | None,
) -> tuple[Part, Features | None]:
    """Return a file as rows, and the column types it records itself."""
    suffix = Path(path.name.removesuffix(".gz")).suffix
    kind = declared or _FORMATS.get(suffix)
    if kind in {"jsonl", "json"}:
        return JsonPart(JsonLinesFile(path), row_converter(features)), None
    if kind == "parquet":
        part = open_parquet(path)
        return part, recorded_features(part.schema)
    if kind is None:
        raise SourceError(
            "SRC112",
            f"files of type {suffix or path.name!r} are not read",
            where=str(path),
            hint=f"Allowed: {', '.join(_FORMATS)}; or set `format:`",
        )
    if isinstance(path, RemoteFile):
        raise SourceError(
            "SRC162",
            f"files of type {kind} cannot be streamed",
            where=str(path),
            hint="Allowed: parquet, jsonl; or leave `stream` out, and the file is stored first",
        )
    dataset = _load_with_datasets(path, kind, options)
    return part_of_dataset(dataset, where=str(path)), features_from_json(dataset.features.to_dict())


def _load_with_datasets(path: Path, kind: str, options: Mapping[str, Any]) -> datasets.Dataset:
    """Read formats such as CSV as `datasets` does, through its own cache."""
    import datasets

    builder = "csv" if kind == "tsv" else kind
    settings = {**_READER_DEFAULTS.get(kind, {}), **options}
    with read_errors(path), quiet_datasets():
        try:
            # The cache of `datasets` knows a file by path and time; the name adds its content.
            return datasets.load_dataset(
                builder,
                name=content_of_file(path)[:20],
                data_files=str(path),
                split="train",
                **settings,
            )
        except (datasets.exceptions.DatasetGenerationError, ValueError, TypeError) as error:
            cause = error.__cause__ or error
            raise SourceError(
                "SRC204",
                f"cannot be read: {str(cause).splitlines()[0]}",
                where=path,
                hint="Correct the file, or the reader options in the dataset card",
            ) from error
