"""Label names that a task takes from its data, fixed over all splits before any cap."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import cast

from pipeline.annotations.columns import check_columns
from pipeline.annotations.data_labels import compile_label_values, label_order
from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import AnnotationError, raise_all
from pipeline.examples.fingerprints import code_fingerprint, side_file_fingerprints
from pipeline.examples.normalise import recorded_class_names, splits_made
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.files import cache_root, read_sealed_json, sha256_of_json, write_sealed_json
from pipeline.sources.rows import RowTable, load_rows, load_side_file
from pipeline.types import Json, Split


def label_names(
    annotation: DatasetAnnotation, tables: Mapping[Split, RowTable], data_root: Path | None
) -> tuple[str, ...] | None:
    """Return the labels that an annotation leaves to its data, `None` where it lists its own.

    Args:
        annotation: Of one task.
        tables: Rows of some of its splits, which may record class names.
        data_root: Local mirror.

    Raises:
        AnnotationError: The data hold no label, or too many for a closed set.
        SourceError: A split cannot be read.
    """
    if not annotation.has_labels_from_data:
        return recorded_class_names(annotation, tables.values())
    present = annotation.splits.present()
    opened = {
        name: tables[name] if name in tables else load_rows(annotation, name, data_root)
        for name in present
    }
    fingerprint = sha256_of_json(
        {
            "annotation": annotation.data_fingerprint(),
            "sources": [opened[name].fingerprint for name in present],
            "side_files": side_file_fingerprints(annotation, data_root),
            "code": code_fingerprint(),
        }
    )
    path = cache_root() / "labels" / annotation.id / f"{fingerprint[:20]}.json"
    known = read_sealed_json(path)
    if known is not None:
        return tuple(cast("Sequence[str]", known))
    found = _collect(annotation, opened, data_root)
    write_sealed_json(path, cast("Json", list(found)))
    return found


def _collect(
    annotation: DatasetAnnotation, tables: Mapping[Split, RowTable], data_root: Path | None
) -> tuple[str, ...]:
    for name, table in tables.items():
        raise_all(check_columns(annotation, table.features or table.column_names, split=name))
    values_of = compile_label_values(annotation, REGISTERED_FUNCTIONS)
    pipeline = RowPipeline(
        annotation,
        functions=REGISTERED_FUNCTIONS,
        side_file=lambda file: load_side_file(annotation, file, data_root),
    )

    def open_split(split: Split) -> Iterator[tuple[int, dict[str, Json]]]:
        return tables[split].numbered() if split in tables else iter(())

    found: set[str] = set()
    for split in splits_made(annotation):
        for _, row in pipeline.run(split, open_split):
            found.update(values_of(row))
    try:
        names = label_order(found)
    except AnnotationError as error:
        error.where = annotation.mark(("labels",))
        raise
    if not names:
        message = "the data hold no value for the target, so there are no labels"
        raise AnnotationError("ANN207", message, where=annotation.mark(("labels",)))
    return names
