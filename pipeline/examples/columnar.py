"""Tasks without row operations that compare rows, as Arrow columns instead of Python rows.

Rows that are not plain (a null, a blank, a label that is not listed, a very long text) are left,
normalised by rows, which also gives the reasons, and put back into their places. Both ways give
the same examples.
"""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations.columns import paths_used
from pipeline.annotations.field_values import sequence_rules, target_function
from pipeline.annotations.input_shapes import InputShape, input_shapes
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.references import evaluation_order
from pipeline.annotations.row_operations import Let, Operation, Where
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.annotations.sequences import SequenceRules
from pipeline.annotations.task_kinds import CLUSTER, NO_INPUTS
from pipeline.errors import AnnotationError
from pipeline.examples.columnar_values import ColumnFunction, Columns, MaskFunction, texts
from pipeline.examples.encoding import (
    CHOICES,
    INPUT_PREFIX,
    MARK,
    ROW,
    TARGET,
    encode_cell,
    example_bytes,
)
from pipeline.examples.frames import (
    Cells,
    Frame,
    Mask,
    NotPlain,
    as_list,
    list_of_texts,
    truths,
)
from pipeline.examples.usable import MAY_BE_EMPTY, is_empty
from pipeline.sources.json_lines import MAX_ROW_BYTES
from pipeline.types import Json

Numbers = np.ndarray[tuple[int], np.dtype[np.int64]]

_Target = Callable[[Frame], tuple[pa.Array, pa.Array | None]]
"""From a frame with its fields to the encoded targets, and the choices where rows bring them."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What a batch becomes without looking at a row."""

    examples: pa.RecordBatch
    """Of the plain rows, in order."""
    numbers: Numbers
    """Their row numbers."""
    left: Numbers
    """Numbers of the rows that must be normalised by rows."""
    skipped: Counter[str]
    """Plain rows that gave no example, by reason."""


@dataclass(frozen=True, slots=True)
class ColumnarPlan:
    """How the columns of a source become the columns of examples."""

    columns: tuple[str, ...]
    """Columns of the source that are read."""
    operations: tuple[tuple[str, ColumnFunction | MaskFunction], ...]
    """Row operations: the name a value is bound to, or where the reason to leave rows out begins
    with `rows[`, a condition."""
    fields: tuple[tuple[str, ColumnFunction], ...]
    """In an order in which each comes after those it reads."""
    inputs: tuple[str, ...]
    nullable: frozenset[str]
    """Inputs that may be null."""
    emptiable: frozenset[str]
    """Inputs that may be empty."""
    sequences: dict[str, SequenceRules]
    """Inputs that are DNA."""
    shapes: dict[str, InputShape]
    """Inputs that the kind reads as more than text."""
    needs_any: bool
    """Whether at least one input must not be empty."""
    target: _Target
    blank_target: bool
    """Whether a target may be blank."""

    def encode(
        self, numbers: Sequence[int], batch: pa.RecordBatch, schema: pa.Schema
    ) -> Encoded | None:
        """Return the examples of a batch, or `None` if all of it must be normalised by rows.

        Args:
            numbers: Row numbers.
            batch: The columns of `columns`.
            schema: Columns of examples.
        """
        skipped: Counter[str] = Counter()
        left: list[Numbers] = []
        try:
            frame = self._operated(Frame.of(numbers, batch), left, skipped)
            made = self._examples(frame, schema)
        except (NotPlain, pa.ArrowException, UnicodeEncodeError):
            return None
        frame.leave(pc.greater(example_bytes(made), MAX_ROW_BYTES))
        left.append(frame.numbers[frame.left])
        if frame.left.any():
            made = made.filter(pa.array(~frame.left))
        every = np.sort(np.concatenate(left))
        return Encoded(made, frame.numbers[~frame.left], every, skipped)

    def _operated(self, frame: Frame, left: list[Numbers], skipped: Counter[str]) -> Frame:
        """Return the rows that conditions keep; rows that are not plain go to `left`."""
        for name, compute in self.operations:
            found = compute(frame)
            if not isinstance(found, np.ndarray):
                frame.columns[name] = found
                continue
            left.append(frame.numbers[frame.left])
            dropped = int((~found & ~frame.left).sum())
            if dropped:
                skipped[name] += dropped
            frame = frame.filtered(found & ~frame.left)
        return frame

    def _examples(self, frame: Frame, schema: pa.Schema) -> pa.RecordBatch:
        for name, compute in self.fields:
            frame.columns[f"${name}"] = compute(frame)
        cells = {ROW: pa.array(frame.numbers).cast(pa.string())}
        for name in self.inputs:
            cells[INPUT_PREFIX + name] = self._input(name, frame)
        if self.needs_any and self.inputs:
            self._leave_empty(frame)
        cells[TARGET], choices = self.target(frame)
        if choices is not None:
            cells[CHOICES] = choices
        if CLUSTER in schema.names:
            cells[CLUSTER] = encoded(frame.column(f"${CLUSTER}"), frame)
        if not self.blank_target:
            frame.leave(_blank(cells[TARGET]))
        return pa.RecordBatch.from_arrays([cells[name] for name in schema.names], schema=schema)

    def _input(self, name: str, frame: Frame) -> pa.Array:
        column = frame.column(f"${name}")
        cells = encoded(column, frame)
        if name not in self.nullable and cells.null_count:
            frame.leave(cells.is_null())
        if name not in self.emptiable:
            frame.leave(_empties(column))
        if name in self.sequences:
            frame.leave(_not_plain_bases(cells, self.sequences[name]))
        if name in self.shapes:
            frame.leave(_misshaped(column, self.shapes[name]))
        return cells

    def _leave_empty(self, frame: Frame) -> None:
        """Leave rows whose inputs are all empty; one filled input is enough to keep a row."""
        empty = [_empties(frame.column(f"${name}")) for name in self.inputs]
        frame.leave(np.logical_and.reduce(empty))


