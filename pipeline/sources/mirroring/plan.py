"""Which files of a dataset a task reads, found by the same rules as when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from pipeline.annotations.row_operations import Lookup
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.sources.folder import Place
from pipeline.sources.layout import is_address
from pipeline.sources.rows import locate_rows, open_place, wanted_split

CARD_NAME = "README.md"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSplit:
    """One source split that a task reads."""

    split: str
    config: str | None
    files: tuple[str, ...]
    """Names at the place the task is read from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MirrorPlan:
    """What must be copied for one task."""

    annotation: DatasetAnnotation
    place: Place
    splits: tuple[PlannedSplit, ...]
    files: tuple[str, ...]
    """All files, side files included, in the order of reading; the card comes first."""
    sizes: Mapping[str, int]
    """Bytes of the files; those that only fetching would tell are left out."""

    @property
    def dataset(self) -> str:
        """`owner/name`."""
        return str(self.annotation.source.hub)

    @property
    def num_bytes(self) -> int:
        """Bytes of the files, as far as they are known."""
        return sum(self.sizes.values())


def plan_mirror(annotation: DatasetAnnotation, data_root: Path | None) -> MirrorPlan:
    """Find the files that a task reads; nothing but the dataset card is fetched.

    Args:
        annotation: A task of the hub, of one config.
        data_root: Local mirror to copy from, which is looked into before the hub.

    Raises:
        SourceError: The dataset, or one of the splits, cannot be found or is closed to this user.
    """
    place = open_place(annotation, data_root)
    splits = tuple(
        PlannedSplit(
            split=name,
            config=annotation.config,
            files=locate_rows(place, wanted_split(annotation, name)).files,
        )
        for name in annotation.splits.source_splits()
    )
    card = (CARD_NAME,) if CARD_NAME in place.listing() else ()
    side_files = tuple(op.file for op in annotation.rows if isinstance(op, Lookup))
    files = (*card, *(name for split in splits for name in split.files), *side_files)
    unique = tuple(dict.fromkeys(files))
    return MirrorPlan(
        annotation=annotation,
        place=place,
        splits=splits,
        files=unique,
        sizes=place.sizes(unique),
    )


def name_in_mirror(name: str) -> str:
    """Return the path below the dataset's folder that a file has in a mirror.

    A file of the web lies at the top under its own name, where reading looks for it.
    """
    return PurePosixPath(urlsplit(name).path).name if is_address(name) else name
