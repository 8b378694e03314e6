"""From a recipe's tasks to their tokens: the part of a run that needs no model and no torch."""

from __future__ import annotations

import dataclasses
import functools
import multiprocessing
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pipeline
from pipeline.annotations import DatasetAnnotation
from pipeline.chat.call_reading import find_call_format
from pipeline.errors import ChatError, PipelineError, PipelineErrors, raise_all
from pipeline.examples.both_strands import BothStrands
from pipeline.examples.cache import load_examples, open_tables
from pipeline.examples.normalise import splits_made
from pipeline.examples.overlap import Leakage
from pipeline.files import sha256_of_file, sha256_of_json
from pipeline.functions.dialects import DIALECTS
from pipeline.mixture.tokens import TokenizedTask, tokenise_task
from pipeline.recipe import Recipe
from pipeline.sources.data_root import resolve_data_root
from pipeline.templates.loss_turns import select_loss
from pipeline.templates.styles import render_conversation
from pipeline.training.early_checks import CHAT_TEMPLATE, find_annotations
from pipeline.training.leakage import find_left_out
from pipeline.types import Conversation, Examples, Json, Split, TaskExample, TaskSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VALIDATION_ROWS = 512
"""Rows per task whose loss is measured during training."""

_TEXT_PACKAGES = ("templates", "functions")
"""Code that decides over the text of an example."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskData:
    """One task and split that a run reads."""

    annotation: DatasetAnnotation
    split: Split
    max_rows: int | None
    """At most this many rows are used."""
    evenly: bool = False
    """Whether they are spread evenly over the classes."""
    leakage: Leakage | None = None
    """Tells which rows are left out because they repeat evaluated ones; `None` for none."""

    @property
    def name(self) -> str:
        """Id of the task."""
        return self.annotation.id


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenSource:
    """All that the tokens of a task are made of, but for the tokenizer."""

    examples: Examples
    """Those of the task; a sequence that is read on both strands is one of them."""
    rows: Examples
    """What is rendered, each on its own."""
    render: Callable[[TaskExample], Conversation]
    fingerprint: str
    """Names the data and everything that decides over their text."""


def data_of(recipe: Recipe, split: Split) -> list[TaskData]:
    """Return the tasks of a recipe that have a split, in the recipe's order.

    Raises:
        PipelineError: A task is unknown, its annotation is not valid, or it is evaluated on what
            it trains on.
        PipelineErrors: That holds for several tasks.
    """
    leakage = find_left_out(recipe) if split == "train" else None
    return [
        TaskData(
            annotation=annotation,
            split=split,
            max_rows=recipe.train_rows_of(entry) if split == "train" else VALIDATION_ROWS,
            evenly=split == "train" and recipe.few_shot is not None,
            leakage=leakage,
        )
        for annotation, entry in find_annotations(recipe)
        if split == "train" or split in splits_made(annotation)
    ]


def count_source_rows(recipe: Recipe, data: TaskData) -> int:
    """Return how many rows are read at most; known before anything is normalised.

    Raises:
        PipelineError: The data cannot be found or read.
    """
    tables = open_tables(data.annotation, data.split, resolve_data_root(recipe.data_root))
    num_rows = sum(len(table) for table in tables.values())
    return num_rows if data.max_rows is None else min(num_rows, data.max_rows)


def load_source(recipe: Recipe, data: TaskData) -> TokenSource:
    """Return the normalised examples of a task, from the cache or newly made, and their wording.

    Raises:
        PipelineError: The data cannot be read, or do not fit the annotation.
    """
    examples = load_examples(
        data.annotation,
        data.split,
        data_root=resolve_data_root(recipe.data_root),
        max_rows=data.max_rows,
        seed=recipe.seed,
        evenly=data.evenly,
        # A process that helps has the share of one.
        num_proc=1 if multiprocessing.parent_process() is not None else recipe.dataset_num_proc,
    )
    left_out: list[int] = []
    if data.leakage is not None:
        repeated = data.leakage.repeated(data.name)
        examples, left_out = examples.without(repeated), repeated.tolist()
    is_alike = bool(examples.spec.settings.get("reverse_complement"))
    has_both = recipe.both_strands and is_alike and data.split == "train"
    fingerprint: Json = {
        "examples": examples.report.fingerprint,
        "left_out": cast("Json", left_out),
        "max_rows": data.max_rows,
        "evenly": data.evenly,
        "seed": recipe.seed if data.max_rows is not None else None,
        "spec": cast("Json", _plain(examples.spec)),
        "style": recipe.style,
        "function_format": recipe.function_format,
        "loss_on": [*sorted(recipe.loss_on)],
        "both_strands": has_both,
        "code": _text_code_fingerprint(),
    }
    return TokenSource(
        examples=examples,
        rows=BothStrands(examples) if has_both else examples,
        render=functools.partial(_render, recipe=recipe, spec=examples.spec),
        fingerprint=sha256_of_json(fingerprint),
    )


class ExampleKeys:
    """Keys of a recipe's training examples; data are read when they are first asked for."""

    def __init__(self, recipe: Recipe) -> None:
        """Keep the recipe."""
        self._recipe = recipe
        self._rows: dict[str, Examples] = {}

    def key(self, task: str, index: int) -> str:
        """Return the key of the example at a position among those that were tokenised."""
        try:
            if task not in self._rows:
                found = (data for data in data_of(self._recipe, "train") if data.name == task)
                self._rows[task] = load_source(self._recipe, next(found)).rows
            return self._rows[task][index].key
        except PipelineError:
            # Data that can no longer be read must not hide what is told of them.
            return f"{task}/train/example {index}"


