"""The fields of a merge recipe: which adapters, by which method, into which folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import RecipeError, raise_all
from pipeline.recipe.overrides import merge_overrides, parse_overrides
from pipeline.yaml_reader import (
    ErrorCodes,
    Problem,
    load_yaml,
    problems_as_validation_error,
    validation_errors,
)

MergeMethod = Literal["linear", "ties", "dare", "dare_ties", "magnitude"]

_CODES = ErrorCodes("REC001", "REC002", "REC003", RecipeError)


class _Fields(BaseModel):
    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True, allow_inf_nan=False
    )


class MergeSource(_Fields):
    """One adapter."""

    name: Annotated[str, Field(min_length=1)]
    """What it is called in weights and reports."""
    path: Annotated[str, Field(min_length=1)]
    """A PEFT folder, such as the `adapter` folder of a run; relative to where you are."""
    weight: float | None = None
    """Its coefficient; unset means `weight` of the recipe."""


class MergeRecipe(_Fields):
    """One merge, fully described."""

    schema_version: Literal[1] = 1
    adapters: Annotated[tuple[MergeSource, ...], Field(strict=False, min_length=1)]
    """The adapters, all of one base model."""
    method: MergeMethod = "linear"
    """`linear` adds the weighted changes and is exact; the others trim them first."""
    weight: float | None = None
    """Coefficient of every adapter without one of its own; unset means one over their number."""
    density: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of entries that `ties`, `dare`, `dare_ties` and `magnitude` keep."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the entries that `dare` keeps."""
    rank: Annotated[int, Field(ge=1)] | None = None
    """Rank of the result. Unset: the sum of the ranks for `linear`, which loses nothing, and the
    largest rank for the other methods."""
    output_dir: Annotated[str, Field(min_length=1)] = "merged"
    """Folder of the merged adapter."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [source.name for source in self.adapters]
        repeated = [
            Problem(("adapters", place, "name"), "REC003", f"two adapters are called {name!r}")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        if repeated:
            raise problems_as_validation_error(repeated)
        return self

    def weights(self) -> dict[str, float]:
        """Return the coefficient of each adapter by name."""
        default = 1 / len(self.adapters) if self.weight is None else self.weight
        return {
            source.name: default if source.weight is None else source.weight
            for source in self.adapters
        }


def load_merge_recipe(path: Path, overrides: Sequence[str] = ()) -> MergeRecipe:
    """Read a merge recipe; overrides are `--field value`, as for training.

    Raises:
        YamlError: The file or a value cannot be read as YAML.
        RecipeError: A field is unknown, missing or wrong.
        PipelineErrors: Several mistakes, all of them.
    """
    merged = merge_overrides(load_yaml(path), parse_overrides(overrides))
    try:
        return MergeRecipe.model_validate(merged.value)
    except pydantic.ValidationError as error:
        errors = validation_errors(error, merged, model=MergeRecipe, codes=_CODES)
        raise_all(errors)
        raise
