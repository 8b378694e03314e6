"""Examples of a task, made once and kept as an Arrow file.

The cache folder is `examples/<task>/<split>-<fingerprint>/` below the cache root. The fingerprint
covers the annotation, the content of the source files and the code, so nothing in the cache is
ever stale. A folder counts only if its SHA-256 manifest verifies, once per process; a damaged or
half-written one is built again. Of several processes that want the same folder one builds it and
the others wait; where the file system has no locks, each writes its own copy and a rename decides.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import OutputError, SourceError
from pipeline.examples.data_labels import label_names
from pipeline.examples.few_shot import choose_evenly
from pipeline.examples.fingerprints import code_fingerprint, side_file_fingerprints
from pipeline.examples.making import RowCounts, SideFile, examples_schema
from pipeline.examples.normalise import Work, example_batches, splits_made, splits_read
from pipeline.examples.sampling import PassingSample
from pipeline.examples.stored import ExamplesReport, StoredExamples
from pipeline.examples.workers import automatic_num_proc
from pipeline.files import (
    cache_root,
    is_complete_folder,
    one_at_a_time,
    read_json,
    sha256_of_json,
    staged_folder,
    write_json,
)
from pipeline.sources.rows import RowTable, load_rows, load_side_file
from pipeline.sources.selection import choose_rows
from pipeline.types import Json, Split

EXAMPLES_FILE = "examples.arrow"
REPORT_FILE = "report.json"
STORED_BYTES = 4 << 20
"""Examples stored as one batch, at least; bounds what writing holds."""

Progress = Callable[[int], None]
"""Called with the number of examples made so far."""


def load_examples(
    annotation: DatasetAnnotation,
    split: Split,
    *,
    data_root: Path | None = None,
    max_rows: int | None = None,
    seed: int = 0,
    evenly: bool = False,
    num_proc: int | None = None,
    progress: Progress | None = None,
) -> StoredExamples:
    """Return the examples of one task and split, from the cache or newly made.

    Args:
        annotation: The task; one that stands for several configs must be expanded first.
        split: Its split.
        data_root: Local mirror, which is looked into before the hub.
        max_rows: At most so many examples, chosen by a hash of their position and `seed`, after
            the annotation's own cap. Labels never depend on it.
        seed: Of `max_rows`.
        evenly: Choose the `max_rows` examples evenly over the classes, see `choose_evenly`.
        num_proc: Processes that normalise a large source; see `automatic_num_proc` for `None`.
            The examples are the same however many there are.
        progress: Told how far the normalising is; not called for what is cached.

    Raises:
        SourceError: The task has no such split or no usable row, or its data cannot be read.
        AnnotationError: The annotation does not fit its data.
        OutputError: The cache cannot be written.
    """
    tables = open_tables(annotation, split, data_root)
    names = label_names(annotation, tables, data_root)
    fingerprint = examples_fingerprint(annotation, split, tables, data_root)
    limit = None if evenly else max_rows
    kept = _kept_of_stream(annotation, split, max_rows=limit, seed=seed)
    if kept is not None:
        fingerprint = sha256_of_json([fingerprint, *kept])
    folder = cache_root() / "examples" / annotation.id / f"{split}-{fingerprint[:20]}"
    is_cached = _is_verified(folder)
    if not is_cached:
        work = Work(annotation, split, tables, names, automatic_num_proc(num_proc))
        sample = None if kept is None else PassingSample(*kept)
        is_cached = _waited_for(folder, work, sample, data_root=data_root, progress=progress)
    made = cast("dict[str, Json]", read_json(folder / REPORT_FILE))
    num_available = cast("int", made["num_examples"])
    num_stored = cast("int", made["num_stored"])
    # What is not stored was left out while it passed, so the cap is taken already.
    cap = None if num_stored < num_available else _cap_of(annotation, split)
    chosen = _capped(num_stored, cap, annotation.cap.seed, max_rows=limit, seed=seed)
    report = ExamplesReport(
        task=annotation.id,
        split=split,
        origin=next(iter(tables.values())).origin,
        fingerprint=fingerprint,
        num_rows=cast("int", made["num_rows"]),
        num_available=num_available,
        num_examples=num_stored if chosen is None else len(chosen),
        skipped=cast("dict[str, int]", made["skipped"]),
        changed=cast("dict[str, int]", made["changed"]),
        seconds=cast("float", made["seconds"]),
        is_cached=is_cached,
    )
    if report.num_examples == 0:
        raise _no_examples(report)
    spec = annotation.spec(names)
    choices = spec.labels if annotation.rules.is_closed else None
    found = StoredExamples(folder / EXAMPLES_FILE, spec, report, choices=choices, chosen=chosen)
    if evenly and max_rows is not None and max_rows < len(found):
        return found.only(choose_evenly(found, max_rows, seed=seed))
    return found


def open_tables(
    annotation: DatasetAnnotation, split: Split, data_root: Path | None
) -> dict[Split, RowTable]:
    """Open the rows of every split that must be read to make `split`.

    Raises:
        SourceError: The task has no such split, or its data cannot be found.
    """
    made = splits_made(annotation)
    if split not in made:
        raise SourceError(
            "SRC114",
            f"the task has no {split} split; it has {', '.join(made)}",
            where=annotation.id,
            hint="Choose one of them, or give the split a source in the annotation",
        )
    return {name: load_rows(annotation, name, data_root) for name in splits_read(annotation, split)}


def examples_fingerprint(
    annotation: DatasetAnnotation,
    split: Split,
    tables: Mapping[Split, RowTable],
    data_root: Path | None,
) -> str:
    """Return a hash of everything that the examples of a split depend on."""
    return sha256_of_json(
        {
            "annotation": annotation.data_fingerprint(),
            "split": split,
            "sources": {name: table.fingerprint for name, table in tables.items()},
            "class_names": cast("Json", label_names(annotation, tables, data_root)),
            "side_files": side_file_fingerprints(annotation, data_root),
            "code": code_fingerprint(),
        }
    )


def _is_verified(folder: Path) -> bool:
    """Return whether a folder is complete, hashing its files once as long as they stay the same."""
    try:
        states = [(file.name, file.stat()) for file in sorted(folder.iterdir())]
    except OSError:
        return False
    marks = [(name, s.st_size, s.st_mtime_ns, s.st_ctime_ns, s.st_ino) for name, s in states]
    return _is_complete(folder, tuple(marks))


@functools.lru_cache(maxsize=4096)
def _is_complete(folder: Path, state: tuple[tuple[str, int, int, int, int], ...]) -> bool:
    del state
    return is_complete_folder(folder)


def _waited_for(
    folder: Path,
    work: Work,
    sample: PassingSample | None,
    *,
    data_root: Path | None,
    progress: Progress | None,
) -> bool:
    """Build a folder, unless another process does; return whether another one did."""
    side_file = functools.partial(load_side_file, work.annotation, data_root=data_root)
    with one_at_a_time(folder):
        if _is_verified(folder):
            return True
        _build(work, side_file, folder, sample=sample, progress=progress)
        return False


def _build(
    work: Work,
    side_file: SideFile,
    folder: Path,
    *,
    sample: PassingSample | None,
    progress: Progress | None,
) -> None:
    start = time.perf_counter()
    annotation, counts = work.annotation, RowCounts()
    batches = _told(example_batches(work, side_file=side_file, counts=counts), progress)
    if sample is not None:
        batches = sample.chosen(batches)
    try:
        with staged_folder(folder) as staged:
            schema = examples_schema(annotation)
            num_stored = _write(staged / EXAMPLES_FILE, schema, batches)
            made: dict[str, Json] = {
                "task": annotation.id,
                "num_rows": counts.num_rows,
                "num_examples": num_stored if sample is None else sample.num_passed,
                "num_stored": num_stored,
                "skipped": dict(sorted(counts.skipped.items())),
                "changed": dict(sorted(counts.changed.items())),
                "seconds": round(time.perf_counter() - start, 3),
            }
            write_json(staged / REPORT_FILE, made)
    except OutputError:
        # Another process may have moved the same examples into place in between.
        if not is_complete_folder(folder):
            raise


def _write(path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> int:
    num_examples = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in _joined(batches):
            writer.write_batch(batch)
            num_examples += batch.num_rows
    return num_examples


def _joined(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Yield few batches instead of many: a reader touches memory for each, even if unread."""
    held: list[pa.RecordBatch] = []
    num_bytes = 0
    for batch in batches:
        held.append(batch)
        num_bytes += batch.nbytes
        if num_bytes >= STORED_BYTES:
            yield from pa.Table.from_batches(held).combine_chunks().to_batches()
            held, num_bytes = [], 0
    if held:
        yield from pa.Table.from_batches(held).combine_chunks().to_batches()


