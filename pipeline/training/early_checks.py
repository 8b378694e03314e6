"""What can be found wrong with a recipe before torch is even imported."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

from pipeline.annotations import Catalogue, DatasetAnnotation, builtin_folder, load_catalogue
from pipeline.annotations.catalogue import annotation_files
from pipeline.errors import PipelineError, PipelineErrors, RecipeError, did_you_mean, raise_all
from pipeline.examples.trained_task import trained_task
from pipeline.functions.dialects import DIALECTS
from pipeline.models.loading import EMBEDDED_MODEL, resolve_model
from pipeline.recipe import Recipe, TaskEntry
from pipeline.sources.data_root import EMBEDDED, resolve_data_root
from pipeline.templates.styles import STYLES, parse_style
from pipeline.training.run_folder import RunFolder

CHAT_TEMPLATE = "chat_template"
"""Function format that leaves calls to the model's own chat template."""


def check_recipe(recipe: Recipe, *, writes_run: bool = True) -> None:
    """Check names, the model folder and the run folder; nothing is written or downloaded.

    Args:
        recipe: What to check.
        writes_run: Whether the run folder will be written to, and must be free.

    Raises:
        PipelineError: One of them is wrong.
        PipelineErrors: Several are; all of them.
    """
    errors: list[PipelineError] = []
    checks: list[Callable[[], object]] = [
        lambda: find_annotations(recipe),
        lambda: check_style(recipe.style),
        lambda: _check_name("function_format", recipe.function_format, function_formats()),
        lambda: _check_model(recipe),
        lambda: _check_data_root(recipe),
    ]
    if writes_run:
        checks.append(lambda: _check_run_folder(recipe))
    for check in checks:
        try:
            check()
        except PipelineErrors as several:
            errors.extend(several.errors)
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)


def find_annotations(recipe: Recipe) -> list[tuple[DatasetAnnotation, TaskEntry]]:
    """Return the annotation of every task of the recipe.

    Raises:
        AnnotationError: A task is unknown.
        PipelineErrors: Several are, or annotations are not valid.
    """
    catalogue = recipe_catalogue(recipe)
    errors: list[PipelineError] = []
    found = []
    for entry in recipe.tasks:
        try:
            found.append((trained_task(catalogue, recipe, entry), entry))
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)
    return found


def recipe_catalogue(recipe: Recipe) -> Catalogue:
    """Return the built-in annotations together with those of the recipe's own folders.

    Raises:
        PipelineErrors: Annotations are not valid.
    """
    folders = (builtin_folder(), *(Path(folder) for folder in recipe.annotations))
    files = [file for folder in folders for file in annotation_files(folder)]
    states = ((file, file.stat()) for file in files)
    return _catalogue_of(
        folders, tuple((file, state.st_mtime_ns, state.st_size) for file, state in states)
    )


@functools.lru_cache(maxsize=1)
def _catalogue_of(folders: tuple[Path, ...], files: tuple[tuple[Path, int, int], ...]) -> Catalogue:
    """Load a catalogue once per process, as long as its files stay the same."""
    del files
    return load_catalogue(folders)


def function_formats() -> list[str]:
    """Return the names that `function_format` may have."""
    return [CHAT_TEMPLATE, *DIALECTS]


def check_style(style: str) -> None:
    """Check the name of a wording.

    Raises:
        RecipeError: There is none of that name (REC010), or it shows no examples (TPL002).
    """
    _check_name("style", style.partition(":")[0], list(STYLES))
    parse_style(style)


def _check_name(field: str, name: str, allowed: list[str]) -> None:
    if name not in allowed:
        hint = did_you_mean(name, allowed)
        raise RecipeError("REC010", f"no {field} is named {name!r}", where=field, hint=hint)


def _check_model(recipe: Recipe) -> None:
    if recipe.model_name_or_path != EMBEDDED_MODEL:
        resolve_model(recipe.model_name_or_path)


def _check_data_root(recipe: Recipe) -> None:
    if recipe.data_root not in {None, EMBEDDED}:
        resolve_data_root(recipe.data_root)


def _check_run_folder(recipe: Recipe) -> None:
    if recipe.adapter.start_from is not None or recipe.adapter.extend is not None:
        # Only where it is needed: adapters bring torch with them.
        from pipeline.adapters.continued_fields import with_folder_fields

        recipe = with_folder_fields(recipe)
    RunFolder(Path(str(recipe.output_dir))).check_free(recipe)