def columnar_plan(
    annotation: DatasetAnnotation, class_names: Sequence[str] | None
) -> ColumnarPlan | None:
    """Return how to normalise a task by columns, or `None` if rows must be compared or multiplied.

    Args:
        annotation: The task.
        class_names: Class names recorded with the data.

    Raises:
        AnnotationError: A field cannot be computed.
    """
    if not all(isinstance(operation, Let | Where) for operation in annotation.rows):
        return None
    table = annotation.label_table(class_names)
    columns = Columns(table.names if table else ())
    operations = itertools.chain.from_iterable(
        _operation(columns, operation, position)
        for position, operation in enumerate(annotation.rows)
    )
    rules = annotation.rules
    inputs = tuple(name for name in annotation.fields if name not in NO_INPUTS)
    required = frozenset(rules.required_inputs) - MAY_BE_EMPTY
    order = evaluation_order(annotation.fields)
    return ColumnarPlan(
        columns=tuple(sorted({use.path.root for use in paths_used(annotation)})),
        operations=tuple(operations),
        fields=tuple((name, columns.values(annotation.fields[name])) for name in order),
        inputs=inputs,
        nullable=frozenset(name for name in inputs if name in rules.optional_inputs),
        emptiable=frozenset(inputs) - required,
        sequences=sequence_rules(annotation),
        shapes=input_shapes(annotation.task),
        needs_any=rules.any_inputs,
        target=_target(annotation, class_names),
        blank_target=rules.target != "text",
    )


def encoded(cells: Cells, frame: Frame) -> pa.Array:
    """Return a column as it is stored; a null stays null."""
    if isinstance(cells, pa.Array) and pa.types.is_string(cells.type):
        frame.leave(pc.fill_null(pc.starts_with(cells, MARK), fill_value=False))
        return cells
    if isinstance(cells, pa.Array) and pa.types.is_integer(cells.type):
        return pc.binary_join_element_wise(MARK, cells.cast(pa.string()), "")
    values = [None if value is None else encode_cell(value) for value in as_list(cells)]
    return pa.array(values, type=pa.string())


def _operation(
    columns: Columns, operation: Operation, position: int
) -> list[tuple[str, ColumnFunction | MaskFunction]]:
    if isinstance(operation, Where):
        return [(f"rows[{position}]: where", columns.mask(operation.condition))]
    if isinstance(operation, Let):
        return [(name, columns.values(value)) for name, value in operation.names.items()]
    raise TypeError(f"{type(operation).__name__} needs rows")


