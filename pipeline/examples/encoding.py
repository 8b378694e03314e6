"""Examples as Arrow columns, and back.

One column per input, one for the target, one for the row number and, where rows have them, one for
options of their own and one for what rows of one source share. A text is stored as it is. Any
other value is stored as NUL followed by its JSON text, so one string column holds values of every
shape and nothing is unified. Null means absent.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations.task_kinds import CLUSTER
from pipeline.sources.json_lines import MAX_ROW_BYTES
from pipeline.types import Json, Split, TaskExample

ROW = "row"
TARGET = "target"
CHOICES = "choices"
INPUT_PREFIX = "input."
MARK = "\x00"
"""First character of a cell that holds JSON."""


def encode_cell(value: Json) -> str:
    """Return `value` as the text of a cell."""
    if isinstance(value, str) and not value.startswith(MARK):
        return value
    return MARK + json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def decode_cell(cell: str) -> Json:
    """Return the value of a cell."""
    return cast("Json", json.loads(cell[1:])) if cell[:1] == MARK else cell


def example_schema(
    inputs: Sequence[str], *, has_choices: bool, has_cluster: bool = False
) -> pa.Schema:
    """Return the columns of examples with the given inputs, every cell as text."""
    names = [ROW, *(INPUT_PREFIX + name for name in inputs), TARGET, *[CLUSTER] * has_cluster]
    fields = [pa.field(name, pa.string()) for name in names]
    if has_choices:
        fields.append(pa.field(CHOICES, pa.list_(pa.string())))
    return pa.schema(fields)


@dataclass(frozen=True, slots=True)
class DraftExample:
    """An example without its place: what normalising makes of one row."""

    row: str
    """Row of the source, with `.k` for the k-th example made of it where there are several."""
    inputs: Mapping[str, Json]
    target: Json
    choices: Sequence[str] | None = None
    cluster: Json = None


def encode_batch(
    drafts: Sequence[DraftExample], schema: pa.Schema, skipped: Counter[str]
) -> pa.RecordBatch:
    """Return examples as a record batch, without those that cannot be stored.

    Args:
        drafts: The examples.
        schema: From `example_schema`.
        skipped: Counts what is left out: half surrogate pairs, and examples over 1 MiB.
    """
    try:
        batch = _encode(drafts, schema)
    except UnicodeEncodeError:
        usable = [draft for draft in drafts if _is_unicode(draft, schema)]
        skipped["not valid Unicode"] += len(drafts) - len(usable)
        batch = _encode(usable, schema)
    is_small = pc.less_equal(example_bytes(batch), MAX_ROW_BYTES)
    num_large = batch.num_rows - pc.sum(is_small).as_py() if batch.num_rows else 0
    if num_large:
        skipped["row_too_large"] += num_large
        batch = batch.filter(is_small)
    return batch


def example_bytes(batch: pa.RecordBatch) -> pa.Array:
    """Return the bytes of inputs and target of each example in a batch."""
    total = pa.repeat(pa.scalar(0, pa.int64()), batch.num_rows)
    for name in batch.schema.names:
        if name not in {ROW, CHOICES}:
            lengths = pc.fill_null(pc.binary_length(batch.column(name)), 0)
            total = pc.add(total, lengths.cast(pa.int64()))
    return total


def _encode(drafts: Sequence[DraftExample], schema: pa.Schema) -> pa.RecordBatch:
    arrays: list[pa.Array] = []
    for column in schema:
        cells: list[Any]
        if column.name == ROW:
            cells = [draft.row for draft in drafts]
        elif column.name == TARGET:
            cells = [encode_cell(draft.target) for draft in drafts]
        elif column.name == CLUSTER:
            cells = [None if d.cluster is None else encode_cell(d.cluster) for d in drafts]
        elif column.name == CHOICES:
            cells = [draft.choices for draft in drafts]
        else:
            name = column.name.removeprefix(INPUT_PREFIX)
            cells = [
                encode_cell(draft.inputs[name]) if name in draft.inputs else None
                for draft in drafts
            ]
        arrays.append(pa.array(cells, type=column.type))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _is_unicode(draft: DraftExample, schema: pa.Schema) -> bool:
    try:
        _encode([draft], schema)
    except UnicodeEncodeError:
        return False
    return True


def decode_batch(
    batch: pa.RecordBatch, *, task: str, split: Split, labels: tuple[str, ...] | None
) -> Iterator[TaskExample]:
    """Yield the examples that a record batch holds.

    Args:
        batch: Columns of `example_schema`.
        task: Id of the task.
        split: Split of the task.
        labels: Answers that are open to every row, used where a row brings no choices.
    """
    cells = {name: batch.column(name).to_pylist() for name in batch.schema.names}
    rows, targets = cells.pop(ROW), cells.pop(TARGET)
    options = cells.pop(CHOICES, None) or itertools.repeat(None)
    clusters = cells.pop(CLUSTER, None) or itertools.repeat(None)
    names = [name.removeprefix(INPUT_PREFIX) for name in cells]
    inputs = zip(*cells.values(), strict=True)
    for row, values, target, own, cluster in zip(
        rows, inputs, targets, options, clusters, strict=False
    ):
        yield TaskExample(
            key=f"{task}/{split}/{row}",
            task=task,
            split=split,
            inputs={
                name: decode_cell(cell)
                for name, cell in zip(names, values, strict=True)
                if cell is not None
            },
            target=decode_cell(target),
            choices=labels if own is None else tuple(own),
            cluster=cluster,
        )
