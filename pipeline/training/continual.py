"""Learns tasks in stages: `taskloom continual`.

    base/eval  stages/1-NAME/{run, [merged], eval, stage.json}  stages/2-NAME/...  joint/{run, eval}

A stage is finished when its `stage.json` is there, written last: hash of the adapter, of what it
was made from, and its scores. What is finished is not made again; a stage that was killed goes on
from its newest checkpoint, or from its evaluation. What trains and what scores is given from
outside, so this module knows neither processes nor metrics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE
from pipeline.adapters.merging.factors import check_mergeable, load_expert
from pipeline.adapters.merging.fold import fold, recompress, spread
from pipeline.adapters.merging.writing import write_merged
from pipeline.errors import RecipeError, TrainingError
from pipeline.examples.cache import open_tables
from pipeline.files import read_json, sha256_of_file, sha256_of_json, write_json
from pipeline.recipe import Recipe
from pipeline.recipe.continual import Continual
from pipeline.recipe.schema import EvaluationSettings
from pipeline.sources.data_root import resolve_data_root
from pipeline.training.early_checks import find_annotations
from pipeline.training.recipe_record import MAY_CHANGE
from pipeline.training.recipe_tokenizer import find_new_token_ids
from pipeline.training.run_folder import ADAPTER_FOLDER
from pipeline.types import Json, Split

STAGE_FILE = "stage.json"

Train = Callable[[Recipe], None]
"""Trains a recipe to the end, going on where it was stopped."""
Evaluate = Callable[[Path | None, Sequence[str], Path], Mapping[str, float]]
"""Scores an adapter, or the base, on tasks, into a folder; returns one number per task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ContinualResult:
    """Scores by task, of everything that was trained."""

    base: Mapping[str, float]
    after_stage: tuple[Mapping[str, float], ...]
    joint: Mapping[str, float] | None


def run_continual(continual: Continual, *, train: Train, evaluate: Evaluate) -> ContinualResult:
    """Run all stages that are not finished yet, and the references.

    Args:
        continual: What to run.
        train: Trains one stage.
        evaluate: Scores what was trained.

    Raises:
        RecipeError: Adapters would hold token rows, which cannot be merged (REC006).
        TrainingError: The folder holds another run (TRN050), or a finished stage was changed
            (TRN051).
        TrainingStopped: A signal stopped a training; started again, it goes on.
        PipelineError: As in `run_training`, evaluation and merging.
    """
    _check_mergeable_tokens(continual)
    runner = _Runner(continual, train, evaluate)
    base = runner.reference_base()
    rows: list[Mapping[str, float]] = []
    for place in range(len(continual.recipe.stages)):
        rows.append(runner.stage(place, before=rows[-1] if rows else base))
    joint = runner.reference_joint() if continual.recipe.joint else None
    return ContinualResult(base=base, after_stage=tuple(rows), joint=joint)


