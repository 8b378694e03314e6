"""`taskloom check` and `taskloom list`: the annotations, before any data is read."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast, get_args

import typer

from pipeline.cli.online import run_online
from pipeline.cli.shared import Settings, catalogue_of, settings_of, stderr, stdout
from pipeline.errors import (
    EXIT_USER_ERROR,
    AnnotationError,
    PipelineError,
    PipelineErrors,
    SourceError,
    did_you_mean,
)
from pipeline.types import TaskKind

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.types import Json

YAML_SUFFIXES = {".yaml", ".yml"}
RECIPE_MARKERS = ("model_name_or_path:", "stages:", "adapters:")
"""A YAML file with one of these keys is a recipe for training, stages or merging; any other is an
annotation."""

_USES = {"commercial", "non-commercial", "unknown"}
"""What `list --licence` takes beside names of licences."""


def check(
    context: typer.Context,
    paths: Annotated[
        list[Path] | None,
        typer.Argument(help="Annotations, recipes or folders; the built-in ones when left out."),
    ] = None,
    *,
    online: Annotated[
        bool, typer.Option("--online", help="Also run them on the rows of --data-root or the hub.")
    ] = False,
    write: Annotated[
        bool,
        typer.Option(
            "--write", help="With --online: write `verified: rows` into the files that ran."
        ),
    ] = False,
) -> None:
    """Validate annotations with their golden rows, and recipes.

    Exits with 0, or with 2 after printing every error as file:line:column. With --online it tells
    how many rows became examples and why others did not; what cannot be run is an error too.

    Examples:
        taskloom check
        taskloom check my_annotations/ recipes/mine.yaml
        taskloom --data-root /data/mirror check my_annotations/ --online --write
    """
    from pipeline.annotations.check import check_annotations
    from pipeline.examples.registered import REGISTERED_FUNCTIONS

    if write and not online:
        raise AnnotationError(
            "CLI014",
            "without --online nothing is run that could be written down",
            where="--write",
            hint="Add --online",
        )
    settings = settings_of(context)
    files = _yaml_files(paths) if paths else _builtin_files()
    recipes = [file for file in files if _is_recipe(file)]
    annotations = [file for file in files if file not in recipes]
    checked = check_annotations(annotations, functions=REGISTERED_FUNCTIONS)
    errors = checked.errors
    for file in recipes:
        errors += _recipe_errors(file, settings)
    for error in errors:
        stderr.print(str(error), markup=False, soft_wrap=True)
    counted = f"{len(annotations)} annotations and {len(recipes)} recipes checked"
    stderr.print(f"{counted}, {len(errors)} errors")
    stderr.print(_functions_line(checked.annotations), soft_wrap=True)
    is_run = True
    if online and not errors:
        is_run = run_online(checked.annotations, settings, is_writing=write)
    if errors or not is_run:
        raise typer.Exit(EXIT_USER_ERROR)


def _functions_line(annotations: list[DatasetAnnotation]) -> str:
    """Return how many annotations name registered functions, and which."""
    from pipeline.annotations.check import functions_used

    used = [functions_used(annotation) for annotation in annotations]
    counts = Counter(name for names in used for name in names)
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common())
    return f"{sum(map(bool, used))} use registered functions" + (f": {listed}" if listed else "")


def _builtin_files() -> list[Path]:
    from pipeline.annotations.catalogue import builtin_folder

    folders = [builtin_folder(), builtin_folder().parent / "recipes"]
    return _yaml_files([folder for folder in folders if folder.is_dir()])


def _yaml_files(paths: list[Path]) -> list[Path]:
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if _is_visible_yaml(file, path))
            if not found:
                raise SourceError(
                    "CLI015",
                    "no YAML file is in or below this folder, so there is nothing to check",
                    where=path,
                    hint="Name annotations, recipes, or folders that hold some",
                )
            files += found
        elif path.is_file():
            files.append(path)
        else:
            raise SourceError(
                "CLI002", "no such file or folder", where=path, hint="Check the path's spelling"
            )
    return files


def _is_visible_yaml(file: Path, folder: Path) -> bool:
    is_hidden = any(part.startswith(".") for part in file.relative_to(folder).parts)
    return file.suffix in YAML_SUFFIXES and not is_hidden


def _is_recipe(file: Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return any(line.startswith(RECIPE_MARKERS) for line in text.splitlines())


def _tasks_and_folders(file: Path) -> tuple[list[str], tuple[str, ...]]:
    """Return the tasks that a recipe of any kind names, and its folders of annotations."""
    from pipeline.recipe import load_recipe
    from pipeline.recipe.continual import load_continual
    from pipeline.recipe.merging import load_merge_recipe

    lines = file.read_text(encoding="utf-8").splitlines()
    if any(line.startswith("adapters:") for line in lines):
        merge = load_merge_recipe(file)
        return [source.task for source in merge.adapters if source.task is not None], ()
    is_continual = any(line.startswith("stages:") for line in lines)
    recipe = load_continual(file).training if is_continual else load_recipe(file)
    names = [entry.task for entry in recipe.tasks]
    if recipe.evaluation is not None:
        names += recipe.evaluation.tasks or ()
    return names, recipe.annotations


def _recipe_errors(file: Path, settings: Settings) -> list[PipelineError]:
    try:
        names, own_folders = _tasks_and_folders(file)
        folders = (*settings.annotation_folders, *(Path(name) for name in own_folders))
        catalogue = catalogue_of(Settings(annotation_folders=folders))
    except PipelineErrors as found:
        return list(found.errors)
    except PipelineError as error:
        return [error]
    errors: list[PipelineError] = []
    for name in dict.fromkeys(names):
        try:
            catalogue.get(name)
        except PipelineError as error:
            error.where = file
            errors.append(error)
    return errors


def list_tasks(
    context: typer.Context,
    *,
    family: Annotated[str | None, typer.Option(help="Only this family.")] = None,
    kind: Annotated[str | None, typer.Option(help="Only this kind of task.")] = None,
    licence: Annotated[
        str | None, typer.Option(help="A licence such as mit, or 'commercial'.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="A language code such as en.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """List the tasks of the catalogue.

    Examples:
        taskloom list --family dna
        taskloom list --licence commercial --language en --json
    """
    catalogue = catalogue_of(settings_of(context))
    families = {task.family for task in catalogue}
    _check_name("--family", family, families)
    _check_name("--kind", kind, get_args(TaskKind))
    if not catalogue.select(licence=licence):
        _check_name("--licence", licence, {task.source.licence for task in catalogue} | _USES)
    if not catalogue.select(language=language):
        _check_name("--language", language, {code for t in catalogue for code in t.source.language})
    tasks = catalogue.select(
        family=family, kind=cast("TaskKind | None", kind), licence=licence, language=language
    )
    if as_json:
        stdout.print_json(json.dumps([_entry(task) for task in tasks]))
        return
    rows = [
        (
            task.id,
            task.family,
            task.task,
            task.source.hub or "files",
            task.source.licence + ("" if task.access == "open" else f" ({task.access})"),
            task.verified,
        )
        for task in tasks
    ]
    header = ("task", "family", "kind", "dataset", "licence", "verified")
    typer.echo(_aligned([header, *rows]))
    typer.echo(f"\n{len(tasks)} tasks")


def _aligned(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; a drawn table takes a second for so many."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _check_name(option: str, name: str | None, allowed: Collection[str]) -> None:
    if name is not None and name not in allowed:
        raise AnnotationError(
            "CLI007", f"nothing is called {name!r}", where=option, hint=did_you_mean(name, allowed)
        )


def _entry(task: DatasetAnnotation) -> dict[str, Json]:
    return {
        "id": task.id,
        "title": task.title,
        "family": task.family,
        "kind": task.task,
        "hub": task.source.hub,
        "config": task.config,
        "splits": list(task.splits.present()),
        "licence": task.source.licence,
        "commercial": task.source.commercial,
        "language": list(task.source.language),
        "modality": task.source.modality,
        "access": task.access,
        "verified": task.verified,
        "metrics": list(task.spec().metrics),
    }
