"""The fields of a merge recipe: which adapters, by which method, into which folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, model_validator

from pipeline.errors import RecipeError, did_you_mean, raise_all
from pipeline.recipe.fields import StrictFields
from pipeline.recipe.kinds import check_kind
from pipeline.recipe.overrides import merge_overrides, parse_overrides
from pipeline.yaml_reader import (
    ErrorCodes,
    Problem,
    YamlDocument,
    load_yaml,
    problems_as_validation_error,
    validation_errors,
)

MergeMethod = Literal[
    "linear", "ties", "dare", "dare_ties", "magnitude", "best_uniform", "regmean", "learned"
]
FitObjective = Literal["expert_kl", "supervised", "entropy"]
FitGranularity = Literal["task", "block", "module", "channel", "kind_channel"]

FITTED = frozenset({"best_uniform", "regmean", "learned"})
"""Methods that need the base and rows."""
_TRIMMING = frozenset({"ties", "dare", "dare_ties", "magnitude"})
_FIT_FIELDS: dict[MergeMethod, frozenset[str]] = {
    "best_uniform": frozenset({"grid"}),
    "regmean": frozenset({"off_diagonal"}),
    "learned": frozenset({"target", "granularity", "init", "num_steps", "learning_rate"}),
}
"""Fields of `fit` that belong to one method."""

_CODES = ErrorCodes("REC001", "REC002", "REC003", RecipeError)


class MergeSource(StrictFields):
    """One adapter."""

    name: Annotated[str, Field(min_length=1)]
    """What it is called in weights and reports."""
    path: Annotated[str, Field(min_length=1)]
    """A PEFT folder, such as the `adapter` folder of a run; relative to where you are."""
    weight: float | None = None
    """Its coefficient; unset means `weight` of the recipe."""
    task: Annotated[str, Field(min_length=1)] | None = None
    """Id of the annotation it was trained on; for methods with `fit`."""


class FitFields(StrictFields):
    """The base and the rows that a merge is fitted to, and how."""

    model_name_or_path: Annotated[str, Field(min_length=1)]
    """The base of the adapters: `embedded`, a folder, or a hub id."""
    load_in_4bit: bool = False
    """Keep the base's weights in 4 bits (needs bitsandbytes)."""
    objective: FitObjective = "expert_kl"
    """`expert_kl` imitates each adapter on its own task; `supervised` fits gold answers; `entropy`
    is AdaMerging's. The first and the last use no labels. `regmean` reads the same rows."""
    target: Annotated[str, Field(min_length=1)] | None = None
    """Fit on the task of this adapter alone (ScaLearn); unset means on all of them."""
    granularity: FitGranularity = "task"
    """How finely coefficients differ. The finer, the more rows they need."""
    init: float | None = None
    """Where coefficients start; unset means one over the number of adapters."""
    grid: Annotated[tuple[float, ...], Field(strict=False, min_length=1)] = (
        0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.7, 1.0,
    )  # fmt: skip
    """Weights that `best_uniform` tries for all adapters alike."""
    off_diagonal: Annotated[float, Field(ge=0, le=1)] = 0.9
    """What `regmean` multiplies products of different inputs with, so that few rows suffice."""
    num_prompts: Annotated[int, Field(ge=1)] = 512
    """Rows per task."""
    split: Literal["train", "validation", "test"] = "validation"
    """Where the rows come from."""
    transductive: bool = False
    """Allow `split: test`: coefficients then know the test prompts, and reports say so."""
    batch_size: Annotated[int, Field(ge=1)] = 16
    num_steps: Annotated[int, Field(ge=1)] = 200
    learning_rate: Annotated[float, Field(gt=0)] | None = None
    """Unset means 5e-3, and for `entropy` 1e-3."""
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


