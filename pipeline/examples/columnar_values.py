"""Expressions and conditions over whole columns.

Constants, paths, templates, joins and the commonest cleaning steps are Arrow operations. Anything
else runs the very function that the way by rows runs, once per distinct value where it reads a
single column. So both ways agree by construction, apart from the Arrow operations, which
`tests/unit/examples/test_columnar.py` compares on random rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations import expressions as ex
from pipeline.annotations.cleaning import compile_steps
from pipeline.annotations.evaluation import compile_condition, compile_expression
from pipeline.annotations.outcomes import as_text
from pipeline.annotations.paths import Every, Scope, Step
from pipeline.annotations.references import column_uses
from pipeline.examples.columnar_steps import matched, vector_steps
from pipeline.examples.frames import Cells, Frame, Mask, list_of_texts, truths
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.types import Json

ColumnFunction = Callable[[Frame], Cells]
"""From a frame of `N` rows to `N` values."""

MaskFunction = Callable[[Frame], Mask]

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Columns:
    """Compiles the expressions of one annotation."""

    tag_names: tuple[str, ...] = ()
    """Names of integer tags, for `spans`."""

    def values(self, node: ex.Expression) -> ColumnFunction:
        """Return `node` as a function of a frame; rows without a usable value are left."""
        if isinstance(node, ex.Const):
            return lambda frame: _constant(node.value, len(frame))
        if isinstance(node, ex.Column):
            return self._column(node)
        if isinstance(node, ex.Listed) and node.items:
            return self._listed(node)
        if isinstance(node, ex.Text):
            return self._text(node)
        if isinstance(node, ex.Join):
            return self._join(node)
        if isinstance(node, ex.Clean):
            return self._clean(node)
        return self._by_rows(node)

    def mask(self, node: ex.Condition) -> MaskFunction:
        """Return `node` as a function that gives the rows `[N]` which meet it."""
        if isinstance(node, ex.AllOf | ex.AnyOf):
            parts = [self.mask(part) for part in node.conditions]
            combine = np.logical_and if isinstance(node, ex.AllOf) else np.logical_or
            return lambda frame: combine.reduce([part(frame) for part in parts])
        if isinstance(node, ex.Not):
            inner = self.mask(node.condition)
            return lambda frame: ~inner(frame)
        test, roots = compile_condition(node, REGISTERED_FUNCTIONS), _roots(node)
        tested = _on_scope(test, roots)
        of = self.values(node.of) if node.comparison == "matches" else None

        def run(frame: Frame) -> Mask:
            found = of(frame) if of is not None else None
            if isinstance(found, pa.Array) and pa.types.is_string(found.type):
                return matched(found, str(node.value), frame)
            met = frame.computed(roots, tested)
            return truths(pa.array(met, type=pa.bool_()) if isinstance(met, list) else met)

        return run

    def _by_rows(self, node: ex.Expression) -> ColumnFunction:
        evaluate = compile_expression(node, REGISTERED_FUNCTIONS, self.tag_names)
        roots = _roots(node)
        run = _on_scope(evaluate, roots)
        return lambda frame: frame.computed(roots, run)

    def _column(self, node: ex.Column) -> ColumnFunction:
        root, steps = node.path.root, node.path.steps
        if not steps:
            return lambda frame: frame.column(root)
        otherwise = self._by_rows(node)

        def run(frame: Frame) -> Cells:
            cells: Cells | None = frame.column(root)
            for step in steps:
                cells = None if cells is None or isinstance(cells, list) else member(cells, step)
            return otherwise(frame) if cells is None else cells

        return run

    def _listed(self, node: ex.Listed) -> ColumnFunction:
        items, otherwise = [self.values(item) for item in node.items], self._by_rows(node)

        def run(frame: Frame) -> Cells:
            columns = [item(frame) for item in items]
            if any(isinstance(c, list) or not pa.types.is_string(c.type) for c in columns):
                return otherwise(frame)
            count, width = len(frame), len(columns)
            order = pa.array(np.arange(count * width).reshape(width, count).T.ravel())
            offsets = pa.array(range(0, count * width + 1, width), type=pa.int32())
            return pa.ListArray.from_arrays(offsets, pa.concat_arrays(columns).take(order))

        return run

    def _text(self, node: ex.Text) -> ColumnFunction:
        parts = [part if isinstance(part, str) else self.values(part) for part in node.parts]

        def run(frame: Frame) -> Cells:
            return _joined(
                [part if isinstance(part, str) else texts(part(frame), frame) for part in parts],
                "",
                frame,
            )

        return run

    def _join(self, node: ex.Join) -> ColumnFunction:
        otherwise = self._by_rows(node)
        if isinstance(node.items, ex.Listed) and node.items.items:
            return self._join_columns(node, node.items)
        if node.strip or not isinstance(node.items, ex.Column):
            return otherwise
        items, sep, skips = self.values(node.items), node.sep, bool(node.skip)

        def run(frame: Frame) -> Cells:
            lists = items(frame)
            if isinstance(lists, list) or not list_of_texts(lists.type) or skips:
                return otherwise(frame)
            joined = pc.binary_join(lists, sep)
            frame.leave(joined.is_null())
            return joined

        return run

    def _join_columns(self, node: ex.Join, listed: ex.Listed) -> ColumnFunction:
        if not set(map(repr, node.skip)) <= {"None", "''"}:
            return self._by_rows(node)
        items = [self.values(item) for item in listed.items]

        def run(frame: Frame) -> Cells:
            columns = [self._joinable(item(frame), node, frame) for item in items]
            if not node.skip:
                return _joined(columns, node.sep, frame)
            # Null stands for what is skipped; where all is skipped nothing is left to join.
            return pc.binary_join_element_wise(*columns, node.sep, null_handling="skip")

        return run

    def _joinable(self, cells: Cells, node: ex.Join, frame: Frame) -> pa.Array:
        """Return texts with null for those that the join skips."""
        column = texts(cells, frame, may_be_null=None in node.skip)
        if "" in node.skip:
            column = pc.if_else(pc.equal(column, ""), pa.scalar(None, pa.string()), column)
        return pc.utf8_trim_whitespace(column) if node.strip else column

    def _clean(self, node: ex.Clean) -> ColumnFunction:
        first, rest = vector_steps(node.steps)
        value = self.values(node.value)
        if not first:
            return self._by_rows(node)
        after = compile_steps(rest) if rest else None

        def run(frame: Frame) -> Cells:
            column = texts(value(frame), frame)
            for step in first:
                column = step(column, frame)
            return column if after is None else frame.by_value(column, after)

        return run


def texts(cells: Cells, frame: Frame, *, may_be_null: bool = False) -> pa.Array:
    """Return each value as text, as a template would write it; rows without one are left."""
    if (
        isinstance(cells, list)
        or pa.types.is_floating(cells.type)
        or pa.types.is_nested(cells.type)
    ):
        made = frame.by_value(cells, _text_or_null if may_be_null else as_text)
        return pa.array(made, type=pa.string()) if isinstance(made, list) else made
    if pa.types.is_boolean(cells.type):
        cells = pc.if_else(cells, "True", "False")
    if not may_be_null and cells.null_count:
        frame.leave(cells.is_null())
    return cells if pa.types.is_string(cells.type) else cells.cast(pa.string())


def member(column: pa.Array, step: Step) -> pa.Array | None:
    """Return one step of a path into a column, or `None` where that is not one Arrow operation."""
    kind = column.type
    if isinstance(step, Every):
        return column if pa.types.is_list(kind) and not column.null_count else None
    if isinstance(step, int):
        is_list = pa.types.is_list(kind) and not pa.types.is_nested(kind.value_type)
        if step < 0 or not is_list or column.null_count:
            return None
        is_long = pc.greater(pc.list_value_length(column), step)
        return pc.list_element(column, step) if pc.all(is_long).as_py() else None
    if pa.types.is_struct(kind):
        return pc.struct_field(column, step) if _has(kind, step) else None
    if not pa.types.is_list(kind) or column.null_count or not pa.types.is_struct(kind.value_type):
        return None
    if not _has(kind.value_type, step):
        return None
    return pa.ListArray.from_arrays(column.offsets, pc.struct_field(column.values, step))


def _has(kind: pa.DataType, name: str) -> bool:
    return bool(kind.get_field_index(name) >= 0)


def _roots(node: ex.Expression | ex.Condition) -> tuple[str, ...]:
    return tuple(dict.fromkeys(use.path.root for use in column_uses(node)))


def _on_scope(run: Callable[[Scope], _Found], roots: tuple[str, ...]) -> Callable[..., _Found]:
    """Return `run` as a function of the values of `roots`."""
    if len(roots) == 1:
        [root] = roots
        return lambda value: run({root: value})
    return lambda *values: run(dict(zip(roots, values, strict=True)))


def _constant(value: Json, count: int) -> Cells:
    if isinstance(value, str | bool):
        return pa.repeat(pa.scalar(value), count)
    return [value] * count


def _joined(columns: list[pa.Array | str], sep: str, frame: Frame) -> pa.Array:
    if all(isinstance(column, str) for column in columns):
        return pa.repeat(pa.scalar(sep.join(columns)), len(frame))
    joined = pc.binary_join_element_wise(*columns, sep)
    frame.leave(joined.is_null())
    return joined


def _text_or_null(value: Json) -> Json:
    return None if value is None else as_text(value)