class _Runner:
    """Makes stages one after the other."""

    def __init__(self, continual: Continual, train: Train, evaluate: Evaluate) -> None:
        self._continual = continual
        self._recipe = continual.recipe
        self._train = train
        self._evaluate = evaluate
        self._folder = Path(self._recipe.output_dir)
        self._tasks = [task for stage in self._recipe.stages for task in stage.tasks]
        self._known: Path | None = None
        """Adapter after the newest stage."""
        training = continual.training
        split = (training.evaluation or EvaluationSettings()).split
        self._scored_on = _rows_of(training, split)

    def reference_base(self) -> Mapping[str, float]:
        """Return the scores of the base."""
        folder = self._folder / "base"
        fields = self._continual.training.model_dump(mode="json", include=_OF_THE_BASE)
        made_from: dict[str, Json] = {
            "training": fields,
            "tasks": [*self._tasks],
            "rows scored": self._scored_on,
        }
        return _finished(folder, made_from, None) or _finish(
            folder, made_from, None, self._evaluate(None, self._tasks, folder / "eval")
        )

    def reference_joint(self) -> Mapping[str, float]:
        """Return the scores of one adapter trained on all stages, for as many steps as they."""
        changes: dict[str, Json] = {}
        if (steps := self._continual.training.max_steps) > 0:
            changes["max_steps"] = steps * len(self._recipe.stages)
        folder = self._folder / "joint"
        recipe = self._continual.stage_recipe(list(self._tasks), folder / "run", **changes)
        adapter = folder / "run" / ADAPTER_FOLDER
        made_from = self._made_from(recipe, None)
        if (scores := _finished(folder, made_from, adapter)) is not None:
            return scores
        self._train(recipe)
        scores = self._evaluate(adapter, self._tasks, folder / "eval")
        return _finish(folder, made_from, adapter, scores)

    def stage(self, place: int, *, before: Mapping[str, float]) -> Mapping[str, float]:
        """Make a stage unless it is finished, and return the scores on all tasks after it.

        Args:
            place: Of the stage, from 0.
            before: Scores after the stage before, or of the base.
        """
        stage = self._recipe.stages[place]
        strategy, parent = self._recipe.strategy, self._known
        folder = self._folder / "stages" / f"{place + 1}-{stage.name}"
        recipe = self._stage_recipe(place, folder / "run", parent)
        trained = folder / "run" / ADAPTER_FOLDER
        merges = strategy == "merge_after_stage" and parent is not None
        self._known = folder / "merged" if merges else trained
        made_from = self._made_from(recipe, parent) | {"strategy": strategy}
        if merges:
            made_from["newest_weight"] = self._newest_weight(place)
        if (scores := _finished(folder, made_from, self._known)) is not None:
            return scores
        self._train(recipe)
        if merges and parent is not None:
            self._merge(place, parent, trained, self._known)
        if strategy == "adapter_per_stage":
            own = self._evaluate(self._known, stage.tasks, folder / "eval")
            # Other stages keep their adapters, and tasks to come have none yet.
            scores = {**before, **own}
        else:
            scores = self._evaluate(self._known, self._tasks, folder / "eval")
        return _finish(folder, made_from, self._known, scores)

    def _made_from(self, recipe: Recipe, parent: Path | None) -> dict[str, Json]:
        """Return everything that decides what a stage learns, and how it is scored."""
        fields = recipe.model_dump(mode="json", exclude={*MAY_CHANGE, *_PLACES} - {"evaluation"})
        fields["adapter"].pop("start_from")
        return {
            "recipe": fields,
            "rows trained on": _rows_of(recipe, "train"),
            "rows scored": self._scored_on,
            "adapter before": None if parent is None else _weights_sha256(parent),
        }

    def _stage_recipe(self, place: int, folder: Path, parent: Path | None) -> Recipe:
        stage = self._recipe.stages[place]
        past = [task for each in self._recipe.stages[:place] for task in each.tasks]
        tasks: list[Json] = list(stage.tasks)
        changes: dict[str, Json] = {}
        if parent is not None and self._recipe.strategy != "adapter_per_stage":
            adapter = cast("dict[str, Json]", self._continual.fields.get("adapter") or {})
            changes["adapter"] = {**adapter, "start_from": str(parent)}
        if past and self._recipe.strategy == "replay":
            most = self._recipe.replay.max_rows_per_task
            tasks += [{"task": task, "max_train_rows": most} for task in past]
            changes["mixture"] = self._with_past(stage.tasks, past)
        return self._continual.stage_recipe(tasks, folder, **changes)

    def _with_past(self, tasks: Sequence[str], past: Sequence[str]) -> Json:
        """Return a mixture in which past tasks have their share, all together."""
        mixture: dict[str, Json] = self._continual.training.mixture.model_dump(
            mode="json", exclude_unset=True
        )
        rules = ("policy", "temperature", "cap")
        inside: dict[str, Json] = {name: mixture.pop(name) for name in rules if name in mixture}
        share = self._recipe.replay.share
        return {
            **mixture,
            # A ceiling on new tasks would hand their draws to the past, above its share.
            "max_epochs_per_task": None,
            "policy": "explicit",
            "groups": [
                {"name": "new", "weight": 1 - share, "tasks": [*tasks], **inside},
                {"name": "past", "weight": share, "tasks": [*past], "policy": "uniform"},
            ],
        }

    def _newest_weight(self, place: int) -> float:
        given = self._recipe.newest_weight
        return 1 / (place + 1) if given is None else given

    def _merge(self, place: int, known: Path, newest: Path, folder: Path) -> None:
        """Merge what a stage learned with what was known, in the form that training goes on with.

        Rank and scale are the recipe's, so the next stage trains as the first one did.
        """
        settings = self._continual.training.adapter_settings
        experts = [load_expert("known", known), load_expert("newest", newest)]
        check_mergeable(experts)
        weight = self._newest_weight(place)
        weights = {"known": 1 - weight, "newest": weight}
        cut = {
            module: recompress(factors, settings.rank)
            for module, factors in fold(experts, spread(experts, weights)).items()
        }
        write_merged(
            {module: each.factors for module, each in cut.items()},
            folder,
            experts=experts,
            record={
                "method": "linear",
                "coefficients": cast("Json", weights),
                "tail_errors": {module: each.tail for module, each in cut.items()},
            },
            lora_alpha_per_rank=settings.lora_alpha / settings.rank,
        )


