"""Examples of a task, made once and kept as an Arrow file.

The cache folder is `examples/<task>/<split>-<fingerprint>/` below the cache root. The fingerprint
covers the annotation, the content of the source files and the code, so nothing in the cache is
ever stale. A folder counts only if its SHA-256 manifest verifies; a damaged or half-written one is
built again. Processes that build the same folder at once each write their own copy, and the last
rename wins.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from pipeline.annotations.row_operations import Lookup
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import OutputError, SourceError
from pipeline.examples.normalise import (
    RowCounts,
    example_batches,
    examples_schema,
    recorded_class_names,
    splits_made,
    splits_read,
)
from pipeline.examples.stored import ExamplesReport, StoredExamples
from pipeline.files import (
    cache_root,
    is_complete_folder,
    read_json,
    sha256_of_file,
    sha256_of_json,
    staged_folder,
    write_json,
)
from pipeline.sources.rows import RowTable, load_rows, load_side_file, side_file_fingerprint
from pipeline.sources.selection import choose_rows
from pipeline.types import Json, Split

EXAMPLES_FILE = "examples.arrow"
REPORT_FILE = "report.json"
_CODE_PACKAGES = ("annotations", "functions", "sources", "examples")

Progress = Callable[[int], None]
"""Called with the number of examples made so far."""


def load_examples(
    annotation: DatasetAnnotation,
    split: Split,
    *,
    data_root: Path | None = None,
    max_rows: int | None = None,
    seed: int = 0,
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
        progress: Told how far the normalising is; not called for what is cached.

    Raises:
        SourceError: The task has no such split or no usable row, or its data cannot be read.
        AnnotationError: The annotation does not fit its data.
        OutputError: The cache cannot be written.
    """
    tables = open_tables(annotation, split, data_root)
    names = recorded_class_names(annotation, tables.values())
    fingerprint = examples_fingerprint(annotation, split, tables, data_root)
    folder = cache_root() / "examples" / annotation.id / f"{split}-{fingerprint[:20]}"
    is_cached = is_complete_folder(folder)
    if not is_cached:
        _build(annotation, split, tables, data_root=data_root, folder=folder, progress=progress)
    made = cast("dict[str, Json]", read_json(folder / REPORT_FILE))
    num_available = cast("int", made["num_examples"])
    chosen = _capped(annotation, split, num_available, max_rows=max_rows, seed=seed)
    report = ExamplesReport(
        task=annotation.id,
        split=split,
        origin=next(iter(tables.values())).origin,
        fingerprint=fingerprint,
        num_rows=cast("int", made["num_rows"]),
        num_available=num_available,
        num_examples=num_available if chosen is None else len(chosen),
        skipped=cast("dict[str, int]", made["skipped"]),
        seconds=cast("float", made["seconds"]),
        is_cached=is_cached,
    )
    if report.num_examples == 0:
        raise _no_examples(report)
    spec = annotation.spec(names)
    is_closed = annotation.rules.target in {"label", "labels", "anything"}
    choices = spec.labels if is_closed else None
    return StoredExamples(folder / EXAMPLES_FILE, spec, report, choices=choices, chosen=chosen)


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
    side_files = sorted({op.file for op in annotation.rows if isinstance(op, Lookup)})
    return sha256_of_json(
        {
            "annotation": annotation.data_fingerprint(),
            "split": split,
            "sources": {name: table.fingerprint for name, table in tables.items()},
            "class_names": cast("Json", recorded_class_names(annotation, tables.values())),
            "side_files": [side_file_fingerprint(annotation, f, data_root) for f in side_files],
            "code": code_fingerprint(),
        }
    )


@functools.lru_cache(maxsize=1)
def code_fingerprint() -> str:
    """Return a hash of the code that turns rows into examples, and of Arrow's version."""
    root = Path(__file__).resolve().parent.parent
    files = [file for package in _CODE_PACKAGES for file in sorted((root / package).glob("*.py"))]
    hashes: list[Json] = [f"{file.name}:{sha256_of_file(file)}" for file in files]
    return sha256_of_json([*hashes, pa.__version__])


def _build(
    annotation: DatasetAnnotation,
    split: Split,
    tables: Mapping[Split, RowTable],
    *,
    data_root: Path | None,
    folder: Path,
    progress: Progress | None,
) -> None:
    start = time.perf_counter()
    counts = RowCounts()
    batches = example_batches(
        annotation,
        split,
        tables,
        side_file=lambda name: load_side_file(annotation, name, data_root),
        counts=counts,
    )
    try:
        with staged_folder(folder) as staged:
            schema = examples_schema(annotation)
            num_examples = _write(staged / EXAMPLES_FILE, schema, batches, progress)
            made: dict[str, Json] = {
                "task": annotation.id,
                "num_rows": counts.num_rows,
                "num_examples": num_examples,
                "skipped": dict(sorted(counts.skipped.items())),
                "seconds": round(time.perf_counter() - start, 3),
            }
            write_json(staged / REPORT_FILE, made)
    except OutputError:
        # Another process may have moved the same examples into place in between.
        if not is_complete_folder(folder):
            raise


def _write(
    path: Path, schema: pa.Schema, batches: Iterable[pa.RecordBatch], progress: Progress | None
) -> int:
    num_examples = 0
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
            num_examples += batch.num_rows
            if progress is not None:
                progress(num_examples)
    return num_examples


def _capped(
    annotation: DatasetAnnotation,
    split: Split,
    num_available: int,
    *,
    max_rows: int | None,
    seed: int,
) -> npt.NDArray[np.int64] | None:
    """Return the positions that the caps leave, `None` for all."""
    chosen: npt.NDArray[np.int64] | None = None
    cap = {"train": annotation.cap.train, "validation": annotation.cap.validation}.get(
        split, annotation.cap.test
    )
    if cap is not None and cap < num_available:
        chosen = choose_rows(num_available, cap, annotation.cap.seed)
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
