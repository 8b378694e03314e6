"""Labels that are the values found in the data, for `labels: from_data`."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from pipeline.annotations.evaluation import Functions, compile_expression
from pipeline.annotations.expressions import Expression, Spans
from pipeline.annotations.outcomes import RowSkipped, raw_key
from pipeline.annotations.paths import Scope
from pipeline.annotations.references import computed_names, evaluation_order
from pipeline.errors import AnnotationError

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation

MAX_DATA_LABELS = 1000
"""More different values than this are no closed set of labels."""

_NUMBER = re.compile(r"-?\d{1,30}(\.\d{1,30})?")


def compile_label_values(
    annotation: DatasetAnnotation, functions: Functions | None = None
) -> Callable[[Scope], list[str]]:
    """Return the function that gives the label values of a row, for `labels: from_data`.

    Args:
        annotation: Of one task, see `expanded`.
        functions: Implementations of the functions that `function:` may name.

    Returns:
        A function of a scope; a row that gives no example, or no value, has no labels.

    Raises:
        AnnotationError: As for `compile_fields`.
    """
    target = annotation.fields["target"]
    read = target.tags if isinstance(target, Spans) else target
    fields = {**annotation.fields, "target": read}
    needed = [name for name in evaluation_order(fields) if name in _read_by_target(fields)]
    compiled = [
        (name, compile_expression(fields[name], functions or {})) for name in (*needed, "target")
    ]

    def run(scope: Scope) -> list[str]:
        inner = dict(scope)
        try:
            for name, evaluate in compiled:
                inner[f"${name}"] = evaluate(inner)
        except RowSkipped:
            return []
        found = inner["$target"]
        values = found if isinstance(found, list | dict) else [found]
        return [key for key in map(raw_key, values) if key is not None]

    return run


def _read_by_target(fields: Mapping[str, Expression]) -> set[str]:
    """Return the fields that the target reads as `$name`, directly or through others."""
    found: set[str] = set()
    waiting = ["target"]
    while waiting:
        new = computed_names(fields[waiting.pop()]) - found
        found |= new
        waiting += new
    return found


def label_order(values: Iterable[str]) -> tuple[str, ...]:
    """Return label names found in data in their lasting order: numbers by size, else by text.

    Raises:
        AnnotationError: There are too many for a closed set.
    """
    names = set(values)
    if len(names) > MAX_DATA_LABELS:
        message = f"the target has {len(names)} different values, allowed are {MAX_DATA_LABELS}"
        hint = "Is this a closed set? Otherwise choose `task: text`"
        raise AnnotationError("ANN213", message, hint=hint)
    if all(_NUMBER.fullmatch(name) for name in names):
        return tuple(sorted(names, key=float))
    return tuple(sorted(names))
