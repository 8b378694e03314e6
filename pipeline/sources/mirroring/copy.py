"""Filling a mirror: each file is copied whole or not at all, and noted in the lock at once."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Protocol, cast

from pipeline.errors import OutputError, SourceError
from pipeline.files import (
    is_inside,
    open_atomic,
    output_errors,
    sha256_of_file,
    sha256_of_json,
    write_text,
)
from pipeline.sources.guards import read_errors
from pipeline.sources.lock import (
    Lock,
    LockedDataset,
    LockedFile,
    LockedSplit,
    read_lock,
    write_lock,
)
from pipeline.sources.mirroring.plan import CARD_NAME, MirrorPlan, PlannedSplit, name_in_mirror
from pipeline.sources.rows import open_dataset, open_source_split

_COPY_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20
"""Free space that is left on the disk."""


WRITTEN_HERE = "written here"
"""Identity of a card that the source did not have."""


class MirrorProgress(Protocol):
    """Told how far the copying is."""

    def __call__(self, name: str, *, is_copied: bool) -> None:
        """Take note of a file that is in place now: copied, or there already."""
        ...


def mirror_task(plan: MirrorPlan, folder: Path, progress: MirrorProgress) -> LockedDataset:
    """Copy the files of one task into a mirror, and read them there.

    Files that the lock lists from the same source, and whose content verifies, are not copied
    again, so a run that was stopped goes on where it was.

    Args:
        plan: What to copy.
        folder: The mirror; it and the dataset's folder are made if need be.
        progress: Told of each file.

    Returns:
        What the lock file says of the dataset now.

    Raises:
        SourceError: A file cannot be fetched or read, or another revision of the dataset is there.
        OutputError: The mirror cannot be written, or the disk is too small.
    """
    dataset = plan.dataset
    target = folder / dataset
    with output_errors(folder):
        target.mkdir(parents=True, exist_ok=True)
    known = read_lock(folder).datasets.get(dataset, LockedDataset())
    present = {
        name
        for name in plan.files
        if _is_in_place(plan, name, known, target / name_in_mirror(name))
    }
    check_space(folder, sum(plan.sizes.get(n, 0) for n in plan.files if n not in present))
    for name in plan.files:
        if name not in present:
            known = _copied(plan, name, known, folder)
        progress(name, is_copied=name not in present)
    known = _with_card(plan, known, folder)
    splits = tuple(_read_back(plan, split, known, folder) for split in plan.splits)
    kept = tuple(
        s for s in known.splits if (s.config, s.split) not in {(n.config, n.split) for n in splits}
    )
    known = dataclasses.replace(known, splits=(*kept, *splits))
    _note(folder, dataset, known)
    return known


def check_space(folder: Path, num_bytes: int) -> None:
    """Refuse to begin what cannot fit on the disk.

    Raises:
        OutputError: Fewer bytes than needed are free.
    """
    free = shutil.disk_usage(folder).free
    if num_bytes + _SPARE_BYTES > free:
        raise OutputError(
            "OUT003",
            f"{_size(num_bytes)} are needed, {_size(free)} are free",
            where=folder,
            hint="Free some space, or choose a folder on another disk",
        )


def _size(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"


def _is_in_place(plan: MirrorPlan, name: str, known: LockedDataset, path: Path) -> bool:
    entry = known.files.get(name_in_mirror(name))
    if entry is None or not path.is_file() or path.stat().st_size != entry.size:
        return False
    if entry.identity != _identity(plan, name):
        return False
    return sha256_of_file(path) == entry.sha256


def _identity(plan: MirrorPlan, name: str) -> str:
    """Return what a file is copied from; of a file of the web only its address is known."""
    return name if name_in_mirror(name) != name else plan.place.identity(name)


def _copied(plan: MirrorPlan, name: str, known: LockedDataset, folder: Path) -> LockedDataset:
    """Copy one file and note it in the lock."""
    target = folder / plan.dataset / name_in_mirror(name)
    if not is_inside(target, folder / plan.dataset):
        raise SourceError(
            "SRC109",
            f"file {name!r} is not a path inside the dataset's folder",
            where=plan.dataset,
            hint="Give a path relative to the folder, without `..`",
        )
    source = plan.place.fetch(name)
    identity = _identity(plan, name)
    earlier = known.files.get(name_in_mirror(name))
    is_other = earlier is not None and earlier.identity not in {identity, WRITTEN_HERE}
    if is_other and target.is_file() and sha256_of_file(target) != sha256_of_file(source):
        raise _other_revision(plan, name)
    _check_source(source, target)
    with open_atomic(target, binary=True) as stream, read_errors(source), source.open("rb") as data:
        shutil.copyfileobj(data, cast("IO[bytes]", stream), _COPY_BYTES)
    entry = LockedFile(sha256=sha256_of_file(target), size=target.stat().st_size, identity=identity)
    files = {**known.files, name_in_mirror(name): entry}
    known = dataclasses.replace(known, files=files, revision=plan.place.revision or known.revision)
    _note(folder, plan.dataset, known)
    return known


def _check_source(source: Path, target: Path) -> None:
    if target.exists() and source.exists() and target.samefile(source):
        raise SourceError(
            "SRC146",
            "a mirror cannot be copied into itself",
            where=target,
            hint="Give another folder with --to, or another mirror with --data-root",
        )


def _with_card(plan: MirrorPlan, known: LockedDataset, folder: Path) -> LockedDataset:
    """Write a small card where the source has none, so that licence and origin are at hand."""
    path = folder / plan.dataset / CARD_NAME
    if path.exists():
        return known
    source = plan.annotation.source
    language = f"language: [{', '.join(source.language)}]\n" if source.language else ""
    text = (
        f"---\nlicense: {source.licence}\n{language}---\n\n# {plan.dataset}\n\n"
        f"Files copied for `{plan.annotation.id}` from {plan.place.origin}.\n"
    )
    write_text(path, text)
    entry = LockedFile(sha256=sha256_of_file(path), size=path.stat().st_size, identity=WRITTEN_HERE)
    known = dataclasses.replace(known, files={**known.files, CARD_NAME: entry})
    _note(folder, plan.dataset, known)
    return known


def verify_task(plan: MirrorPlan, folder: Path) -> None:
    """Make sure that a task reads from the mirror what it reads from its source.

    Raises:
        SourceError: The mirror leads to other files, since another task's were added.
    """
    known = read_lock(folder).datasets[plan.dataset]
    for split in plan.splits:
        _read_back(plan, split, known, folder)


def _read_back(
    plan: MirrorPlan, split: PlannedSplit, known: LockedDataset, folder: Path
) -> LockedSplit:
    """Count the rows of a split as they are read from the mirror.

    Raises:
        SourceError: The mirror leads to other files than the source does.
    """
    place = open_dataset(plan.dataset, None, folder)
    opened, files = open_source_split(plan.annotation, split.split, place)
    names = tuple(name_in_mirror(name) for name in split.files)
    hashes: Sequence[str] = [known.files[name].sha256 for name in names]
    if opened.fingerprint != sha256_of_json(list(hashes)):
        raise _other_revision(plan, ", ".join(files))
    return LockedSplit(
        config=split.config,
        split=split.split,
        files=names,
        rows=opened.count_rows(),
        revision=plan.place.revision,
    )


def _other_revision(plan: MirrorPlan, name: str) -> SourceError:
    return SourceError(
        "SRC147",
        f"the mirror holds another state of this dataset, which would be read instead: {name}",
        where=plan.dataset,
        hint="Fill another folder for this task, or delete the dataset's folder in the mirror",
    )


def _note(folder: Path, dataset: str, known: LockedDataset) -> None:
    write_lock(folder, Lock({**read_lock(folder).datasets, dataset: known}))
