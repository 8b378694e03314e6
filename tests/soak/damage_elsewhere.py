"""Flipped bits and cut files in adapters and caches: refused by name, or made anew."""

from __future__ import annotations

import contextlib
import functools
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import torch

from pipeline.adapters.continuing import start_adapter_from
from pipeline.adapters.merging.factors import load_expert
from pipeline.adapters.registry import load_adapter
from pipeline.annotations.schema import load_annotation
from pipeline.errors import AdapterError
from pipeline.examples.cache import load_examples
from pipeline.examples.data_labels import label_names
from pipeline.files import cache_root, folder_fault
from pipeline.mixture.tokens import tokenise_task
from pipeline.models import dna_base
from pipeline.models.embedded import build
from pipeline.models.loading import load_model
from pipeline.recipe import Recipe
from pipeline.sources.generated import mirror
from pipeline.templates.styles import render_conversation
from pipeline.training.leakage import leakage_of
from pipeline.training.recipe_tokenizer import token_extension
from pipeline.training.run import run_training
from tests.fixtures.tiny_models import save_tiny_model
from tests.fixtures.tiny_recipe import write_tiny_recipe
from tests.soak.damage import damage_one
from tests.soak.outcome import Outcome, timed
from tests.unit.chat.formats import FORMATS

_OPEN_LABELS = """schema_version: 1
id: tiny/open
title: Colour of a thing
task: classification
source: {hub: tiny/colour, licence: cc0-1.0, commercial: "yes", language: en}
splits: {train: train, validation: validation, test: test}
fields: {text: text, target: label}
labels: from_data
instruction: Name the colour.
"""


def run_adapters(folder: Path, *, flips: int, cuts: int, seed: int = 0) -> Outcome:
    """Damage the adapter that a run wrote, one bit or one file's end at a time, and use it."""
    chance = random.Random(seed)
    recipe = write_tiny_recipe(
        folder,
        tasks=["tiny/colour"],
        run_name="damaged",
        max_steps=2,
        save_strategy="no",
        per_device_train_batch_size=2,
    )
    adapter = run_training(recipe).adapter
    base = load_model(str(folder / "base"))
    before = {name: value.clone() for name, value in base.state_dict().items()}
    uses: dict[str, Callable[[], object]] = {
        "loaded": lambda: load_adapter(base, adapter),
        "trained on": lambda: start_adapter_from(base, adapter, recipe.adapter_settings),
        "merged": lambda: load_expert("mine", adapter),
    }
    files = sorted(path for path in adapter.iterdir() if path.is_file())
    with timed("damaged_adapters") as outcome:
        for number in range(flips + cuts):
            path, good, what = damage_one(files, chance, is_flip=number < flips)
            use = chance.choice(sorted(uses))
            told = _refusal(uses[use])
            outcome.cases += 1
            case = f"{path.name}, {what}, {use}"
            outcome.check(told is not None, f"{case}: not detected")
            # Damage of the manifest looks as if a file that it names had changed.
            named = path.name == "manifest.json" or path.name in (told or "")
            outcome.check(named, f"{case}: told {told}")
            path.write_bytes(good)
        same = all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
        outcome.check(same, "the base was changed")
        outcome.check(_refusal(uses["loaded"]) is None, "the whole one is not loaded")
    return outcome


def run_caches(folder: Path, *, flips: int, cuts: int, seed: int = 0) -> Outcome:
    """Damage what caches hold, one bit or one file's end at a time; it must be made anew."""
    chance = random.Random(seed)
    with timed("damaged_caches") as outcome, _quick_builders(folder / "copies"):
        caches = _caches(folder)
        expected = {cache.name: cache.use() for cache in caches}
        for number in range(flips + cuts):
            cache = caches[number % len(caches)]
            path, good, what = damage_one(cache.files(), chance, is_flip=number < flips)
            outcome.cases += 1
            case = f"{path.relative_to(cache_root())}, {what}"
            outcome.check(cache.use() == expected[cache.name], f"{case}: was used")
            whole = path.read_bytes() == good or folder_fault(_sealed_folder(path)) is None
            outcome.check(whole, f"{case}: was not made anew")
    return outcome


@dataclass(frozen=True, slots=True)
class _Cache:
    name: str
    """Folder in the root of caches."""
    use: Callable[[], object]
    """Makes what is cached, unless it is there, and returns what can be compared of it."""

    def files(self) -> list[Path]:
        """Return all files that hold anything."""
        found = (cache_root() / self.name).rglob("*")
        return sorted(path for path in found if path.is_file() and path.stat().st_size)


def _sealed_folder(path: Path) -> Path:
    """Return the folder whose manifest tells of a file, or that of the file where none does."""
    sealed = (folder for folder in path.parents if (folder / "manifest.json").is_file())
    return next(sealed, path.parent)


def _caches(folder: Path) -> list[_Cache]:
    recipe = write_tiny_recipe(folder, tasks=["tiny/colour"], decontaminate="report")
    rows = Path(str(recipe.data_root))
    colour = load_annotation(Path(recipe.annotations[0]) / "general" / "colour.yaml")
    (folder / "open.yaml").write_text(_OPEN_LABELS)
    labelled = load_annotation(folder / "open.yaml")
    tokenizer = FORMATS["embedded"]()
    dna = Recipe.model_validate(
        {
            "model_name_or_path": "dna-200k",
            # One catalogue for both recipes: it is read once.
            "annotations": recipe.annotations,
            "tasks": ["gue/emp_H3"],
            "data_root": "embedded",
            "dna_unit": "bpe",
            "dna_vocabulary_size": 16,
        }
    )

    def examples() -> object:
        return [list(load_examples(colour, name, data_root=rows)) for name in ("train", "test")]

    def tokens() -> object:
        examples = load_examples(colour, "train", data_root=rows)
        made = tokenise_task(
            examples,
            lambda example: render_conversation(example, examples.spec),
            tokenizer,
            fingerprint="soak",
            max_length=192,
        )
        return [[each.tolist() for each in made.ids_and_mask(index)] for index in range(len(made))]

    def overlap() -> object:
        leakage = leakage_of(recipe)
        return leakage and (leakage.report.to_json(), leakage.matches.read_text())

    return [
        _Cache("examples/tiny/colour", examples),
        _Cache("tokens", tokens),
        _Cache("overlap", overlap),
        _Cache("labels", lambda: label_names(labelled, {}, rows)),
        _Cache("dna-merges", lambda: token_extension(dna).dna_merges),
        _Cache("embedded-base", lambda: _contents(build.ensure_embedded_base(progress=False))),
        _Cache("dna-base", lambda: _contents(dna_base.ensure_dna_base("dna-200k"))),
        _Cache("embedded-data", lambda: _contents(mirror.ensure_generated_mirror())),
    ]


def _contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@contextlib.contextmanager
def _quick_builders(folder: Path) -> Iterator[None]:
    """Build by copying: the embedded base is trained for minutes, its data take seconds."""
    base, data = folder / "base", folder / "data"
    save_tiny_model(base)
    mirror.write_generated_mirror(data)

    def copy(source: Path, staged: Path, *args: object, **options: object) -> None:
        shutil.copytree(source, staged, dirs_exist_ok=True)

    with (
        mock.patch.object(build, "build_embedded_base", functools.partial(copy, base)),
        mock.patch.object(dna_base, "_write", functools.partial(copy, base)),
        mock.patch.object(mirror, "write_generated_mirror", functools.partial(copy, data)),
    ):
        yield


def _refusal(use: Callable[[], object]) -> str | None:
    try:
        use()
    except AdapterError as error:
        return str(error) if error.code == "ADP005" else None
    return None
