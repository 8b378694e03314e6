"""From a recipe's tasks to tokens: the part of a run that needs no model."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch

import pipeline
from pipeline.annotations import DatasetAnnotation
from pipeline.errors import PipelineError, PipelineErrors, raise_all
from pipeline.examples.cache import load_examples
from pipeline.examples.normalise import splits_made
from pipeline.files import sha256_of_file, sha256_of_json
from pipeline.functions.dialects import DIALECTS
from pipeline.mixture.batches import BatchShape
from pipeline.mixture.build import MixtureSettings
from pipeline.mixture.packing import build_row, pack_lengths, pad_row
from pipeline.mixture.rates import RateRule
from pipeline.mixture.tokens import TokenizedTask, tokenise_task
from pipeline.recipe import Recipe
from pipeline.sources.data_root import resolve_data_root
from pipeline.templates.styles import render_conversation
from pipeline.training.early_checks import find_annotations
from pipeline.types import Conversation, Json, Split, TaskExample, TaskSpec

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

VALIDATION_ROWS = 512
"""Rows per task whose loss is measured during training."""

_TEXT_PACKAGES = ("templates", "functions")
"""Code that decides over the text of an example."""


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
    for annotation, entry in find_annotations(recipe):
        if split == "validation" and split not in splits_made(annotation):
            continue
        limit = entry.max_train_rows if split == "train" else VALIDATION_ROWS
        try:
            tasks.append(_load_task(recipe, annotation, tokenizer, split=split, max_rows=limit))
        except PipelineErrors as several:
            errors.extend(several.errors)
        except PipelineError as error:
            errors.append(error)
    raise_all(errors)
    return tasks


def mixture_settings(recipe: Recipe) -> MixtureSettings:
    """Return what a recipe says about the mixture and the length of the run."""
    mixture = recipe.mixture
    weights = {entry.task: entry.weight for entry in recipe.tasks if entry.weight is not None}
    return MixtureSettings(
        max_length=recipe.max_length,
        rule=RateRule(
            policy=mixture.policy,
            temperature=mixture.temperature,
            cap=mixture.cap,
            weights=weights or None,
            max_epochs=mixture.max_epochs_per_task,
        ),
        units=mixture.units,
        packing=recipe.packing,
        seed=recipe.seed,
        max_steps=recipe.max_steps if recipe.max_steps > 0 else None,
        num_epochs=recipe.num_train_epochs if recipe.max_steps < 0 else None,
    )


def batch_shape(recipe: Recipe, *, world_size: int, rank: int) -> BatchShape:
    """Return how rows are divided over processes and accumulation steps."""
    return BatchShape(
        per_device_batch_size=recipe.per_device_train_batch_size,
        world_size=world_size,
        rank=rank,
        gradient_accumulation_steps=recipe.gradient_accumulation_steps,
    )


def validation_batches(
    tasks: Sequence[TokenizedTask],
    task_names: Sequence[str],
    *,
    rows_per_batch: int,
    max_length: int,
    pad_token_id: int,
) -> list[dict[str, torch.Tensor]]:
    """Return all examples of the tasks, packed into batches `[B, T]`, in a fixed order.

    Args:
        tasks: Validation examples; their names are in `task_names`.
        task_names: Names behind the task ids of the training batches.
        rows_per_batch: Rows of a batch; the last one may have fewer.
        max_length: Tokens per row.
        pad_token_id: Fills the ends of short rows.
    """
    examples = [
        (*task.ids_and_mask(index), task_names.index(task.name))
        for task in tasks
        for index in range(len(task))
    ]
    rows = [
        build_row([examples[index] for index in members])
        for members in pack_lengths([len(ids) for ids, _, _ in examples], max_length)
    ]
    batches = []
    for first in range(0, len(rows), rows_per_batch):
        group = rows[first : first + rows_per_batch]
        length = max(len(row) for row in group)
        padded = [pad_row(row, length, pad_token_id=pad_token_id) for row in group]
        batches.append(
            {
                name: torch.stack([torch.from_numpy(getattr(row, name)) for row in padded])
                for name in ("input_ids", "labels", "position_ids", "task_ids")
            }
        )
    return batches


def _load_task(
    recipe: Recipe,
    annotation: DatasetAnnotation,
    tokenizer: PreTrainedTokenizerBase,
    *,
    split: Split,
    max_rows: int | None,
) -> TokenizedTask:
    examples = load_examples(
        annotation,
        split,
        data_root=resolve_data_root(recipe.data_root),
        max_rows=max_rows,
        seed=recipe.seed,
    )
    render = _renderer(recipe, examples.spec)
    fingerprint: Json = {
        "examples": examples.report.fingerprint,
        "max_rows": max_rows,
        "seed": recipe.seed if max_rows is not None else None,
        "spec": cast("Json", _plain(examples.spec)),
        "style": recipe.style,
        "function_format": recipe.function_format,
        "code": _text_code_fingerprint(),
    }
    return tokenise_task(
        examples,
        render,
        tokenizer,
        fingerprint=sha256_of_json(fingerprint),
        max_length=recipe.max_length,
    )


def _renderer(recipe: Recipe, spec: TaskSpec) -> Callable[[TaskExample], Conversation]:
    dialect = DIALECTS.get(recipe.function_format)
    return functools.partial(
        render_conversation,
        spec=spec,
        style=recipe.style,
        render_calls=None if dialect is None else dialect.render,
    )


def _plain(spec: TaskSpec) -> dict[str, object]:
    return {**dataclasses.asdict(spec), "settings": dict(spec.settings)}


@functools.lru_cache(maxsize=1)
def _text_code_fingerprint() -> str:
    root = Path(pipeline.__file__).resolve().parent
    files = [file for name in _TEXT_PACKAGES for file in sorted((root / name).glob("*.py"))]
    return sha256_of_json([f"{file.name}:{sha256_of_file(file)}" for file in files])
