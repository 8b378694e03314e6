"""The fields of a merge recipe: which adapters, by which method, into which folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipeline.errors import RecipeError, did_you_mean, raise_all
from pipeline.recipe.overrides import merge_overrides, parse_overrides
from pipeline.yaml_reader import (
    ErrorCodes,
    Problem,
    load_yaml,
    problems_as_validation_error,
    validation_errors,
)

MergeMethod = Literal["linear", "ties", "dare", "dare_ties", "magnitude", "learned"]
FitObjective = Literal["expert_kl", "supervised", "entropy"]
FitGranularity = Literal["task", "block", "module", "channel", "kind_channel"]

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
    task: Annotated[str, Field(min_length=1)] | None = None
    """Id of the annotation it was trained on; for method `learned`."""


class FitFields(_Fields):
    """How coefficients are learned; for method `learned`."""

    model_name_or_path: Annotated[str, Field(min_length=1)]
    """The base of the adapters: `embedded`, a folder, or a hub id."""
    objective: FitObjective = "expert_kl"
    """`expert_kl` imitates each adapter on its own task; `supervised` fits gold answers; `entropy`
    is AdaMerging's. The first and the last use no labels."""
    target: Annotated[str, Field(min_length=1)] | None = None
    """Fit on the task of this adapter alone (ScaLearn); unset means on all of them."""
    granularity: FitGranularity = "block"
    init: float | None = None
    """Where coefficients start; unset means one over the number of adapters."""
    num_prompts: Annotated[int, Field(ge=1)] = 512
    """Rows per task."""
    split: Literal["train", "validation", "test"] = "validation"
    """Where the rows come from."""
    transductive: bool = False
    """Allow `split: test`: coefficients then know the test prompts, and reports say so."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    num_steps: Annotated[int, Field(ge=1)] = 200
    learning_rate: Annotated[float, Field(gt=0)] = 5e-3
    max_new_tokens: Annotated[int, Field(ge=1)] = 64
    """Length of the adapters' own answers, for `expert_kl`."""
    max_length: Annotated[int, Field(ge=8)] = 1024
    """Tokens per row."""
    style: Annotated[str, Field(min_length=1)] = "plain"
    """Wording of the prompts, as the adapters were trained."""
    function_format: Annotated[str, Field(min_length=1)] = "chat_template"
    data_root: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _check_split(self) -> Self:
        if self.split == "test" and not self.transductive:
            raise problems_as_validation_error(
                [
                    Problem(
                        ("split",),
                        "REC003",
                        "coefficients that are fitted on test rows make test scores meaningless",
                        "Use validation, or say `transductive: true`, which every report shows",
                    )
                ]
            )
        return self


class MergeRecipe(_Fields):
    """One merge, fully described."""

    schema_version: Literal[1] = 1
    adapters: Annotated[tuple[MergeSource, ...], Field(strict=False, min_length=1)]
    """The adapters, all of one base model."""
    method: MergeMethod = "linear"
    """`linear` adds the weighted changes and is exact; `learned` does so with coefficients fitted
    to the tasks; the others trim the changes first."""
    weight: float | None = None
    """Coefficient of every adapter without one of its own; unset means one over their number."""
    density: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of entries that `ties`, `dare`, `dare_ties` and `magnitude` keep."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the entries that `dare` keeps."""
    rank: Annotated[int, Field(ge=1)] | None = None
    """Rank of the result. Unset: the sum of the ranks for `linear`, which loses nothing, and the
    largest rank for the other methods."""
    fit: FitFields | None = None
    """How coefficients are learned."""
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
        problems = repeated + self._fit_problems(names)
        if problems:
            raise problems_as_validation_error(problems)
        return self

    def _fit_problems(self, names: Sequence[str]) -> list[Problem]:
        if self.method != "learned":
            unused = Problem(("fit",), "REC006", "only method `learned` fits coefficients")
            return [] if self.fit is None else [unused]
        if self.fit is None:
            return [Problem(("method",), "REC006", "method `learned` needs `fit`")]
        target = self.fit.target
        if target is not None and target not in names:
            hint = did_you_mean(target, names)
            return [Problem(("fit", "target"), "REC010", f"no adapter is called {target!r}", hint)]
        return [
            Problem(("adapters", place), "REC006", f"{source.name} needs `task`, to be fitted on")
            for place, source in enumerate(self.adapters)
            if source.task is None and target in (None, source.name)
        ]

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
