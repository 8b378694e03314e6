"""Tasks that only map columns and labels, as Arrow columns without a Python object per row.

A batch in which a row is not plain (a null, a blank, a label that is not listed, a very long
text) is refused and then normalised row by row, which also gives the reasons. Both ways give the
same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations.expressions import Column, Expression, Listed
from pipeline.annotations.labels import LabelTable
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import AnnotationError
from pipeline.examples.encoding import (
    CHOICES,
    INPUT_PREFIX,
    ROW,
    TARGET,
    encode_cell,
    example_bytes,
)
from pipeline.sources.json_lines import MAX_ROW_BYTES


class NotPlain(Exception):
    """A batch that must be normalised row by row."""


@dataclass(frozen=True, slots=True)
class ColumnarPlan:
    """How the columns of a source become the columns of examples."""

    inputs: Mapping[str, str]
    """Input name to column."""
    optional: frozenset[str]
    """Inputs that may be null."""
    target: str
    table: LabelTable | None
    """Label names, for a target that is a label."""
    choices: tuple[str, ...] = ()
    """Column of option lists, or one column per option."""
    is_choice_list: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(dict.fromkeys([*self.inputs.values(), self.target, *self.choices]))

    def encode(
        self, numbers: Sequence[int], batch: pa.RecordBatch, schema: pa.Schema
    ) -> pa.RecordBatch | None:
        """Return the examples of a batch, or `None` if it must be normalised row by row.

        Args:
            numbers: Row numbers.
            batch: The columns of `columns`.
            schema: Columns of examples.
        """
        try:
            cells = {ROW: pa.array(numbers, type=pa.int64()).cast(pa.string())}
            for name, column in self.inputs.items():
                cells[INPUT_PREFIX + name] = _text(batch, column, may_be_null=name in self.optional)
            options = self._options(batch) if self.choices else None
            if options is not None:
                cells[CHOICES] = options
            cells[TARGET] = self._target(batch, options)
        except (NotPlain, pa.ArrowException):
            return None
        made = pa.RecordBatch.from_arrays([cells[name] for name in schema.names], schema=schema)
        return None if _any(pc.greater(example_bytes(made), MAX_ROW_BYTES)) else made

    def _target(self, batch: pa.RecordBatch, options: pa.Array | None) -> pa.Array:
        if options is not None:
            return _index(_column(batch, self.target), options)
        if self.table is not None:
            return _labels(_column(batch, self.target), self.table)
        return _text(batch, self.target)

    def _options(self, batch: pa.RecordBatch) -> pa.Array:
        if self.is_choice_list:
            return _option_lists(_column(batch, self.choices[0]))
        columns = [_option(batch, name) for name in self.choices]
        count, width = batch.num_rows, len(columns)
        order = pa.array([row + count * i for row in range(count) for i in range(width)])
        offsets = pa.array(range(0, count * width + 1, width), type=pa.int32())
        return pa.ListArray.from_arrays(offsets, pa.concat_arrays(columns).take(order))


def columnar_plan(
    annotation: DatasetAnnotation, class_names: Sequence[str] | None
) -> ColumnarPlan | None:
    """Return how to normalise a task by columns, or `None` if it needs more than that.

    Args:
        annotation: The task.
        class_names: Class names recorded with the data.
    """
    rules, fields = annotation.rules, annotation.fields
    target = _plain_column(fields["target"])
    names = [name for name in fields if name not in {"target", "choices"}]
    columns = {name: _plain_column(fields[name]) for name in names}
    inputs = {name: column for name, column in columns.items() if column is not None}
    if annotation.rows or target is None or len(inputs) < len(columns):
        return None
    optional = frozenset(name for name in names if name in rules.optional_inputs)
    table = annotation.label_table(class_names)
    if rules.target == "label" and table is not None:
        return ColumnarPlan(inputs, optional, target, table)
    if rules.target == "text" and annotation.task == "text":
        return ColumnarPlan(inputs, optional, target, None)
    settings = annotation.full_settings()
    if rules.target == "index" and settings.get("choice_order") == "source":
        choices = _choice_columns(fields["choices"])
        if choices and "max_choices" not in settings:
            is_list = isinstance(fields["choices"], Column)
            return ColumnarPlan(inputs, optional, target, None, choices, is_list)
    return None


def _plain_column(expression: Expression) -> str | None:
    if isinstance(expression, Column) and not expression.path.steps:
        root = expression.path.root
        return None if root.startswith("$") else root
    return None


def _choice_columns(expression: Expression) -> tuple[str, ...]:
    items = expression.items if isinstance(expression, Listed) else (expression,)
    columns = tuple(_plain_column(item) for item in items)
    return tuple(column for column in columns if column) if all(columns) else ()


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    column = batch.column(batch.schema.names.index(name)) if name in batch.schema.names else None
    if column is None:
        raise NotPlain
    if pa.types.is_large_string(column.type) or pa.types.is_dictionary(column.type):
        return column.cast(pa.string())
    return column


def _text(batch: pa.RecordBatch, name: str, *, may_be_null: bool = False) -> pa.Array:
    """Return a column of non-blank texts."""
    column = _option(batch, name, may_be_null=may_be_null)
    blank = pc.equal(pc.binary_length(pc.utf8_trim_whitespace(column)), 0)
    if not may_be_null and _any(blank):
        raise NotPlain
    return column


def _option(batch: pa.RecordBatch, name: str, *, may_be_null: bool = False) -> pa.Array:
    column = _column(batch, name)
    if not pa.types.is_string(column.type) or (column.null_count and not may_be_null):
        raise NotPlain
    if _any(pc.starts_with(column, "\x00")):
        raise NotPlain
    return column


def _option_lists(column: pa.Array) -> pa.Array:
    is_texts = pa.types.is_list(column.type) and pa.types.is_string(column.type.value_type)
    if not is_texts or column.null_count or column.flatten().null_count:
        raise NotPlain
    return column.cast(pa.list_(pa.string()))


def _index(column: pa.Array, options: pa.Array) -> pa.Array:
    if not pa.types.is_integer(column.type) or column.null_count:
        raise NotPlain
    column = column.cast(pa.int64())
    is_inside = pc.and_(
        pc.greater_equal(column, 0), pc.less(column, pc.list_value_length(options).cast(pa.int64()))
    )
    if not pc.all(is_inside).as_py():
        raise NotPlain
    return pc.binary_join_element_wise(encode_cell(0)[:1], column.cast(pa.string()), "")


def _labels(column: pa.Array, table: LabelTable) -> pa.Array:
    kind = column.type
    is_known = pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_boolean(kind)
    if not is_known or column.null_count:
        raise NotPlain
    coded = column.dictionary_encode()
    try:
        names = [table.name_of(value) for value in coded.dictionary.to_pylist()]
    except (RowSkipped, AnnotationError) as error:
        raise NotPlain from error
    return pa.array(names, type=pa.string()).take(coded.indices)


def _any(mask: pa.Array) -> bool:
    return bool(pc.any(mask).as_py())
