"""Which files of a dataset make up one split, decided from their names alone.

The same rules hold for a folder on disk and for a listing of the hub: first `data_files` of the
annotation, then the configs of the dataset card, then the usual names `[config/]split.ext`,
`[config/]split-00000-of-00002.ext`, `[config/]split/*.ext` and `[config/]data/split-*.ext`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from pipeline.errors import SourceError, did_you_mean, nearest_names
from pipeline.sources.card import Card, CardConfig

DATA_SUFFIXES = (".jsonl", ".json", ".parquet", ".csv", ".tsv", ".arrow", ".txt")
"""Formats looked for by name, best first; a `.gz` ending may follow the text ones."""

DataFiles = str | Sequence[str] | Mapping[str, "str | Sequence[str]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedSplit:
    """One split of one config of a dataset."""

    dataset: str
    """`owner/name`, for messages."""
    split: str
    """Name of the split at the source."""
    config: str | None = None
    data_dir: str | None = None
    data_files: DataFiles | None = None
    format: str | None = None
    """Format of the files where their names do not tell it."""
    reader_options: Mapping[str, Any] = field(default_factory=dict)
    """Options of the reader, such as `sep` of CSV files."""
    stream: bool = False
    """Whether files are read where they are, without being stored."""
    has_own_files: bool = False
    """Whether `data_files` are the user's own, which lie exactly where they are said to."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundSplit:
    """Files of a split, relative to the dataset's folder, in order."""

    files: tuple[str, ...]
    config: str | None
    """The config after defaults are applied."""
    reader_options: Mapping[str, Any] = field(default_factory=dict)


def find_split(wanted: WantedSplit, listing: Sequence[str], card: Card) -> FoundSplit | None:
    """Return the files of a split, or `None` if the names tell nothing about it.

    Args:
        wanted: The split.
        listing: All files of the dataset as `/`-separated paths relative to its folder.
        card: What the dataset card declares.

    Raises:
        SourceError: The config or split does not exist, or a named file is missing.
    """
    if wanted.data_files is not None:
        patterns = _patterns_of_split(wanted, wanted.data_files)
        return FoundSplit(files=match_files(wanted, patterns, listing), config=wanted.config)
    config = _card_config(wanted, card)
    if config is not None:
        name, values = config
        if values.patterns:
            patterns = _named(wanted, values.patterns)
            files = match_files(wanted, patterns, listing)
            return FoundSplit(files=files, config=name, reader_options=values.reader_options)
        files = _usual_files(
            wanted.split, listing, [values.data_dir or name, values.data_dir or ""]
        )
        if files:
            return FoundSplit(files=files, config=name, reader_options=values.reader_options)
    return _find_by_name(wanted, listing)


def check_relative(pattern: str, dataset: str) -> None:
    """Refuse a file pattern that could leave the dataset's folder.

    Raises:
        SourceError: `pattern` is absolute, or holds `..`, a backslash or a control character.
    """
    path = PurePosixPath(pattern)
    is_plain = not path.is_absolute() and ".." not in path.parts and "\\" not in pattern
    if not (is_plain and pattern.isprintable() and not pattern.startswith("~")):
        raise SourceError(
            "SRC109",
            f"file {pattern!r} is not a path inside the dataset's folder",
            where=dataset,
            hint="Give a path relative to the folder, without `..`",
        )


def is_address(name: str) -> bool:
    """Return whether a data file is given by its address on the web."""
    return name.startswith(("https://", "http://"))


