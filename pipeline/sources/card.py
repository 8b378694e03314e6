"""What a dataset card says: which files make up each config and split, and the column types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pipeline.errors import PipelineError, SourceError
from pipeline.sources.features import Features, features_from_json, features_from_yaml
from pipeline.types import Json
from pipeline.yaml_reader import read_yaml

if TYPE_CHECKING:
    import yaml

_LAYOUT_KEYS = frozenset(
    {"config_name", "data_files", "data_dir", "default", "version", "description"}
)
_MAX_HEADER = 16 << 20
_MAX_DEPTH = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class CardConfig:
    """One config of a dataset."""

    patterns: Mapping[str, list[str]]
    """Glob patterns relative to the dataset's folder, by split."""
    data_dir: str | None = None
    """Folder below the dataset's folder that holds the files."""
    reader_options: Mapping[str, Any] = field(default_factory=dict)
    """Other keys of the config, such as `sep` of CSV files."""
    is_default: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """The part of a dataset card that concerns data files."""

    configs: Mapping[str, CardConfig]
    features: Mapping[str, Features]
    """Declared column types by config; may name configs without files."""

    def default_config(self) -> str | None:
        """Return the config that is meant when none is named, if there is one."""
        if len(self.configs) == 1:
            return next(iter(self.configs))
        marked = [name for name, config in self.configs.items() if config.is_default]
        return marked[0] if marked else ("default" if "default" in self.configs else None)

    def features_of(self, config: str | None) -> Features | None:
        """Return the declared column types of `config`, or `None`."""
        if config is None and len(self.features) == 1:
            return next(iter(self.features.values()))
        return self.features.get(config or "default")


NO_CARD = Card(configs={}, features={})


def read_card(path: Path) -> Card:
    """Return what the `README.md` at `path` declares; nothing if it has no header.

    Raises:
        SourceError: The header cannot be read.
    """
    header = _header(path) if path.is_file() else ""
    if "configs:" not in header and "dataset_info:" not in header:
        return NO_CARD
    try:
        value = _load_header(header, path)
        return Card(
            configs=dict(map(_config, _as_list(value.get("configs")))),
            features=dict(map(_features, _as_list(value.get("dataset_info")))),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise SourceError(
            "SRC110",
            f"the header of this dataset card cannot be read: {reason}",
            where=path,
            hint="Correct its `configs:` and `dataset_info:`, or remove them",
        ) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class CardFacts:
    """The part of a dataset card that a person would want to know first."""

    licence: str | None = None
    languages: tuple[str, ...] = ()
    title: str | None = None
    body: str = ""
    """The text below the header."""


def read_facts(path: Path) -> CardFacts:
    """Return licence, languages and title of a dataset card; what cannot be read is left out."""
    if not path.is_file():
        return CardFacts()
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        body = stream.read(_MAX_HEADER).replace("\r\n", "\n")
    header = _header(path)
    try:
        values = _load_header(header, path) if header.strip() else {}
    except (ValueError, TypeError, KeyError, AttributeError):
        values = {}
    title = values.get("pretty_name")
    return CardFacts(
        licence=next(iter(_words(values.get("license"))), None),
        languages=tuple(_words(values.get("language"))),
        title=title if isinstance(title, str) and title.strip() else None,
        body=body.removeprefix(f"---\n{header}"),
    )


def _words(value: Json) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    return [entry.strip() for entry in entries if isinstance(entry, str) and entry.strip()]


def _header(path: Path) -> str:
    with path.open(encoding="utf-8-sig", errors="replace") as stream:
        text = stream.read(_MAX_HEADER).replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return ""
    return text[4:].partition("\n---")[0]


def _load_header(header: str, path: Path) -> dict[str, Json]:
    try:
        value = read_yaml(header, name=str(path)).value
    except PipelineError:
        # Cards on the hub may use all of YAML, and be longer than our own files may be.
        value = _load_leniently(header)
    if not isinstance(value, dict):
        raise ValueError("it is no mapping")
    return value


def _load_leniently(header: str) -> Json:
    """Read a header as the hub's library does (safe YAML, any size), but no alias or deep nesting.

    Raises:
        ValueError: It cannot be read.
    """
    import yaml
    from huggingface_hub import RepoCard

    try:
        _check_events(yaml.parse(header, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))
        card: Any = RepoCard(f"---\n{header}\n---\n", ignore_metadata_errors=True)
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(str(error)) from error
    return cast("Json", card.data.to_dict())


def _check_events(events: Iterable[yaml.Event]) -> None:
    import yaml

    depth = 0
    for event in events:
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("aliases (`*name`) are not read")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > _MAX_DEPTH:
            raise ValueError(f"more than {_MAX_DEPTH} levels inside each other")


def _as_list(value: Json) -> list[dict[str, Any]]:
    entries = value if isinstance(value, list) else [] if value is None else [value]
    for entry in entries:
        if not isinstance(entry, dict):
            raise ValueError(f"a mapping is needed, got {str(entry)[:80]!r}")
    return cast("list[dict[str, Any]]", entries)


def _config(values: Mapping[str, Any]) -> tuple[str, CardConfig]:
    data_dir = values.get("data_dir")
    patterns = _patterns(values.get("data_files"))
    if data_dir:
        patterns = {
            split: [f"{data_dir}/{entry}" for entry in entries]
            for split, entries in patterns.items()
        }
    return str(values["config_name"]), CardConfig(
        patterns=patterns,
        data_dir=data_dir,
        reader_options={key: values[key] for key in values.keys() - _LAYOUT_KEYS},
        is_default=values.get("default") is True,
    )


def _patterns(value: Json) -> dict[str, list[str]]:
    """Return the file patterns by split, from any of the forms that the hub accepts."""
    if value is None:
        return {}
    if isinstance(value, dict):
        return {split: _texts(entry) for split, entry in value.items()}
    entries = value if isinstance(value, list) else [value]
    if all(isinstance(entry, dict) for entry in entries):
        named = cast("list[dict[str, Json]]", entries)
        return {str(entry["split"]): _texts(entry["path"]) for entry in named}
    return {"train": _texts(value)}


def _texts(value: Json) -> list[str]:
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str) for entry in entries):
        raise ValueError(f"file names are needed, got {str(value)[:80]!r}")
    return cast("list[str]", entries)


def _features(values: Mapping[str, Any]) -> tuple[str, Features]:
    name, features = str(values.get("config_name", "default")), values.get("features")
    if isinstance(features, dict):
        return name, features_from_json(features)
    return name, features_from_yaml(features) if features else {}