def load_tasks(
    recipe: Recipe, tokenizer: PreTrainedTokenizerBase, *, split: Split = "train"
) -> list[TokenizedTask]:
    """Return the tokens of every task of a recipe, from the cache or newly made.

    Tasks without a validation split are left out of that split.

    Raises:
        PipelineError: A task is unknown, its data cannot be read, or it cannot be rendered.
        PipelineErrors: That holds for several tasks.
    """
    errors: list[PipelineError] = []
    tasks: list[TokenizedTask] = []
    for data in data_of(recipe, split):
        try:
            source = load_source(recipe, data)
            tasks.append(
                tokenise_task(
                    source.rows,
                    source.render,
                    tokenizer,
                    fingerprint=source.fingerprint,
                    max_length=recipe.max_length,
                )
            )
        except PipelineErrors as several:
            errors.extend(several.errors)
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)
    return tasks


def call_notes(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """Return what to know of the format of calls that is trained on; empty where all is well.

    Training is right in any format, and others may read it; evaluation refuses what it cannot.
    """
    trains_calls = any(
        annotation.task == "function_calling"
        and annotation.full_settings().get("granular", "calls") == "calls"
        for annotation, _ in find_annotations(recipe)
    )
    if recipe.function_format != CHAT_TEMPLATE or not trains_calls:
        return []
    try:
        find_call_format(tokenizer)
    except ChatError as error:
        return [f"{error.message}; `taskloom eval` will refuse them. {error.hint}"]
    return []


def _render(example: TaskExample, *, recipe: Recipe, spec: TaskSpec) -> Conversation:
    dialect = DIALECTS.get(recipe.function_format)
    conversation = render_conversation(
        example,
        spec,
        style=recipe.style,
        render_calls=None if dialect is None else dialect.render,
    )
    return select_loss(conversation, example, spec, recipe.loss_on)


def _plain(spec: TaskSpec) -> dict[str, object]:
    return {**dataclasses.asdict(spec), "settings": dict(spec.settings)}


@functools.lru_cache(maxsize=1)
def _text_code_fingerprint() -> str:
    root = Path(pipeline.__file__).resolve().parent
    files = [file for name in _TEXT_PACKAGES for file in sorted((root / name).glob("*.py"))]
    return sha256_of_json([f"{file.name}:{sha256_of_file(file)}" for file in files])