def match_files(
    wanted: WantedSplit, patterns: Iterable[str], listing: Sequence[str]
) -> tuple[str, ...]:
    """Return the listed files that the patterns name, in pattern order, then by name.

    A file given by its web address is taken from the dataset's folder where it is there.

    Raises:
        SourceError: A pattern matches no file, or could leave the folder.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        pattern = _without_address(pattern, wanted.dataset)
        if is_address(pattern):
            name = PurePosixPath(urlsplit(pattern).path).name
            found[name if name in listing else pattern] = None
            continue
        check_relative(pattern, wanted.dataset)
        matcher = _glob(pattern.removeprefix("./"))
        matches = sorted(name for name in listing if matcher.fullmatch(name))
        if not matches:
            raise SourceError(
                "SRC108",
                f"no file {pattern!r} for split {wanted.split!r}",
                where=wanted.dataset,
                hint=did_you_mean(pattern, listing),
            )
        found.update(dict.fromkeys(matches))
    return tuple(found)


def has_named_files(wanted: WantedSplit, listing: Sequence[str]) -> bool:
    """Return whether any file is there that `data_files` names, for whichever split."""
    given = wanted.data_files or {}
    files = given if isinstance(given, Mapping) else {"train": given}
    for split in files:
        for pattern in _patterns_of_split(replace(wanted, split=split), files):
            pattern = _without_address(pattern, wanted.dataset)
            if is_address(pattern):
                pattern = PurePosixPath(urlsplit(pattern).path).name
            matcher = _glob(pattern.removeprefix("./"))
            if any(matcher.fullmatch(name) for name in listing):
                return True
    return False


def _without_address(pattern: str, dataset: str) -> str:
    """Cut `hf://datasets/owner/name[@revision]/` off a pattern of the same dataset."""
    prefix = re.compile(rf"hf://datasets/{re.escape(dataset)}(@[^/]+)?/")
    return prefix.sub("", pattern, count=1)


def _patterns_of_split(wanted: WantedSplit, data_files: DataFiles) -> list[str]:
    if isinstance(data_files, Mapping):
        named = {split: _as_list(entry) for split, entry in data_files.items()}
        patterns = _named(wanted, named)
    else:
        patterns = _named(wanted, {"train": _as_list(data_files)})
    if wanted.data_dir is None:
        return patterns
    return [p if "://" in p else f"{wanted.data_dir}/{p}" for p in patterns]


def _as_list(entry: str | Sequence[str]) -> list[str]:
    return [entry] if isinstance(entry, str) else list(entry)


def _named(wanted: WantedSplit, splits: Mapping[str, list[str]]) -> list[str]:
    if wanted.split not in splits:
        raise unknown_split(wanted, splits)
    return splits[wanted.split]


def unknown_split(wanted: WantedSplit, existing: Iterable[str]) -> SourceError:
    """Return the error for a split that is not among `existing`."""
    names = sorted(set(existing))
    label = f"{wanted.dataset} ({wanted.config})" if wanted.config else wanted.dataset
    return SourceError(
        "SRC104",
        f"no split {wanted.split!r}; there is {', '.join(names) or 'none'}",
        where=label,
        hint=_near(wanted.split, names) if names else "The folder holds no data files",
    )


def unknown_config(wanted: WantedSplit, existing: Iterable[str]) -> SourceError:
    """Return the error for a config that is missing or not among `existing`."""
    names = sorted(set(existing))
    if wanted.config is None:
        message = f"this dataset has several configs and none is named: {', '.join(names[:12])}"
        return SourceError("SRC103", message, where=wanted.dataset, hint="Set `config:`")
    return SourceError(
        "SRC103",
        f"no config {wanted.config!r}; there is {', '.join(names[:12])}",
        where=wanted.dataset,
        hint=_near(wanted.config, names),
    )


def _near(name: str, names: Sequence[str]) -> str:
    return did_you_mean(name, names) if nearest_names(name, names) else "Choose one of them"


def _card_config(wanted: WantedSplit, card: Card) -> tuple[str, CardConfig] | None:
    if not card.configs or wanted.data_dir:
        return None
    name = wanted.config or card.default_config()
    if name is not None and name in card.configs:
        return name, card.configs[name]
    raise unknown_config(wanted, card.configs)


def missing_split(wanted: WantedSplit, listing: Sequence[str]) -> SourceError:
    """Return the error that tells why the files hold no such split, and what they hold."""
    data = [name for name in listing if _is_data(name)]
    folders = _usual_folders(wanted)
    inside = [name for name in data if not folders[0] or name.startswith(f"{folders[0]}/")]
    at_root = [name for name in data if "/" not in name]
    if not (inside and folders[0]) and not at_root and len(data) > 1:
        configs = {name.split("/")[0] for name in data}
        if wanted.config not in configs:
            return unknown_config(wanted, configs)
    elif not inside:
        inside, folders = at_root, [""]
    return unknown_split(wanted, _split_names(inside, folders[0]))


def has_only_configs(listing: Sequence[str]) -> bool:
    """Return whether all data files lie in several subfolders, so that a config must be named."""
    folders = {name.split("/")[0] if "/" in name else "" for name in listing if _is_data(name)}
    return len(folders - {"data"}) > 1 and "" not in folders


def list_splits(listing: Sequence[str], card: Card) -> dict[str | None, tuple[str, ...]]:
    """Return the source splits by config; `None` stands for files outside of any config's folder.

    Args:
        listing: All files of the dataset as `/`-separated paths relative to its folder.
        card: What the dataset card declares.
    """
    data = [name for name in listing if _is_data(name) and not _is_about_data(name)]
    if card.configs:
        return {
            name: tuple(config.patterns)
            or tuple(sorted(_split_names(_inside(data, config.data_dir or name), "")))
            for name, config in card.configs.items()
        }
    found: dict[str | None, set[str]] = {}
    for name in data:
        top = name.rpartition("/")[0].split("/")[0]
        is_config = bool(top) and top != "data" and top not in _SPLIT_FOLDERS
        inner = name.removeprefix(f"{top}/") if is_config or top == "data" else name
        inner = inner.removeprefix("data/") if is_config else inner
        found.setdefault(top if is_config else None, set()).update(_split_names([inner], ""))
    return {config: tuple(sorted(splits)) for config, splits in found.items()}


_SPLIT_FOLDERS = ("train", "training", "validation", "valid", "dev", "val", "test", "testing")


def _is_about_data(name: str) -> bool:
    """Return whether a file tells of the data, as the hub's own metadata files do."""
    return PurePosixPath(name).name in {
        "dataset_infos.json",
        "dataset_info.json",
        "state.json",
        "taskloom.lock.json",
        "requirements.txt",
        "README.txt",
        "LICENSE.txt",
    }


