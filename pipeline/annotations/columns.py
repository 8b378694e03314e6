"""Whether the paths of an annotation exist in its dataset, told before any row is read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pipeline.annotations import row_operations as ops
from pipeline.annotations.paths import Step
from pipeline.annotations.references import PathUse, column_uses
from pipeline.errors import AnnotationError, nearest_names
from pipeline.yaml_reader import dotted

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation

Columns = Sequence[str] | Mapping[str, Any]
"""Column names, or column name to `datasets` feature (or nested dict and list of names)."""

MAX_LISTED = 12
_NOT_A_COLUMN = "Plain text names a column; a text itself is written {const: ...}"


def paths_used(annotation: DatasetAnnotation) -> list[PathUse]:
    """Return every path that an annotation reads from source rows, in the order of the file.

    Names bound by row operations and computed fields are left out.
    """
    return list(_uses(annotation))


def _uses(annotation: DatasetAnnotation) -> Iterator[PathUse]:
    bound: frozenset[str] = frozenset()
    for operation in annotation.rows:
        yield from _operation_uses(operation, bound)
        bound |= bound_names(operation)
    bound |= {f"${name}" for name in annotation.fields}
    for field in annotation.fields.values():
        yield from column_uses(field, bound)


def bound_names(operation: ops.Operation) -> frozenset[str]:
    """Return the names that fields and later operations may use because of `operation`."""
    if isinstance(operation, ops.Let):
        return frozenset(operation.names)
    if isinstance(operation, ops.Explode):
        return frozenset({operation.name, "index", operation.history or operation.name})
    if isinstance(operation, ops.Lookup):
        return frozenset({operation.name})
    if isinstance(operation, ops.Pairs):
        return frozenset({"head", "tail", "relation"})
    return frozenset()


def _operation_uses(operation: ops.Operation, bound: frozenset[str]) -> Iterator[PathUse]:
    if isinstance(operation, ops.Let):
        for name, value in operation.names.items():
            yield from column_uses(value, bound)
            bound |= {name}
    elif isinstance(operation, ops.Where):
        yield from column_uses(operation.condition, bound)
    elif isinstance(operation, ops.Explode):
        yield from column_uses(operation.items, bound)
    elif isinstance(operation, ops.Lookup):
        yield from column_uses(operation.of, bound)
    elif isinstance(operation, ops.Pairs):
        yield from column_uses(operation.entities, bound)
        yield from column_uses(operation.relations, bound)
        if operation.where is not None:
            yield from column_uses(operation.where, bound | bound_names(operation))
    else:
        yield from column_uses(operation.key, bound)
        if isinstance(operation, ops.Unique) and operation.conflict_of is not None:
            yield from column_uses(operation.conflict_of, bound)


def check_columns(
    annotation: DatasetAnnotation, columns: Columns, *, split: str | None = None
) -> list[AnnotationError]:
    """Return one error for each path that leads to nothing.

    Args:
        annotation: Of one task, see `expanded`.
        columns: What the dataset has.
        split: Name of the source split, for messages.
    """
    return [
        error
        for use in paths_used(annotation)
        if (error := _check(annotation, use, columns, split)) is not None
    ]


def _check(
    annotation: DatasetAnnotation, use: PathUse, columns: Columns, split: str | None
) -> AnnotationError | None:
    names = list(columns)
    missing, known = use.path.root, names
    if use.path.root in names:
        if not isinstance(columns, Mapping):
            return None
        wrong = _missing_step(columns[use.path.root], use.path.steps)
        if wrong is None:
            return None
        missing, known = wrong
    kind = "column" if missing == use.path.root and known is names else "member"
    listed = ", ".join(known[:MAX_LISTED]) + (", ..." if len(known) > MAX_LISTED else "")
    close = nearest_names(missing, known, count=1)
    message = f"{_said(use)}: no {kind} {missing!r} in {_dataset(annotation, split)}"
    own = f" of {use.path.root!r}" if kind == "member" else ""
    return AnnotationError(
        "ANN104",
        f"{message}. {kind.capitalize()}s{own}: {listed or 'none'}",
        where=annotation.mark(use.loc),
        hint=f"Did you mean {close[0]!r}?" if close else _NOT_A_COLUMN,
    )


def _said(use: PathUse) -> str:
    return dotted(use.loc) or str(use.path)


def _dataset(annotation: DatasetAnnotation, split: str | None) -> str:
    name = annotation.source.hub or annotation.id
    parts = [part for part in (annotation.config, split) if part]
    return f"{name} ({', '.join(parts)})" if parts else name


def _missing_step(feature: Any, steps: tuple[Step, ...]) -> tuple[str, list[str]] | None:  # noqa: ANN401
    """Return the first member that `feature` lacks, and those it has; `None` if all exist."""
    for step in steps:
        feature = element_of(feature)
        if not isinstance(step, str):
            continue
        if feature is None:
            return None
        if not isinstance(feature, Mapping):
            return step, []
        if step not in feature:
            return step, [str(name) for name in feature]
        feature = feature[step]
    return None


def element_of(feature: Any) -> Any:  # noqa: ANN401 - a `datasets` feature, which is not imported here
    """Return the feature of a list's elements, and any other feature itself.

    `None` stands for a feature of which nothing is known, such as JSON of any shape.
    """
    if isinstance(feature, list):
        return feature[0] if feature else None
    inner = getattr(feature, "feature", None)
    if inner is not None:
        return element_of(inner)
    return None if type(feature).__name__ in {"Json", "NoneType"} else feature
