"""Checks of annotations that need no data: the schema, the ids, and the golden rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pipeline.annotations.catalogue import annotation_files, family_of
from pipeline.annotations.columns import check_columns
from pipeline.annotations.data_labels import compile_label_values, label_order
from pipeline.annotations.evaluation import Functions
from pipeline.annotations.expressions import FUNCTION_NAMES
from pipeline.annotations.field_values import FieldValues, compile_fields
from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.parts import Golden
from pipeline.annotations.references import functions_in
from pipeline.annotations.row_evaluation import RowPipeline
from pipeline.annotations.row_operations import Lookup
from pipeline.annotations.schema import DatasetAnnotation, load_annotation
from pipeline.errors import AnnotationError, PipelineError, PipelineErrors
from pipeline.types import Json


class GoldenExamples(list[FieldValues]):
    """The values of a golden row's examples, and why some were left out."""

    def __init__(self) -> None:
        """Start without examples."""
        super().__init__()
        self.skipped: Counter[str] = Counter()


GoldenFunction = Callable[[DatasetAnnotation, Golden], GoldenExamples]
"""Turns a golden row into the values of its examples."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What a check of annotation files found."""

    errors: list[PipelineError]
    """Every mistake, in the order of the files; empty when all is well."""
    annotations: list[DatasetAnnotation]
    """Those that could be loaded, one per file."""


def check_files(
    paths: Sequence[Path], *, functions: Functions | None = None
) -> list[PipelineError]:
    """Return every mistake in annotation files, see `check_annotations`."""
    return check_annotations(paths, functions=functions).errors


def check_annotations(paths: Sequence[Path], *, functions: Functions | None = None) -> Checked:
    """Check annotation files, and folders of them.

    Args:
        paths: YAML files or folders.
        functions: Implementations of the functions that `function:` may name; golden rows of
            annotations that use others are not run.
    """
    errors: list[PipelineError] = []
    annotations: list[DatasetAnnotation] = []
    owners: dict[str, Path] = {}
    for path, family in _files(paths, errors):
        try:
            annotation = load_annotation(path, family=family)
        except PipelineErrors as several:
            errors.extend(several.errors)
            continue
        except PipelineError as error:
            errors.append(error)
            continue
        annotations.append(annotation)
        errors.extend(_repeated_ids(annotation, path, owners))
        broken = _compile_errors(annotation)
        errors.extend(broken or _checked_golden(annotation, functions or {}))
    return Checked(errors, annotations)


def _files(paths: Sequence[Path], errors: list[PipelineError]) -> Iterator[tuple[Path, str]]:
    for path in paths:
        if path.is_dir():
            for file in annotation_files(path):
                yield file, family_of(file, path)
        elif path.exists():
            yield path, path.resolve().parent.name
        else:
            errors.append(AnnotationError("ANN161", "there is no such file or folder", where=path))


def _repeated_ids(
    annotation: DatasetAnnotation, path: Path, owners: dict[str, Path]
) -> Iterator[PipelineError]:
    for task in annotation.expanded():
        first = owners.setdefault(task.id, path)
        if first.resolve() != path.resolve():
            message = f"id: the id {task.id!r} is already used by {first}"
            where = annotation.mark(("id",))
            yield AnnotationError("ANN162", message, where=where, hint="Choose another id")


def _compile_errors(annotation: DatasetAnnotation) -> list[PipelineError]:
    """Return what stops expressions from being compiled, e.g. a bad regular expression."""
    stand_ins: Functions = dict.fromkeys(FUNCTION_NAMES, lambda value, **options: value)
    key_columns = {op.key: "x" for op in annotation.rows if isinstance(op, Lookup)}
    side_rows: list[dict[str, Json]] = [dict(key_columns)]
    errors: list[PipelineError] = []
    for task in annotation.expanded()[:1]:
        try:
            RowPipeline(task, functions=stand_ins, side_file=lambda name: side_rows)
            compile_fields(task, stand_ins, class_names=["a", "b"])
        except PipelineError as error:
            errors.append(error)
    return errors


def functions_used(annotation: DatasetAnnotation) -> tuple[str, ...]:
    """Return the names of the functions that an annotation uses, in the order of first use."""
    tasks = annotation.expanded() if annotation.views else (annotation,)
    names = (name for task in tasks for name in functions_in(task.fields, task.rows))
    return tuple(dict.fromkeys(names))


def _checked_golden(annotation: DatasetAnnotation, functions: Functions) -> list[PipelineError]:
    if any(name not in functions for name in functions_used(annotation)):
        return []
    return check_golden(annotation, lambda task, golden: golden_values(task, golden, functions))