class MergeRecipe(StrictFields):
    """One merge, fully described."""

    schema_version: Literal[1] = 1
    adapters: Annotated[tuple[MergeSource, ...], Field(strict=False, min_length=1)]
    """The adapters, all of one base model."""
    method: MergeMethod = "linear"
    """Unset means the method that reads what `fit` says, and `regmean` where any would; without
    `fit` it is `linear`, which adds the weighted changes and is exact. `best_uniform` and
    `learned` do so with coefficients fitted to the tasks, `regmean` fits the outputs of every
    layer, the others trim the changes first."""
    weight: float | None = None
    """Coefficient of every adapter without one of its own; unset means one over their number, and
    1 for `ties` and `dare_ties`, which average themselves."""
    density: Annotated[float, Field(gt=0, le=1)] = 0.5
    """Share of entries that `ties`, `dare`, `dare_ties` and `magnitude` keep."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Of the entries that `dare` keeps."""
    rank: Annotated[int, Field(ge=1)] | None = None
    """Rank of the result. Unset: the largest rank for methods that trim, and the sum of the ranks
    for the others, which loses nothing."""
    fit: FitFields | None = None
    """What the merge is fitted to."""
    output_dir: Annotated[str, Field(min_length=1)] = "merged"
    """Folder of the merged adapter."""

    @model_validator(mode="before")
    @classmethod
    def _choose_method(cls, fields: object) -> object:
        if not isinstance(fields, dict) or "method" in fields or fields.get("fit") is None:
            return fields
        return {**fields, "method": _method_of_fit(fields["fit"])}

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        names = [source.name for source in self.adapters]
        repeated = [
            Problem(("adapters", place, "name"), "REC003", f"two adapters are called {name!r}")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        problems = repeated + self._unread_problems() + self._fit_problems(names)
        if problems:
            raise problems_as_validation_error(problems)
        return self

    def _unread_problems(self) -> list[Problem]:
        """Return the fields that the method does not read, beside those of `fit`."""
        unread: list[tuple[str | int, ...]] = []
        if self.method not in _TRIMMING and "density" in self.model_fields_set:
            unread.append(("density",))
        if self.method in FITTED:
            unread += [("weight",)] if self.weight is not None else []
            unread += [
                ("adapters", place, "weight")
                for place, source in enumerate(self.adapters)
                if source.weight is not None
            ]
        return [
            Problem(loc, "REC006", f"method `{self.method}` does not read it") for loc in unread
        ]

    def _fit_problems(self, names: Sequence[str]) -> list[Problem]:
        if self.method not in FITTED:
            methods = ", ".join(f"`{name}`" for name in sorted(FITTED))
            unused = Problem(("fit",), "REC006", f"only the methods {methods} read `fit`")
            return [] if self.fit is None else [unused]
        if self.fit is None:
            return [Problem(("method",), "REC006", f"method `{self.method}` needs `fit`")]
        foreign = self.fit.model_fields_set & frozenset().union(
            *(fields for method, fields in _FIT_FIELDS.items() if method != self.method)
        )
        if foreign:
            return [
                Problem(("fit", name), "REC006", f"method `{self.method}` does not read it")
                for name in sorted(foreign)
            ]
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
        usual = 1.0 if self.method in ("ties", "dare_ties") else 1 / len(self.adapters)
        default = usual if self.weight is None else self.weight
        return {
            source.name: default if source.weight is None else source.weight
            for source in self.adapters
        }


def _method_of_fit(fit: object) -> MergeMethod:
    """Return the method that reads the fields of `fit`; of those that all would, the best one.

    Which is the best on real rows is a study's result, see the page about merging.
    """
    if not isinstance(fit, dict):
        return "regmean"
    if "objective" in fit:
        return "learned"
    return next((method for method, own in _FIT_FIELDS.items() if own & fit.keys()), "regmean")


def load_merge_recipe(path: Path, overrides: Sequence[str] = ()) -> MergeRecipe:
    """Read a merge recipe; overrides are `--field value`, as for training.

    Raises:
        YamlError: The file or a value cannot be read as YAML.
        RecipeError: A field is unknown, missing or wrong.
        PipelineErrors: Several mistakes, all of them.
    """
    document = load_yaml(path)
    check_kind(document, "merge")
    return read_merge_recipe(document, overrides)


def read_merge_recipe(document: YamlDocument, overrides: Sequence[str] = ()) -> MergeRecipe:
    """Return the merge recipe of a document; errors as in `load_merge_recipe`."""
    merged = merge_overrides(document, parse_overrides(overrides))
    try:
        return MergeRecipe.model_validate(merged.value)
    except pydantic.ValidationError as error:
        errors = validation_errors(error, merged, model=MergeRecipe, codes=_CODES)
        raise_all(errors)
        raise
