"""Reading what a draft needs: which splits there are, some rows, and all values of a column."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.annotations.paths import Every, Step, parse_path
from pipeline.errors import SourceError, did_you_mean
from pipeline.examples.drafting.columns import Column, survey_columns
from pipeline.sources.card import CardFacts, read_facts
from pipeline.sources.folder import FolderPlace, Place
from pipeline.sources.layout import WantedSplit, list_splits
from pipeline.sources.reading import SourceSplit, open_split
from pipeline.sources.rows import open_dataset
from pipeline.types import SPLITS, Json, Split

SAMPLE_ROWS = 20_000
"""First rows that are looked at; labels are looked up in all of them."""

_SLOT_WORDS: dict[Split, tuple[str, ...]] = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev", "development", "eval"),
    "test": ("test", "testing"),
}


@dataclass(slots=True, kw_only=True)
class Survey:
    """What a dataset shows."""

    hub: str | None
    """`owner/name`, `None` for files on disk."""
    config: str | None
    revision: str | None
    is_gated: bool
    facts: CardFacts
    origin: str
    slots: dict[Split, list[str]]
    """Source splits that serve train, validation and test."""
    unused: list[str]
    """Source splits that serve none."""
    splits: dict[str, SourceSplit]
    columns: dict[str, Column]
    rows: list[dict[str, Json]]
    """First rows of the first split."""
    files: dict[str, list[str]] = field(default_factory=dict)
    """Files by source split, for data that is not on the hub."""
    other_configs: tuple[str, ...] = ()

    def values(self, path: str, split: str) -> Counter[str]:
        """Return how often each scalar occurs at a path, in all rows of a source split.

        Lists are counted by their elements, values by their JSON text.
        """
        parsed = parse_path(path)
        counts: Counter[str] = Counter()
        for _, batch in self.splits[split].batches([parsed.root]):
            for _, row in batch.rows():
                value = _at(row.get(parsed.root), parsed.steps)
                for item in value if isinstance(value, list) else [value]:
                    counts[json.dumps(item, ensure_ascii=False)] += 1
        return counts


def survey_hub(dataset: str, config: str | None, data_root: Path | None) -> Survey:
    """Look at a dataset of the mirror or the hub.

    Args:
        dataset: `owner/name`.
        config: Its config; may be left out where there is one only, or a default.
        data_root: Local mirror, which is looked into first.

    Raises:
        SourceError: It cannot be found or read, or a config must be chosen.
    """
    place = open_dataset(dataset, None, data_root)
    card = place.card()
    found = list_splits(place.listing(), card)
    chosen = _chosen_config(dataset, config, found, card.default_config())
    # A card with a single config needs no name for it.
    is_needed = chosen is not None and not (len(found) == 1 and chosen == "default")
    wanted = {
        name: WantedSplit(dataset=dataset, split=name, config=chosen) for name in found[chosen]
    }
    facts = CardFacts()
    if "README.md" in place.listing():
        facts = read_facts(place.fetch("README.md"))
    survey = _survey(place, wanted, facts)
    survey.hub, survey.config = dataset, chosen if is_needed else None
    survey.other_configs = tuple(name for name in found if name not in (chosen, None) and name)
    return survey


def survey_files(data: Path, base: Path) -> Survey:
    """Look at a file, or a folder of files, on disk.

    Args:
        data: The file or folder.
        base: Folder that the annotation will lie in; files are named relative to it.

    Raises:
        SourceError: `data` does not lie below `base`, or cannot be read.
    """
    folder = data.resolve() if data.is_dir() else data.resolve().parent
    if not folder.is_relative_to(base.resolve()):
        raise SourceError(
            "SRC151",
            f"the data are not below the annotation's folder {base}",
            where=data,
            hint="Files are named relative to the annotation: give --out in a folder above them",
        )
    prefix = folder.relative_to(base.resolve()).as_posix()
    here = "" if prefix == "." else f"{prefix}/"
    files: dict[str, list[str]] = {}
    if data.is_dir():
        place = FolderPlace(folder)
        names = next(iter(list_splits(place.listing(), place.card()).values()), ())
        for name in names:
            found = _files_of(place, WantedSplit(dataset=str(data), split=name))
            files[name] = [f"{here}{file}" for file in found]
    else:
        files[data.name.split(".")[0]] = [f"{here}{data.name}"]
    wanted = {name: WantedSplit(dataset=str(data), split=name, data_files=files) for name in files}
    survey = _survey(FolderPlace(base), wanted, read_facts(folder / "README.md"))
    survey.files = files
    return survey


def _files_of(place: Place, wanted: WantedSplit) -> Sequence[str]:
    from pipeline.sources.reading import locate_split

    return locate_split(place, wanted).files


def _survey(place: Place, wanted: Mapping[str, WantedSplit], facts: CardFacts) -> Survey:
    slots, unused = assign_splits(list(wanted))
    used = [name for names in slots.values() for name in names]
    splits = {name: open_split(place, wanted[name]) for name in used}
    shared = (
        set.intersection(*(set(split.columns()) for split in splits.values())) if splits else {}
    )
    if not shared:
        raise SourceError(
            "SRC152",
            "holds no rows that can be read",
            where=place.origin,
            hint="Data files are .jsonl, .json, .parquet, .csv, .tsv or .arrow",
        )
    first = splits[used[0]]
    rows = [
        row
        for _, row in itertools.islice(
            (entry for _, batch in first.batches(None) for entry in batch.rows()), SAMPLE_ROWS
        )
    ]
    return Survey(
        hub=None,
        config=None,
        revision=place.revision,
        is_gated=bool(getattr(place, "is_gated", False)),
        facts=facts,
        origin=place.origin,
        slots=slots,
        unused=unused,
        splits=splits,
        columns={
            name: column
            for name, column in survey_columns(rows, first.columns(), first.features).items()
            if parse_path(name).root in shared
        },
        rows=rows,
    )


def assign_splits(names: Sequence[str]) -> tuple[dict[Split, list[str]], list[str]]:
    """Return which source splits serve train, validation and test, and those that serve none.

    A split of exactly such a name serves alone; otherwise all whose names hold the word do. Where
    no name tells anything, the first split is taken for training.
    """
    slots: dict[Split, list[str]] = {}
    for slot in SPLITS:
        words = _SLOT_WORDS[slot]
        exact = [name for name in names if name.lower() in words]
        holding = [name for name in names if set(re.split(r"[_\-. ]", name.lower())) & set(words)]
        if slot == "train":
            # The name of a test split may hold the word, as in `test_of_train`.
            holding = [name for name in holding if "test" not in name.lower()]
        taken = [name for entries in slots.values() for name in entries]
        slots[slot] = [name for name in exact[:1] or holding if name not in taken]
    if not any(slots.values()) and names:
        slots["train"] = [names[0]]
    used = {name for entries in slots.values() for name in entries}
    return (
        {slot: entries for slot, entries in slots.items() if entries},
        [name for name in names if name not in used],
    )


def _chosen_config(
    dataset: str,
    config: str | None,
    found: Mapping[str | None, tuple[str, ...]],
    default: str | None,
) -> str | None:
    names = sorted(name for name in found if name)
    if config is not None:
        if config not in found:
            raise SourceError(
                "SRC103",
                f"no config {config!r}",
                where=dataset,
                hint=did_you_mean(config, names) if names else "It has no configs: leave it out",
            )
        return config
    if not found:
        raise SourceError(
            "SRC152",
            "holds no data files that are read",
            where=dataset,
            hint="Look at its files on its page, or use a copy with data files",
        )
    if default in found:
        return default
    if None in found or len(found) == 1:
        return None if None in found else next(iter(found))
    telling = [name for name, splits in found.items() if set(assign_splits(splits)[0]) - {None}]
    if len(telling) == 1:
        return telling[0]
    raise SourceError(
        "SRC103",
        f"has several configs: {', '.join(names[:20])}{', ...' if len(names) > 20 else ''}",
        where=dataset,
        hint="Choose one with --config",
    )


def _at(value: Json, steps: Sequence[Step]) -> Json:
    for position, step in enumerate(steps):
        if isinstance(step, Every):
            rest = steps[position + 1 :]
            return [_at(item, rest) for item in value] if isinstance(value, list) else None
        value = value.get(str(step)) if isinstance(value, dict) else None
    return value