_OF_THE_BASE = {"model_name_or_path", "model_revision", "dtype", "style", "evaluation"}
_PLACES = {"run_name", "output_dir", "data_root", "annotations"}


def _check_mergeable_tokens(continual: Continual) -> None:
    training = continual.training
    if continual.recipe.strategy != "merge_after_stage" or training.dna_unit is None:
        return
    if find_new_token_ids(training):
        raise RecipeError(
            "REC006",
            f"got {training.dna_unit!r}, whose tokens the base lacks; their rows cannot be merged",
            where="training.dna_unit",
            hint="Choose another strategy, or a base that has the tokens",
        )


def _rows_of(recipe: Recipe, split: Split) -> dict[str, Json]:
    """Return what tells the rows of each task, and what is made of them, from others.

    Raises:
        PipelineError: A task is unknown, or its rows cannot be found.
    """
    root = resolve_data_root(recipe.data_root)
    found: dict[str, Json] = {}
    for annotation, entry in find_annotations(recipe):
        tables = open_tables(annotation, split, root)
        facts: list[Json] = [annotation.model_dump(mode="json"), annotation.data_fingerprint()]
        facts += [[name, table.fingerprint] for name, table in sorted(tables.items())]
        found[entry.task] = sha256_of_json(facts)
    return found


def _finished(
    folder: Path, made_from: Mapping[str, Json], adapter: Path | None
) -> Mapping[str, float] | None:
    """Return the scores of a finished stage; `None` where it has to be made.

    Raises:
        TrainingError: It was made from something else (TRN050), or its adapter is not the one
            that was scored (TRN051).
    """
    path = folder / STAGE_FILE
    if not path.is_file():
        return None
    record = cast("dict[str, Json]", read_json(path))
    earlier = cast("dict[str, Json]", record["made_from"])
    changed = [
        name for name in {**earlier, **made_from} if earlier.get(name) != made_from.get(name)
    ]
    if changed:
        raise TrainingError(
            "TRN050",
            f"this stage was made otherwise; differs in: {', '.join(changed)}",
            where=folder,
            hint="Choose another output_dir, or restore recipe and data",
        )
    if adapter is not None and record["adapter_sha256"] != _weights_sha256(adapter):
        raise TrainingError(
            "TRN051",
            "the adapter of this finished stage is not the one that was scored",
            where=adapter,
            hint="Restore it, or remove the folders of this stage and all later ones",
        )
    return cast("dict[str, float]", record["scores"])


def _finish(
    folder: Path,
    made_from: Mapping[str, Json],
    adapter: Path | None,
    scores: Mapping[str, float],
) -> Mapping[str, float]:
    """Write that a stage is finished."""
    record: Json = {
        "schema_version": 1,
        "made_from": dict(made_from),
        "adapter_sha256": None if adapter is None else _weights_sha256(adapter),
        "scores": dict(scores),
    }
    write_json(folder / STAGE_FILE, record)
    return scores


def _weights_sha256(adapter: Path) -> str | None:
    path = adapter / ADAPTER_WEIGHTS_FILE
    return sha256_of_file(path) if path.is_file() else None
