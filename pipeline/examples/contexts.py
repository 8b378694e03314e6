"""The context of any key that a task looks up, beside the one that each row names.

A task that reads a section of a manual finds it with `lookup`; a chain of tasks asks for the
section that another task has chosen, which may be any.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.annotations.evaluation import compile_expression
from pipeline.annotations.outcomes import RowSkipped, raw_key
from pipeline.annotations.row_operations import Lookup
from pipeline.errors import AnnotationError
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.sources.rows import load_side_file

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.types import Json

CONTEXT = "context"
"""Name of the input that holds what was looked up."""


def contexts_of(
    annotation: DatasetAnnotation, data_root: Path | None
) -> Callable[[str], str | None]:
    """Return the input `context` of a task as a function of the key that is looked up.

    Args:
        annotation: A task with one `lookup`, whose field `context` is made of its rows alone.
        data_root: Local mirror.

    Returns:
        A function that gives `None` for a key without a row, or whose row gives no text.

    Raises:
        AnnotationError: The task has no `lookup`, several, or no input `context` (ANN215).
        SourceError: The side file is missing or cannot be read.
    """
    lookups = [operation for operation in annotation.rows if isinstance(operation, Lookup)]
    if len(lookups) != 1 or CONTEXT not in annotation.fields:
        raise AnnotationError(
            "ANN215",
            f"{len(lookups)} `lookup` in rows and inputs {', '.join(annotation.fields)}; a chain "
            f"needs one `lookup` and an input `{CONTEXT}`",
            where=annotation.id,
            hint="See data_annotations/manuals/answer_extraction_s10.yaml",
        )
    (lookup,) = lookups
    compute = compile_expression(annotation.fields[CONTEXT], REGISTERED_FUNCTIONS)
    by_key: dict[str, dict[str, Json]] = {}
    for row in load_side_file(annotation, lookup.file, data_root):
        key = raw_key(row.get(lookup.key))
        if key is not None:
            by_key.setdefault(key, row)

    def context_of(key: str) -> str | None:
        if key not in by_key:
            return None
        try:
            found = compute({lookup.name: [by_key[key]]})
        except RowSkipped:
            return None
        return found if isinstance(found, str) else None

    return context_of