def _inside(files: Iterable[str], folder: str) -> list[str]:
    prefix = f"{folder.strip('/')}/"
    return [name.removeprefix(prefix) for name in files if name.startswith(prefix)]


def _find_by_name(wanted: WantedSplit, listing: Sequence[str]) -> FoundSplit | None:
    files = _usual_files(wanted.split, listing, _usual_folders(wanted))
    return FoundSplit(files=files, config=wanted.config) if files else None


def _usual_folders(wanted: WantedSplit) -> list[str]:
    root = (wanted.data_dir or "").strip("/")
    if wanted.config in (None, "default"):
        return [root]
    return [f"{root}/{wanted.config}".lstrip("/"), root]


def _usual_files(split: str, listing: Sequence[str], folders: Sequence[str]) -> tuple[str, ...]:
    stem = re.escape(split)
    forms = (rf"{stem}", rf"{stem}-\d+-of-\d+", rf"{stem}/[^/]+", rf"data/{stem}-[^/]+")
    for folder in folders:
        prefix = re.escape(f"{folder}/") if folder else ""
        for form in forms:
            matcher = re.compile(rf"{prefix}{form}(\.[a-z]+)(\.gz)?")
            by_suffix: dict[str, list[str]] = {}
            for name in sorted(listing):
                match = matcher.fullmatch(name)
                if match and match[1] in DATA_SUFFIXES:
                    by_suffix.setdefault(match[1], []).append(name)
            for suffix in DATA_SUFFIXES:
                if suffix in by_suffix:
                    return tuple(by_suffix[suffix])
    return ()


def _is_data(name: str) -> bool:
    return PurePosixPath(name.removesuffix(".gz")).suffix in DATA_SUFFIXES


def _split_names(files: Sequence[str], folder: str) -> set[str]:
    names = {name.removeprefix(f"{folder}/" if folder else "") for name in files}
    return {re.split(r"[./]|-\d+-of-", name)[0] for name in names}


def _glob(pattern: str) -> re.Pattern[str]:
    """Translate a glob: `*` stays inside a folder, `**/` crosses folders."""
    text = ""
    for part in re.split(r"(\*\*/|\*\*|\*|\?)", pattern):
        text += {"**/": "(?:.+/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(
            part, re.escape(part)
        )
    return re.compile(text)
