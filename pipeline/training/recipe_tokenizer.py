"""The tokenizer of a recipe: its base's, with the tokens that the recipe adds."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.chat.dna import DNA_SPAN
from pipeline.chat.dna_bpe import Merge, learn_merges
from pipeline.chat.extension import SETTINGS_FILE, TokenExtension
from pipeline.errors import AdapterError, MixtureError
from pipeline.examples.cache import load_examples
from pipeline.files import cache_root, read_sealed_json, sha256_of_json, write_sealed_json
from pipeline.models.loading import load_tokenizer
from pipeline.recipe import Recipe
from pipeline.sources.data_root import resolve_data_root
from pipeline.templates.styles import render_conversation
from pipeline.training.early_checks import find_annotations
from pipeline.types import Examples, Json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_MERGES_VERSION = 1
"""Raise when the same sequences give other merges."""


def load_recipe_tokenizer(recipe: Recipe) -> PreTrainedTokenizerBase:
    """Return the tokenizer that a recipe trains and is scored with.

    Raises:
        ModelError: It cannot be loaded.
        PipelineError: A task is unknown.
    """
    template = recipe.chat_template_path
    return load_tokenizer(
        recipe.model_name_or_path,
        revision=recipe.model_revision,
        chat_template_path=None if template is None else Path(template),
        extension=token_extension(recipe),
    )


def find_new_token_ids(recipe: Recipe) -> list[int]:
    """Return the ids of the tokens that the base's own tokenizer lacks.

    Raises:
        PipelineError: As for `load_recipe_tokenizer`.
    """
    own = load_tokenizer(recipe.model_name_or_path, revision=recipe.model_revision)
    return token_extension(recipe).add_to(own)


def token_extension(recipe: Recipe) -> TokenExtension:
    """Return the tokens that a recipe adds to its base.

    Raises:
        PipelineError: A task is unknown, or has no readable sequences to learn `bpe` from.
    """
    labels = dict.fromkeys(
        label
        for annotation, _ in (find_annotations(recipe) if recipe.label_tokens else ())
        for label in annotation.spec().labels or ()
    )
    return TokenExtension(
        dna_unit=recipe.dna_unit,
        dna_merges=_learned_merges(recipe) if recipe.dna_unit == "bpe" else (),
        tasks=tuple(entry.task for entry in recipe.tasks) if recipe.task_tokens else (),
        labels=tuple(labels),
    )


def check_earlier_tokens(recipe: Recipe, tokenizer: PreTrainedTokenizerBase) -> None:
    """Check that an adapter that a recipe goes on with was trained with the same tokens.

    Args:
        recipe: What is trained.
        tokenizer: From `load_recipe_tokenizer`.

    Raises:
        AdapterError: It was not, so ids would mean other tokens, or have no rows (ADP026).
    """
    earlier = recipe.adapter.start_from or recipe.adapter.extend
    if earlier is None:
        return
    if (Path(earlier) / SETTINGS_FILE).is_file():
        is_same = TokenExtension.read(Path(earlier)) == TokenExtension.of(tokenizer)
    else:
        # Made elsewhere, with the tokens of its base.
        is_same = not find_new_token_ids(recipe)
    if not is_same:
        raise AdapterError(
            "ADP026",
            "the adapter was trained with other tokens than this run",
            where=earlier,
            hint="Set `dna_unit` as the adapter's run has it",
        )


def _learned_merges(recipe: Recipe) -> tuple[Merge, ...]:
    """Return the byte-pair merges of the training sequences, from the cache or learned now."""
    sources = [
        load_examples(
            annotation,
            "train",
            data_root=resolve_data_root(recipe.data_root),
            num_proc=recipe.dataset_num_proc,
        )
        for annotation, _ in find_annotations(recipe)
        if annotation.source.modality == "dna"
    ]
    learned_from: list[Json] = [examples.report.fingerprint for examples in sources]
    name = sha256_of_json([_MERGES_VERSION, recipe.dna_vocabulary_size, learned_from])[:24]
    file = cache_root() / "dna-merges" / f"{name}.json"
    stored = read_sealed_json(file)
    if stored is None:
        merges = learn_merges(_sequences(sources), size=recipe.dna_vocabulary_size)
        if not merges:
            raise MixtureError(
                "MIX008",
                "no task has DNA to learn units from",
                where="dna_unit",
                hint="Use kmer3 or kmer6, or add a DNA task",
            )
        stored = [list(merge) for merge in merges]
        write_sealed_json(file, stored)
    return tuple((left, right) for left, right in cast("list[tuple[str, str]]", stored))


def _sequences(sources: Iterable[Examples]) -> Iterator[str]:
    """Yield the sequences of all tasks in turn, so that each has its share of the first ones."""
    rows = ([(example, examples.spec) for example in examples] for examples in sources)
    for row in itertools.chain.from_iterable(itertools.zip_longest(*rows)):
        if row is not None:
            for message in render_conversation(*row).messages:
                yield from DNA_SPAN.findall(message.content)