def _not_plain_bases(column: pa.Array, rules: SequenceRules) -> pa.Array:
    """Return which sequences must be cleaned or cut, or refused."""
    is_plain = pc.match_substring_regex(column, rules.plain_pattern)
    if rules.max_bases is not None:
        is_plain = pc.and_(is_plain, pc.less_equal(pc.binary_length(column), rules.max_bases))
    return pc.invert(pc.fill_null(is_plain, fill_value=False))


def _misshaped(cells: Cells, shaped: InputShape) -> Mask:
    """Return which values are not yet in the shape of their kind."""

    def is_misshaped(value: Json) -> bool:
        try:
            return shaped(value) != value
        except (RowSkipped, AnnotationError):
            return True

    return np.fromiter(map(is_misshaped, as_list(cells)), dtype=np.bool_, count=len(cells))


def _blank(column: pa.Array) -> pa.Array:
    trimmed = pc.binary_length(pc.utf8_trim_whitespace(column))
    return pc.fill_null(pc.equal(trimmed, 0), fill_value=True)


def _empties(cells: Cells) -> Mask:
    if isinstance(cells, pa.Array) and pa.types.is_string(cells.type):
        return truths(_blank(cells))
    if isinstance(cells, pa.Array) and not pa.types.is_nested(cells.type):
        return truths(cells.is_null())
    return np.fromiter(map(is_empty, as_list(cells)), dtype=np.bool_, count=len(cells))


def _target(annotation: DatasetAnnotation, class_names: Sequence[str] | None) -> _Target:
    """Return the function that brings target and choices into the shape of the kind."""
    rules, settings = annotation.rules, annotation.full_settings()
    table = annotation.label_table(class_names)
    if rules.target == "label" and table is not None:
        name_of = table.name_of
        return lambda frame: (
            encoded(frame.by_value(frame.column("$target"), name_of), frame),
            None,
        )
    if rules.target == "text":
        return lambda frame: (encoded(texts(frame.column("$target"), frame), frame), None)
    by_rows = _target_by_rows(annotation, class_names)
    in_order = settings.get("choice_order") == "source" and "max_choices" not in settings
    if rules.target != "index" or not in_order:
        return by_rows
    return functools.partial(_indices, by_rows)


def _target_by_rows(annotation: DatasetAnnotation, class_names: Sequence[str] | None) -> _Target:
    finish = target_function(annotation, class_names)
    names = [f"${name}" for name in ("target", "choices", "tokens") if name in annotation.fields]
    has_choices = annotation.rules.has_choices

    def run(frame: Frame) -> tuple[pa.Array, pa.Array | None]:
        def one(*values: Json) -> Json:
            target, choices = finish(dict(zip(names, values, strict=True)))
            cell = encode_cell(target)
            return [cell, cast("Json", choices)] if has_choices else cell

        if not has_choices:
            cells = frame.computed(names, one)
            return (pa.array(cells, pa.string()) if isinstance(cells, list) else cells), None
        pairs: Any = as_list(frame.computed(names, one))
        targets = [pair[0] if pair else None for pair in pairs]
        choices = [pair[1] if pair else None for pair in pairs]
        return pa.array(targets, pa.string()), pa.array(choices, pa.list_(pa.string()))

    return run


def _indices(otherwise: _Target, frame: Frame) -> tuple[pa.Array, pa.Array | None]:
    """Return positions among options that keep the order of the source."""
    target, options = frame.column("$target"), frame.column("$choices")
    if isinstance(target, list) or isinstance(options, list):
        return otherwise(frame)
    is_plain = pa.types.is_integer(target.type) and list_of_texts(options.type)
    if not is_plain or options.null_count or options.flatten().null_count:
        return otherwise(frame)
    lengths = pc.list_value_length(options).cast(pa.int64())
    is_inside = pc.and_(
        pc.and_(pc.greater_equal(target, 0), pc.less(target, lengths)), pc.greater(lengths, 1)
    )
    frame.leave(pc.fill_null(pc.invert(is_inside), fill_value=True))
    cells = pc.fill_null(encoded(target, frame), "")
    return cells, options.cast(pa.list_(pa.string()))
