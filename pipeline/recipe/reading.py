"""Reads a recipe file and the command line fields that go on top of it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pydantic

from pipeline.errors import PipelineError, RecipeError, SourceMark, raise_all
from pipeline.recipe.foreign_names import NOTES, REFUSED, RENAMED
from pipeline.recipe.kinds import check_kind
from pipeline.recipe.overrides import MergedDocument, merge_overrides, parse_overrides
from pipeline.recipe.schema import AdapterChoice, EvaluationSettings, MixtureSettings, Recipe
from pipeline.types import Json
from pipeline.yaml_reader import ErrorCodes, YamlDocument, load_yaml, validation_errors

RUNS_FOLDER = "runs"
"""Where run folders go unless the recipe says otherwise."""

_MAPS: dict[str, type[pydantic.BaseModel]] = {
    "adapter": AdapterChoice,
    "mixture": MixtureSettings,
    "evaluation": EvaluationSettings,
}
"""Fields that are maps themselves."""

_CODES = ErrorCodes("REC001", "REC002", "REC003", RecipeError)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: The YAML file.
        overrides: Command line arguments: `--field value` or `--field=value`, with dots for
            fields inside maps; values are read as YAML, later ones win.

    Returns:
        The recipe, with `run_name` and `output_dir` filled in.

    Raises:
        YamlError: The file or a value cannot be read as YAML.
        RecipeError: A field is unknown, missing, wrong or contradicts another.
        PipelineErrors: Several mistakes, all of them.
    """
    document = load_yaml(path)
    check_kind(document, "training")
    return read_recipe(document, overrides, name=path.stem)


def read_recipe(document: YamlDocument, overrides: Sequence[str] = (), *, name: str) -> Recipe:
    """Return the recipe of a document.

    Args:
        document: The fields.
        overrides: As in `load_recipe`.
        name: Of the run, where the recipe has none.

    Raises:
        RecipeError: As in `load_recipe`.
        PipelineErrors: Several mistakes, all of them.
    """
    merged = merge_overrides(document, parse_overrides(overrides))
    if not isinstance(merged.value, dict):
        raise RecipeError(
            "REC003",
            "a recipe must be a map of fields",
            where=merged.mark(),
            hint="Start with `model_name_or_path:` and `tasks:`",
        )
    errors, known = _split_foreign(merged, merged.value)
    recipe = None
    try:
        recipe = Recipe.model_validate(known)
    except pydantic.ValidationError as error:
        errors += validation_errors(error, merged, model=Recipe, codes=_CODES)
    for each in errors:
        if isinstance(each.where, SourceMark) and each.where.line == 0:
            each.where = each.where.file
    raise_all(errors)
    assert recipe is not None
    return _fill_names(recipe, name)


def _split_foreign(
    document: MergedDocument, fields: dict[str, Json]
) -> tuple[list[PipelineError], dict[str, Json]]:
    """Return the errors for names of other projects, and the fields without them."""
    errors: list[PipelineError] = []
    for name in fields:
        where = document.mark((name,), key=True)
        if name in RENAMED:
            hint = f"Write `{RENAMED[name]}`"
            if name in NOTES:
                hint += f". {NOTES[name]}"
            message = f"{name}: this field is called {RENAMED[name]!r} here"
            errors.append(RecipeError("REC004", message, where=where, hint=hint))
        elif name in REFUSED:
            message = f"{name}: not an option, because {REFUSED[name]}"
            errors.append(RecipeError("REC005", message, where=where, hint="Take the line out"))
    known = {
        name: _without_misplaced(document, name, value, errors)
        for name, value in fields.items()
        if name not in RENAMED and name not in REFUSED
    }
    # A required field given under a foreign name is not missing as well.
    meant = {RENAMED[name] for name in fields if name in RENAMED}
    stand_ins: dict[str, Json] = {"model_name_or_path": "renamed", "tasks": ["renamed"]}
    known |= {name: stand_ins[name] for name in meant & stand_ins.keys() - known.keys()}
    return errors, known


def _without_misplaced(
    document: MergedDocument, name: str, value: Json, errors: list[PipelineError]
) -> Json:
    """Leave out fields of the recipe that stand inside one of its maps, and report them."""
    inside = _MAPS.get(name)
    if inside is None or not isinstance(value, dict):
        return value
    misplaced = [
        key for key in value if key in Recipe.model_fields and key not in inside.model_fields
    ]
    for key in misplaced:
        where = document.mark((name, key), key=True)
        message = f"{name}.{key}: this field stands beside `{name}`, not inside it"
        errors.append(RecipeError("REC004", message, where=where, hint=f"Write `{key}` outside"))
    return {key: inner for key, inner in value.items() if key not in misplaced}


def _fill_names(recipe: Recipe, name: str) -> Recipe:
    run_name = recipe.run_name or name
    output_dir = recipe.output_dir or str(Path(RUNS_FOLDER) / run_name)
    return recipe.model_copy(update={"run_name": run_name, "output_dir": output_dir})
