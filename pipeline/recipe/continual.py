"""The fields of a continual recipe: stages of tasks that one model learns one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field, model_validator

from pipeline.errors import RecipeError, raise_all
from pipeline.recipe.adapter_rules import added_tokens
from pipeline.recipe.fields import StrictFields
from pipeline.recipe.kinds import check_kind
from pipeline.recipe.overrides import MergedDocument, merge_overrides, parse_overrides
from pipeline.recipe.reading import read_recipe
from pipeline.recipe.schema import Recipe
from pipeline.types import Json
from pipeline.yaml_reader import (
    ErrorCodes,
    Problem,
    YamlDocument,
    load_yaml,
    problems_as_validation_error,
    validation_errors,
)

Strategy = Literal["sequential", "replay", "adapter_per_stage", "merge_after_stage"]
Text = Annotated[str, Field(min_length=1)]

_CODES = ErrorCodes("REC001", "REC002", "REC003", RecipeError)
_OF_STAGES = ("tasks", "run_name", "output_dir", "overwrite_output_dir", "resume_from_checkpoint")
"""Fields of training that each stage sets."""
_NOT_MERGED = ("use_dora", "use_rslora", "lora_modules_to_save")
"""Fields whose adapters cannot be merged, or not written in their form."""


class StageFields(StrictFields):
    """Tasks that are learned together."""

    name: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9._-]+$")]
    tasks: Annotated[tuple[Text, ...], Field(strict=False, min_length=1)]
    """Ids of annotations."""


class ReplayFields(StrictFields):
    """How much of past stages is seen again; for strategy `replay`."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Share of draws that past tasks get, all together."""
    max_rows_per_task: Annotated[int, Field(ge=1)] = 1000
    """Rows of a past task that are seen again, chosen by the seed."""


