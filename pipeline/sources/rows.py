"""Rows of a split, as an annotation names it: from the mirror, from files, or from the hub."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections import Counter
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.annotations.schema import DatasetAnnotation
from pipeline.annotations.source import Take, is_test_name
from pipeline.errors import AnnotationError, SourceError
from pipeline.files import sha256_of_json
from pipeline.sources.batches import Row, RowBatch
from pipeline.sources.data_root import dataset_folder
from pipeline.sources.features import Features, class_names
from pipeline.sources.folder import FolderPlace, Place
from pipeline.sources.hub import open_hub
from pipeline.sources.json_lines import JsonLinesFile
from pipeline.sources.layout import FoundSplit, WantedSplit, check_relative, has_named_files
from pipeline.sources.lock import read_lock
from pipeline.sources.reading import SourceSplit, locate_split, open_split
from pipeline.sources.selection import partition_rows
from pipeline.types import SPLITS, Split
from pipeline.yaml_reader import excerpt


class RowTable:
    """The rows of one split of a task; read from disk on every iteration, never held in memory.

    Rows are numbered from 0 over the source splits they come from, so a number names the same row
    whichever part of the source a split takes.
    """

    def __init__(
        self,
        sources: Sequence[SourceSplit],
        *,
        origin: str,
        chosen: npt.NDArray[np.int64] | None = None,
        selection: str = "",
    ) -> None:
        """Keep where the rows are.

        Args:
            sources: Source splits, one after the other.
            origin: Where they come from, for reports.
            chosen: Sorted row numbers that belong to the split; all when `None`.
            selection: Text that tells how `chosen` came about, for the fingerprint.
        """
        self.sources = tuple(sources)
        self.origin = origin
        self._chosen = chosen
        self._selection = selection
        self._skipped: Counter[str] = Counter()

    @property
    def column_names(self) -> tuple[str, ...]:
        """All columns, in source order."""
        return tuple(dict.fromkeys(name for source in self.sources for name in source.columns()))

    @property
    def features(self) -> Features | None:
        """Column types that the data declare, if they do."""
        return next((source.features for source in self.sources if source.features), None)

    @property
    def class_names(self) -> dict[str, tuple[str, ...]]:
        """Names of class labels by column, as recorded with the data."""
        return class_names(self.features)

    @property
    def fingerprint(self) -> str:
        """Changes when the content of a file or the choice of rows does."""
        return sha256_of_json([self._selection, *(source.fingerprint for source in self.sources)])

    @property
    def skipped(self) -> Counter[str]:
        """Rows that the latest reading by `numbered` left out, by reason."""
        return self._skipped

    @property
    def selected_rows(self) -> npt.NDArray[np.int64] | None:
        """Sorted numbers of the rows that belong to the split; `None` when all do."""
        return self._chosen

    def __len__(self) -> int:
        """Number of rows, skipped ones included; a first call reads through JSON files."""
        if self._chosen is not None:
            return len(self._chosen)
        return sum(source.count_rows() for source in self.sources)

    def __iter__(self) -> Iterator[Row]:
        """All rows in order."""
        return (row for _, row in self.numbered())

    def numbered(self, columns: Sequence[str] | None = None) -> Iterator[tuple[int, Row]]:
        """Yield `(row number, row)` in order.

        Args:
            columns: Columns that are needed; others may be left out to save time.

        Raises:
            SourceError: A row cannot be read.
        """
        self._skipped = Counter()
        for batch in self.batches(columns):
            yield from batch.rows()
            self._skipped.update(batch.skipped)

    def batches(self, columns: Sequence[str] | None = None) -> Iterator[RowBatch]:
        """Yield the rows in batches.

        Args:
            columns: Columns that are needed; `RowBatch.columns` gives exactly these.

        Raises:
            SourceError: A row cannot be read.
        """
        start = 0
        for source in self.sources:
            for before, batch in source.batches(columns):
                if self._is_past(batch, start + before):
                    return
                yield _part_of_batch(batch, start + before, self._chosen)
            start += source.num_seen()

    def _is_past(self, batch: RowBatch, start: int) -> bool:
        """Return whether no chosen row is in `batch` or after it, so that nothing more is read."""
        if self._chosen is None or not len(batch.numbers):
            return False
        return not len(self._chosen) or start + batch.numbers[0] > int(self._chosen[-1])


def _first_rows(
    annotation: DatasetAnnotation, chosen: npt.NDArray[np.int64] | None
) -> tuple[npt.NDArray[np.int64], str]:
    """Return the rows that a stream is read up to.

    Raises:
        SourceError: A split takes rows out of another, which needs the whole source.
    """
    if chosen is not None:
        raise SourceError(
            "SRC163",
            "`take` needs all rows of the source, and `stream` gives only the first ones",
            where=annotation.id,
            hint="Write `stream: true`, or cut the split with `split_by`",
        )
    count = annotation.source.stream_rows or 0
    return np.arange(count, dtype=np.int64), f"first {count}"


def _part_of_batch(batch: RowBatch, start: int, chosen: npt.NDArray[np.int64] | None) -> RowBatch:
    """Return `batch` with its numbers moved by `start`, and only the chosen rows."""
    first = start + batch.numbers[0] if len(batch.numbers) else start
    numbers: Sequence[int] = range(first, first + len(batch.numbers))
    if chosen is not None:
        low, high = np.searchsorted(chosen, [first, first + len(batch.numbers)])
        numbers = chosen[low:high].tolist()
    wanted = None if chosen is None else frozenset(numbers)
    return RowBatch(
        numbers,
        functools.partial(_rows_of_part, batch, start, wanted),
        functools.partial(_columns_of_part, batch, first, numbers if wanted is not None else None),
    )


def _rows_of_part(
    batch: RowBatch,
    start: int,
    wanted: frozenset[int] | None,
    only: Container[int] | None = None,
    *,
    skipped: Counter[str] | None = None,
) -> Iterator[tuple[int, Row]]:
    """Yield the chosen rows of a batch; rows left out while reading count even if not chosen."""
    inner = None if only is None else {n for n in batch.numbers if start + n in only}
    for number, row in batch.read(inner, skipped=skipped):
        if wanted is None or start + number in wanted:
            yield start + number, row


def _columns_of_part(
    batch: RowBatch, first: int, numbers: Sequence[int] | None
) -> pa.RecordBatch | None:
    found = batch.columns()
    if found is None or numbers is None:
        return found
    return found.take(pa.array([number - first for number in numbers], type=pa.int64()))


def load_rows(annotation: DatasetAnnotation, split: Split, data_root: Path | None) -> RowTable:
    """Open the rows that serve one split of a task.

    Args:
        annotation: The task.
        split: Its split.
        data_root: Local mirror, which is looked into before the hub.

    Raises:
        SourceError: The task has no such split, or its source cannot be found or read.
        AnnotationError: One file serves two source splits, or a test file serves `train`.
    """
    source = annotation.splits.of(split)
    if source is None:
        present = ", ".join(annotation.splits.present())
        raise SourceError(
            "SRC114",
            f"the task has no {split} split; it has {present}",
            where=annotation.id,
            hint="Choose one of them, or give the split a source in the annotation",
        )
    place = open_place(annotation, data_root)
    located = _locate_all(annotation, place)
    _check_files(annotation, located)
    names = annotation.splits.named(split)
    opened = [open_source_split(annotation, name, place, located.get(name))[0] for name in names]
    chosen, selection = _chosen_rows(annotation, split, names, opened)
    if annotation.source.stream_rows is not None:
        chosen, selection = _first_rows(annotation, chosen)
    return RowTable(opened, origin=place.origin, chosen=chosen, selection=selection)


def _locate_all(annotation: DatasetAnnotation, place: Place) -> dict[str, FoundSplit]:
    """Return the files of the source splits of a task, without those that are not there."""
    located: dict[str, FoundSplit] = {}
    for name in annotation.splits.source_splits():
        # What is missing is told where that split itself is read.
        with contextlib.suppress(SourceError):
            located[name] = locate_rows(place, wanted_split(annotation, name))
    return located


def _check_files(annotation: DatasetAnnotation, located: Mapping[str, FoundSplit]) -> None:
    """Refuse files that serve two source splits of a task, or are test files and serve `train`.

    Raises:
        AnnotationError: There is such a file.
    """
    splits = annotation.splits
    users: dict[str, str] = {}
    for split in splits.present():
        for name in splits.named(split):
            for file in located[name].files if name in located else ():
                where = annotation.mark(("splits", split))
                if users.setdefault(file, name) != name:
                    message = f"file {excerpt(file)} of {excerpt(name)} is one of {users[file]} too"
                    hint = "No row may come twice; cut a part out: {take: 0.1, from: NAME}"
                    raise AnnotationError("ANN144", message, where=where, hint=hint)
                if split == "train" and is_test_name(file):
                    message = f"file {excerpt(file)} is a test split and may not be trained on"
                    hint = "Name it under `test`"
                    raise AnnotationError("ANN145", message, where=where, hint=hint)


def load_side_file(
    annotation: DatasetAnnotation, name: str, data_root: Path | None
) -> list[dict[str, Any]]:
    """Return all rows of a file beside the data, such as a library of functions.

    Args:
        annotation: The task.
        name: Path of a JSON or JSON Lines file, relative to the dataset's folder.
        data_root: Local mirror, which is looked into before the hub.

    Raises:
        SourceError: There is no such file, or it cannot be read.
    """
    path = _side_file_path(open_place(annotation, data_root), annotation, name)
    return [row for _, row in JsonLinesFile(path)]


def side_file_fingerprint(annotation: DatasetAnnotation, name: str, data_root: Path | None) -> str:
    """Return a text that changes when the content of a side file does.

    Raises:
        SourceError: There is no such file.
    """
    place = open_place(annotation, data_root)
    _side_file_path(place, annotation, name)
    return place.identity(name)


def open_place(annotation: DatasetAnnotation, data_root: Path | None) -> Place:
    """Return where the files of an annotation's dataset are.

    Raises:
        SourceError: They are neither in the mirror nor within reach.
    """
    source = annotation.source
    if source.hub is None:
        folder = annotation.path.parent if annotation.path else Path()
        return FolderPlace(folder)
    how_to_get = source.how_to_get or ""
    if source.local and dataset_folder(data_root, source.hub) is None:
        raise _not_local(source.hub, data_root, how_to_get)
    return open_dataset(source.hub, source.revision, data_root, how_to_get=how_to_get)


def _not_local(dataset: str, data_root: Path | None, how_to_get: str) -> SourceError:
    folder = (data_root or Path("DIR")) / dataset
    looked = f"it is not in the mirror {data_root}" if data_root else "no mirror is given"
    return SourceError(
        "SRC117",
        f"the data cannot be downloaded, and {looked}",
        where=dataset,
        hint=f"{how_to_get.rstrip('.')}. Put it into {folder} and give "
        f"--data-root {data_root or 'DIR'}",
    )


def open_dataset(
    dataset: str, revision: str | None, data_root: Path | None, *, how_to_get: str = ""
) -> Place:
    """Return where the files of `owner/name` are: in the mirror, or on the hub.

    Args:
        dataset: `owner/name`.
        revision: Commit, branch or ref on the hub; a mirror has one state only.
        data_root: Local mirror, which is looked into first.
        how_to_get: What to tell a user who has no access.

    Raises:
        SourceError: The dataset is neither in the mirror nor within reach.
    """
    mirrored = dataset_folder(data_root, dataset)
    if mirrored is not None and data_root is not None:
        return FolderPlace(mirrored, lock=read_lock(data_root).datasets.get(dataset))
    try:
        return open_hub(dataset, revision, how_to_get=how_to_get)
    except SourceError as error:
        raise _not_found(dataset, data_root, error, how_to_get) from error


def wanted_split(annotation: DatasetAnnotation, name: str) -> WantedSplit:
    """Return what to look for to find the source split `name` of an annotation."""
    source = annotation.source
    options: dict[str, Any] = {}
    if source.delimiter is not None:
        options["sep"] = source.delimiter
    if source.column_names is not None:
        options["names"] = list(source.column_names)
    return WantedSplit(
        dataset=source.hub or str(annotation.path or annotation.id),
        split=name,
        config=annotation.config if source.hub else None,
        data_dir=source.data_dir,
        data_files=source.files if source.hub is None else source.data_files,
        stream=source.stream is not False,
        has_own_files=source.hub is None,
        format=source.format,
        reader_options=options,
    )


def locate_rows(place: Place, wanted: WantedSplit) -> FoundSplit:
    """Find a split; in a folder that is laid out more plainly than the hub, by its plain name.

    Raises:
        SourceError: The config or split does not exist.
    """
    try:
        return locate_split(place, wanted)
    except SourceError as error:
        if error.code not in {"SRC103", "SRC104", "SRC108"}:
            raise
        if _may_be_plainer(place, wanted):
            plain = dataclasses.replace(wanted, data_files=None, data_dir=None)
            with contextlib.suppress(SourceError):
                return locate_split(place, plain)
        error.message += f" (looked in {place.origin})"
        raise


def _may_be_plainer(place: Place, wanted: WantedSplit) -> bool:
    """Return whether a folder may hold a split under its plain name, and not as the hub has it.

    Where some of the named files are there, the one that is missing is missing.
    """
    is_named = wanted.data_files is not None or wanted.data_dir is not None
    if not isinstance(place, FolderPlace) or wanted.has_own_files or not is_named:
        return False
    return not has_named_files(wanted, place.listing())


def open_source_split(
    annotation: DatasetAnnotation, name: str, place: Place, found: FoundSplit | None = None
) -> tuple[SourceSplit, tuple[str, ...]]:
    """Return a source split of a task at a place, and its files.

    Args:
        annotation: The task.
        name: The source split.
        place: Where the dataset is.
        found: Its files, where they are known already.

    Raises:
        SourceError: It cannot be found or read.
    """
    wanted = wanted_split(annotation, name)
    found = found or locate_rows(place, wanted)
    return open_split(place, wanted, found), found.files


def _chosen_rows(
    annotation: DatasetAnnotation,
    split: Split,
    names: Sequence[str],
    opened: Sequence[SourceSplit],
) -> tuple[npt.NDArray[np.int64] | None, str]:
    """Return the rows of `names` that are left for, or taken by, `split`."""
    entries = {other: annotation.splits.of(other) for other in SPLITS}
    takes = {
        other: entry
        for other, entry in entries.items()
        if isinstance(entry, Take) and entry.source in names
    }
    if not takes:
        return None, ""
    parts: list[npt.NDArray[np.int64]] = []
    start = 0
    for name, source in zip(names, opened, strict=True):
        own = {other: take for other, take in takes.items() if take.source == name}
        num_rows = source.count_rows()
        divided = partition_rows(num_rows, own, where=f"{annotation.id} ({name})")
        parts.append(divided[split if split in own else None] + start)
        start += num_rows
    described = [[other, take.take, take.source, take.seed] for other, take in takes.items()]
    return np.concatenate(parts), f"{split} {described}"


def _side_file_path(place: Place, annotation: DatasetAnnotation, name: str) -> Path:
    dataset = annotation.source.hub or annotation.id
    check_relative(name, dataset)
    if name not in place.listing():
        raise SourceError(
            "SRC115",
            f"no side file {name!r} in {place.origin}",
            where=dataset,
            hint="Side files are named relative to the dataset's folder",
        )
    return place.fetch(name)


def _not_found(
    dataset: str, data_root: Path | None, error: SourceError, how_to_get: str
) -> SourceError:
    mirror = f"not in the mirror {data_root}" if data_root else "no mirror is given (--data-root)"
    hint = how_to_get or error.hint
    return SourceError(error.code, f"{error.message}; {mirror}", where=dataset, hint=hint)
