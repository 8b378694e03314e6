"""The task of a recipe as it is trained on."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.annotations.catalogue import Catalogue
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.recipe import Recipe
    from pipeline.recipe.schema import TaskEntry


def trained_task(catalogue: Catalogue, recipe: Recipe, entry: TaskEntry) -> DatasetAnnotation:
    """Return the annotation of a task, with its functions shown as the recipe says.

    Raises:
        AnnotationError: The task is unknown, or `ANN148`: its functions cannot be varied.
    """
    task = catalogue.get(entry.task)
    if entry.function_library is None and task.task != "function_calling":
        return task
    options = recipe.library_of(entry)
    return task.with_library(options) if options else task
