"""From the rows of a source to the examples of a task, one row at a time."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

import pyarrow as pa

from pipeline.annotations.columns import check_columns, paths_used
from pipeline.annotations.field_values import FieldValues, compile_fields
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.paths import Scope, parse_path
from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.row_operations import Holdout, SplitBy, Unique
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import raise_all
from pipeline.examples.columnar import ColumnarPlan, columnar_plan
from pipeline.examples.encoding import DraftExample, encode_batch, example_schema
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.sources.rows import RowTable
from pipeline.types import SPLITS, Json, Split

BATCH_ROWS = 1000
"""Rows normalised at a time where they are read one by one."""

SideFile = Callable[[str], Sequence[dict[str, Json]]]

_MAY_BE_EMPTY = frozenset({"functions", "records", "results", "calls"})
"""Inputs for which "none" is a meaning: a request without tools, for instance."""


@dataclass(slots=True)
class RowCounts:
    """What became of the rows of a split."""

    num_rows: int = 0
    """Source rows, those left out included."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Rows that gave no example, by reason."""


def splits_made(annotation: DatasetAnnotation) -> tuple[Split, ...]:
    """Return the splits that the examples of a task have, made by `split_by` or by the source."""
    made = set(annotation.splits.present())
    for operation in annotation.rows:
        if isinstance(operation, SplitBy):
            made |= {"validation"} if operation.validation else set()
            made |= {"test"} if operation.test else set()
    return tuple(split for split in SPLITS if split in made)


def splits_read(annotation: DatasetAnnotation, split: Split) -> tuple[Split, ...]:
    """Return the splits whose rows must be read to make `split`."""
    across = any(isinstance(op, Unique | Holdout | SplitBy) for op in annotation.rows)
    present = annotation.splits.present()
    return present if across else tuple(name for name in present if name == split)


def recorded_class_names(
    annotation: DatasetAnnotation, tables: Iterable[RowTable]
) -> tuple[str, ...] | None:
    """Return the class names that the data record for the target, if they do."""
    path = annotation.label_path()
    if path is None:
        return None
    root = parse_path(path).root
    for table in tables:
        if root in table.class_names:
            return table.class_names[root]
    return None


def example_batches(
    annotation: DatasetAnnotation,
    split: Split,
    tables: Mapping[Split, RowTable],
    *,
    side_file: SideFile,
    counts: RowCounts,
) -> Iterator[pa.RecordBatch]:
    """Yield the examples of one split as record batches, before any cap, in source order.

    Args:
        annotation: The task.
        split: Its split.
        tables: Rows of every split in `splits_read`.
        side_file: Reads the files that `lookup` names.
        counts: Filled while batches are taken; complete at the end.

    Raises:
        AnnotationError: A path leads to nothing, or a value is not provided for.
        SourceError: A row cannot be read.
    """
    for name, table in tables.items():
        columns = table.features or table.column_names
        raise_all(check_columns(annotation, columns, split=name))
    names = recorded_class_names(annotation, tables.values())
    maker = ExampleMaker(annotation, names, counts)
    plan = columnar_plan(annotation, names)
    if plan is not None and split in tables:
        yield from _by_column(maker, plan, tables[split])
    else:
        yield from _by_row(maker, split, tables, side_file)


def examples_schema(annotation: DatasetAnnotation) -> pa.Schema:
    """Return the Arrow columns of a task's examples."""
    inputs = [name for name in annotation.fields if name not in {"target", "choices"}]
    return example_schema(inputs, has_choices=annotation.rules.has_choices)


class ExampleMaker:
    """Makes examples of rows and counts those that give none."""

    def __init__(
        self, annotation: DatasetAnnotation, class_names: Sequence[str] | None, counts: RowCounts
    ) -> None:
        """Compile the fields of `annotation`.

        Raises:
            AnnotationError: They cannot be compiled.
        """
        self.annotation = annotation
        self.counts = counts
        self.schema = examples_schema(annotation)
        self._compute = compile_fields(annotation, REGISTERED_FUNCTIONS, class_names=class_names)

    def batch(self, rows: Iterable[tuple[int | str, Scope]]) -> pa.RecordBatch:
        """Return the examples of some rows, fewer where rows give none."""
        drafts: list[DraftExample] = []
        for row, scope in rows:
            try:
                drafts.append(self._draft(str(row), scope))
            except RowSkipped as skipped:
                self.counts.skipped[skipped.reason] += 1
        return encode_batch(drafts, self.schema, self.counts.skipped)

    def _draft(self, row: str, scope: Scope) -> DraftExample:
        values = self._compute(scope, row)
        reason = unusable(self.annotation, values)
        if reason is not None:
            raise RowSkipped(reason)
        return DraftExample(
            row=row,
            inputs=cast("dict[str, Json]", values["inputs"]),
            target=values["target"],
            choices=cast("list[str] | None", values["choices"]),
        )


def _by_column(
    maker: ExampleMaker, plan: ColumnarPlan, table: RowTable
) -> Iterator[pa.RecordBatch]:
    for batch in table.batches(plan.columns):
        columns = batch.columns()
        made = plan.encode(batch.numbers, columns, maker.schema) if columns is not None else None
        yield maker.batch(batch.rows()) if made is None else made
        maker.counts.num_rows += len(batch.numbers)
    maker.counts.skipped.update(table.skipped)


def _by_row(
    maker: ExampleMaker, split: Split, tables: Mapping[Split, RowTable], side_file: SideFile
) -> Iterator[pa.RecordBatch]:
    annotation, counts = maker.annotation, maker.counts
    pipeline = RowPipeline(annotation, functions=REGISTERED_FUNCTIONS, side_file=side_file)
    needed = sorted({use.path.root for use in paths_used(annotation)})
    num_read: dict[Split, int] = {}

    def open_split(of: Split) -> Iterator[tuple[int, Scope]]:
        num_read[of] = 0
        for number, row in tables[of].numbered(needed) if of in tables else ():
            num_read[of] += 1
            yield number, row

    rows = pipeline.run(split, open_split)
    while group := list(itertools.islice(rows, BATCH_ROWS)):
        yield maker.batch(group)
    is_resplit = any(isinstance(operation, SplitBy) for operation in annotation.rows)
    for name, table in tables.items():
        if name == split or is_resplit:
            counts.num_rows += num_read.get(name, 0) + table.skipped.total()
            counts.skipped.update(table.skipped)
    counts.skipped.update(pipeline.skipped)


def unusable(annotation: DatasetAnnotation, values: FieldValues) -> str | None:
    """Return why an example would teach nothing, or `None`."""
    rules = annotation.rules
    inputs = cast("dict[str, Json]", values["inputs"])
    if rules.any_inputs and inputs and all(map(_is_empty, inputs.values())):
        return "fields: empty"
    for name in rules.required_inputs:
        if name not in _MAY_BE_EMPTY and _is_empty(inputs.get(name)):
            return f"fields.{name}: empty"
    if rules.target == "text" and _is_empty(values["target"]):
        return "fields.target: empty"
    return None


def _is_empty(value: Json) -> bool:
    return not value.strip() if isinstance(value, str) else value in (None, [], {})