def golden_values(
    annotation: DatasetAnnotation, golden: Golden, functions: Functions | None = None
) -> GoldenExamples:
    """Run one golden row through the row operations and fields of an annotation.

    Raises:
        AnnotationError: The row holds something that the annotation does not know.
    """
    task = annotation.expanded()[0]
    pipeline = RowPipeline(task, functions=functions, side_file=lambda name: golden.files[name])
    made = pipeline.run("train", lambda split: [(0, golden.row)] if split == "train" else [])
    rows = list(made)
    names = None if task.listed_labels is not None else _expected_labels(task)
    if task.has_labels_from_data:
        values_of = compile_label_values(task, functions)
        names = label_order([*(names or ()), *(v for _, row in rows for v in values_of(row))])
    evaluate = compile_fields(task, functions, class_names=names)
    found = GoldenExamples()
    found.skipped.update(pipeline.skipped)
    for name, row in rows:
        try:
            found.append(evaluate(row, name))
        except RowSkipped as reason:
            found.skipped[reason.reason] += 1
    return found


def _expected_labels(annotation: DatasetAnnotation) -> tuple[str, ...] | None:
    """Return the labels that golden rows expect, for an annotation that lists none."""
    found: dict[str, None] = {}
    for golden in annotation.golden:
        for example in golden.expected():
            target = example.get("target")
            for item in target if isinstance(target, list) else [target]:
                if isinstance(item, str):
                    found[item] = None
    return tuple(sorted(found)) or None


def check_golden(
    annotation: DatasetAnnotation, evaluate_row: GoldenFunction
) -> list[PipelineError]:
    """Compare what golden rows become with what the annotation expects.

    Args:
        annotation: The annotation.
        evaluate_row: Turns a golden row into examples, e.g. `golden_values`.

    Returns:
        One error per row that differs or cannot be run.
    """
    errors: list[PipelineError] = []
    for case in _cases(annotation):
        position, expected, which = case.position, case.expected, case.which
        loc = ("golden", position)
        try:
            found = evaluate_row(case.task, case.golden)
        except KeyError as error:
            message = f"golden[{position}]: the side file {error.args[0]!r} is not under `files`"
            errors.append(AnnotationError("ANN170", message, where=annotation.mark(loc)))
            continue
        except PipelineError as error:
            message = f"golden[{position}]: {which}{error.message}"
            errors.append(
                AnnotationError(error.code, message, where=annotation.mark(loc), hint=error.hint)
            )
            continue
        if len(found) < len(expected) and (missing := _missing_columns(case)):
            errors.extend(missing)
            continue
        difference = _difference(expected, found)
        if difference:
            message = f"golden[{position}]: {which}{difference}"
            errors.append(AnnotationError("ANN171", message, where=annotation.mark(loc)))
    return errors


@dataclass(frozen=True, slots=True)
class _Case:
    """A golden row, and what it must become in one view."""

    position: int
    golden: Golden
    task: DatasetAnnotation
    expected: list[dict[str, Json]]
    which: str = ""


def _cases(annotation: DatasetAnnotation) -> Iterator[_Case]:
    tasks = annotation.expanded()
    by_view = {task.view: task for task in reversed(tasks)}
    # A golden row may hold `{config}`, which only the tasks have filled in.
    for position, golden in enumerate(tasks[0].golden):
        yield _Case(position, golden, annotation, golden.expected())
        # A view that is already expanded is checked for itself only.
        for view in golden.views if annotation.views else ():
            expected = golden.expected_in(view)
            yield _Case(position, golden, by_view[view], expected, f"view {view!r}: ")


def _missing_columns(case: _Case) -> list[AnnotationError]:
    """Return what the annotation reads and a golden row lacks, which would explain a skipped row.

    A row may lack columns that are null now and then, so this is no mistake of its own.
    """
    task = case.task.expanded()[0]
    return check_columns(task, case.golden.row, split=f"golden[{case.position}]")


def _difference(expected: list[dict[str, Json]], found: GoldenExamples) -> str | None:
    if len(expected) != len(found):
        text = f"the row gives {len(found)} examples, {len(expected)} are expected"
        reasons = f"; left out: {', '.join(found.skipped)}" if found.skipped else ""
        return text + reasons
    for position, (wanted, got) in enumerate(zip(expected, found, strict=True)):
        which = f"example {position}: " if len(expected) > 1 else ""
        for key, value in wanted.items():
            if key not in got:
                return f"{which}an example has inputs, target and choices, not {key!r}"
            if not _same(got[key], value):
                return f"{which}{key} is {_text(got[key])}, {_text(value)} is expected"
            in_order = list(cast("dict[str, Json]", value)) if key == "inputs" else None
            if in_order is not None and list(cast("dict[str, Json]", got[key])) != in_order:
                return f"{which}the inputs are in another order: {_text(got[key])}"
    return None


def _same(left: Json, right: Json) -> bool:
    """Return whether two values are equal, with 1, 1.0 and true told apart."""
    return left == right and json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def _text(value: Json) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 300 else f"{text[:297]}..."