def _told(batches: Iterable[pa.RecordBatch], progress: Progress | None) -> Iterator[pa.RecordBatch]:
    num_examples = 0
    for batch in batches:
        yield batch
        num_examples += batch.num_rows
        if progress is not None:
            progress(num_examples)


def _kept_of_stream(
    annotation: DatasetAnnotation, split: Split, *, max_rows: int | None, seed: int
) -> tuple[int, int] | None:
    """Return how many examples of a stream are stored, and the seed that chooses them.

    `None` stores all: of what is not a stream, caps are taken when the examples are read.
    """
    if annotation.source.stream is False:
        return None
    cap = _cap_of(annotation, split)
    if cap is not None:
        return cap, annotation.cap.seed
    return None if max_rows is None else (max_rows, seed)


def _cap_of(annotation: DatasetAnnotation, split: Split) -> int | None:
    caps = {"train": annotation.cap.train, "validation": annotation.cap.validation}
    return caps.get(split, annotation.cap.test)


def _capped(
    num_available: int, cap: int | None, cap_seed: int, *, max_rows: int | None, seed: int
) -> npt.NDArray[np.int64] | None:
    """Return the positions that the caps leave, `None` for all."""
    chosen: npt.NDArray[np.int64] | None = None
    if cap is not None and cap < num_available:
        chosen = choose_rows(num_available, cap, cap_seed)
    num_left = num_available if chosen is None else len(chosen)
    if max_rows is not None and max_rows < num_left:
        kept = choose_rows(num_left, max_rows, seed)
        chosen = kept if chosen is None else chosen[kept]
    return chosen


def _no_examples(report: ExamplesReport) -> SourceError:
    reasons = ", ".join(f"{reason} ({count})" for reason, count in report.skipped.items())
    return SourceError(
        "SRC116",
        f"the {report.split} split has no example: {reasons or 'no rows'}",
        where=report.task,
        hint=f"Look at the rows in {report.origin}",
    )


def report_to_json(report: ExamplesReport) -> dict[str, Json]:
    """Return a report as JSON, for a run's data report."""
    return cast("dict[str, Json]", dataclasses.asdict(report))
