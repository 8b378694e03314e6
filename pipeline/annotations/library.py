"""Tasks whose functions are shown in another way than their annotation says.

A recipe may vary the library of a task it trains on; the change is written into the task's
expressions, so that rows are made, cached and counted as for any other annotation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from pipeline.annotations.expressions import Expression, Function, Record
from pipeline.annotations.references import functions_in
from pipeline.annotations.views import LIBRARY_FUNCTION, fields_of_view
from pipeline.errors import AnnotationError

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.types import Json


def varied_fields(
    task: DatasetAnnotation, fields: Mapping[str, Expression], options: Mapping[str, Json]
) -> dict[str, Expression]:
    """Return the fields of a task with functions and calls varied.

    Args:
        task: One task, without views of its own.
        fields: Has `functions`, and the calls as `target`; those of the annotation where the
            task is one of its views.
        options: Of the function `library`; others stay as the fields have them.

    Raises:
        AnnotationError: `ANN148`, the functions of this task cannot be varied.
    """
    _check(task, options)
    functions, calls = fields["functions"], fields["target"]
    before: Mapping[str, Json] = {}
    if isinstance(functions, Function) and functions.name == LIBRARY_FUNCTION:
        before = functions.options
        functions = _member(functions, "functions")
    if isinstance(calls, Function) and calls.name == LIBRARY_FUNCTION:
        calls = _member(calls, "calls")
    row = Record({"functions": functions, "calls": calls, "query": fields["query"]})
    merged = {**before, **options}
    varied = {
        **fields,
        "functions": Function(LIBRARY_FUNCTION, row, merged),
        "target": Function(LIBRARY_FUNCTION, row, {**merged, "part": "calls"}),
    }
    return varied if task.view is None else fields_of_view(task.view, varied)


def _member(library: Function, name: str) -> Expression:
    return library.of.members[name] if isinstance(library.of, Record) else library


def _check(task: DatasetAnnotation, options: Mapping[str, Json]) -> None:
    is_of_calls = task.view is not None or task.settings == {"granular": "calls"}
    if task.task != "function_calling" or not is_of_calls:
        raise AnnotationError(
            "ANN148",
            "the library of a task can be varied only where functions and calls are its own",
            where=task.id,
            hint="Leave `function_library` out of this task",
        )
    if options.get("mask", "none") != "none" and "dialogue" in functions_in(task.fields, task.rows):
        raise AnnotationError(
            "ANN148",
            "names cannot be masked in dialogues, which tell them in earlier turns",
            where=task.id,
            hint="Set `mask: none` for this task",
        )