class ContinualRecipe(StrictFields):
    """One continual run, fully described."""

    schema_version: Literal[1] = 1
    strategy: Strategy = "sequential"
    """`sequential`: one adapter is trained on and on. `replay`: rows of past tasks are mixed in.
    `adapter_per_stage`: each stage has an adapter of its own. `merge_after_stage`: what a stage
    learned is merged with what was known."""
    stages: Annotated[tuple[StageFields, ...], Field(strict=False, min_length=2)]
    training: dict[str, object]
    """Fields of a training recipe, for every stage; `evaluation` says how stages are scored."""
    replay: ReplayFields = ReplayFields()
    newest_weight: Annotated[float, Field(gt=0, le=1)] | None = None
    """Weight of the newest stage in a merge; unset gives all stages alike, 1 / number so far."""
    joint: bool = True
    """Whether a reference is trained on all stages at once, for as many steps as all of them."""
    output_dir: Text
    """Folder of the run."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        names = [stage.name for stage in self.stages]
        tasks = [task for stage in self.stages for task in stage.tasks]
        problems = [
            Problem(("stages", place, "name"), "REC003", f"two stages are called {name!r}")
            for place, name in enumerate(names)
            if name in names[:place]
        ]
        problems += [
            Problem(("stages",), "REC003", f"task {task!r} stands twice")
            for place, task in enumerate(tasks)
            if task in tasks[:place]
        ]
        problems += [
            Problem(("training", name), "REC006", "each stage sets this itself")
            for name in _OF_STAGES
            if name in self.training
        ]
        for name, strategy in (("replay", "replay"), ("newest_weight", "merge_after_stage")):
            if name in self.model_fields_set and self.strategy != strategy:
                problems.append(Problem((name,), "REC006", f"only strategy `{strategy}` reads it"))
        if problems:
            raise problems_as_validation_error(problems)
        return self


@dataclass(frozen=True, slots=True, kw_only=True)
class Continual:
    """A continual recipe, and the training recipe that its stages have in common."""

    recipe: ContinualRecipe
    training: Recipe
    """With the tasks of all stages."""
    fields: Mapping[str, Json]
    """Of `training` in the file."""

    def with_places(self, data_root: str | None, annotations: Sequence[Path]) -> Continual:
        """Return it with data and annotations of the command line, for training and scoring alike.

        Args:
            data_root: Local mirror in place of that of the recipe, where given.
            annotations: Folders beside those of the recipe.
        """
        changes: dict[str, Json] = {}
        if data_root is not None:
            changes["data_root"] = data_root
        if annotations:
            changes["annotations"] = [*map(str, annotations), *self.training.annotations]
        training = self.training.model_copy(
            update={name: tuple(v) if isinstance(v, list) else v for name, v in changes.items()}
        )
        return replace(self, training=training, fields={**self.fields, **changes})

    def stage_recipe(self, tasks: Sequence[Json], folder: Path, **changes: Json) -> Recipe:
        """Return the recipe of one training run.

        Args:
            tasks: As in a training recipe.
            folder: The run folder.
            **changes: Fields that differ from `training`.
        """
        fields: dict[str, Json] = {
            **self.fields,
            **changes,
            "tasks": list(tasks),
            "output_dir": str(folder),
            "resume_from_checkpoint": "auto",
        }
        return read_recipe(YamlDocument("continual", fields, {}, {}), name=folder.name)


def load_continual(path: Path, overrides: Sequence[str] = ()) -> Continual:
    """Read a continual recipe; overrides are `--field value`, as for training.

    Raises:
        YamlError: The file or a value cannot be read as YAML.
        RecipeError: A field is unknown, missing or wrong, also of `training`.
        PipelineErrors: Several mistakes, all of them.
    """
    document = load_yaml(path)
    check_kind(document, "continual")
    merged = merge_overrides(document, parse_overrides(overrides))
    try:
        recipe = ContinualRecipe.model_validate(merged.value)
    except pydantic.ValidationError as error:
        raise_all(validation_errors(error, merged, model=ContinualRecipe, codes=_CODES))
        raise
    assert isinstance(merged.value, dict)
    fields = merged.value["training"]
    assert isinstance(fields, dict)
    tasks: list[Json] = [task for stage in recipe.stages for task in stage.tasks]
    inner = _training_document(merged, {**fields, "tasks": tasks})
    training = read_recipe(inner, name=path.stem)
    _check_training(recipe, training, merged)
    return Continual(recipe=recipe, training=training, fields=fields)


def _training_document(merged: MergedDocument, fields: dict[str, Json]) -> YamlDocument:
    """Return the fields of `training` as a document whose mistakes are still found in the file."""

    def inside(
        marks: Mapping[tuple[str | int, ...], tuple[int, int]],
    ) -> dict[tuple[str | int, ...], tuple[int, int]]:
        return {loc[1:]: mark for loc, mark in marks.items() if loc[:1] == ("training",)}

    return YamlDocument(merged.name, fields, inside(merged.values), inside(merged.keys))


def _check_training(recipe: ContinualRecipe, training: Recipe, merged: MergedDocument) -> None:
    """Check what a strategy needs of the training fields.

    Raises:
        RecipeError: Something does not fit (REC006).
    """
    reason = None
    goes_on, merges = recipe.strategy != "adapter_per_stage", recipe.strategy == "merge_after_stage"
    added = added_tokens(training)
    unmerged = [name for name in _NOT_MERGED if getattr(training, name)]
    if goes_on and training.adapter.type != "lora":
        reason = f"strategy `{recipe.strategy}` needs `adapter: {{type: lora}}`"
    elif goes_on and training.adapter.init is not None:
        reason = "later stages go on with the weights of earlier ones; leave `adapter.init` out"
    elif goes_on and added:
        reason = f"stages of other tasks would have other tokens; leave `{added[0]}` out"
    elif merges and unmerged:
        reason = f"strategy `{recipe.strategy}` merges plain LoRA; leave `{unmerged[0]}` out"
    elif training.adapter.start_from or training.adapter.extend:
        reason = "stages follow each other; leave `adapter.start_from` and `adapter.extend` out"
    elif recipe.strategy == "replay" and training.mixture.groups:
        reason = "strategy `replay` makes groups of its own; leave `mixture.groups` out"
    elif recipe.strategy == "replay" and _has_own_ceiling(training):
        reason = "a ceiling would move `replay.share`; leave `mixture.max_epochs_per_task` out"
    elif training.mixture.dynamic is not None:
        reason = "rates of stages are fixed; leave `mixture.dynamic` out"
    elif training.evaluation is not None and training.evaluation.tasks is not None:
        reason = "all tasks of all stages are evaluated; leave `evaluation.tasks` out"
    if reason is not None:
        raise RecipeError("REC006", reason, where=merged.mark(("training",)))


def _has_own_ceiling(training: Recipe) -> bool:
    mixture = training.mixture
    is_set = "max_epochs_per_task" in mixture.model_fields_set
    return is_set and mixture.max_epochs_per_task is not None
