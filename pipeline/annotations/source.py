"""Where the rows of an annotation come from, and which of them serve which split."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Annotated, Literal, Self

import pydantic
from pydantic import ConfigDict, Field

from pipeline.types import SPLITS, Split
from pipeline.yaml_reader import Problem, excerpt, problems_as_validation_error

Access = Literal["open", "gated", "private"]
Commercial = Literal["yes", "no", "unknown"]
Modality = Literal["text", "dna", "code", "table"]
FileFormat = Literal["jsonl", "json", "csv", "tsv", "parquet", "text"]

_STRICT = ConfigDict(extra="forbid", frozen=True, strict=True)
_URL = re.compile(r"(https?|hf)://[^\s]+")

Name = Annotated[str, Field(min_length=1, max_length=200)]


def spelled(pattern: str, what: str) -> pydantic.AfterValidator:
    """Return a validator that asks for text that `pattern` matches as a whole."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"{what} is needed")
        return value

    return pydantic.AfterValidator(check)


Language = Annotated[
    str, spelled(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", "a language code such as en or zh-Hans")
]
HubId = Annotated[
    str,
    Field(max_length=200),
    spelled(r"[A-Za-z0-9][\w.\-]*(/[A-Za-z0-9][\w.\-]*)?", "a dataset as owner/name"),
]
Url = Annotated[str, Field(max_length=300), spelled(r"https?://[^\s]+", "an address with https://")]


class _Strict(pydantic.BaseModel):
    model_config = _STRICT


class Source(_Strict):
    """A dataset on the hub or files on disk, with what one must know before using it."""

    hub: HubId | None = None
    """`owner/name`; looked for in the local mirror first."""
    local: bool = False
    """Whether there is nothing to fetch: the id names a folder of the local mirror only, and the
    hub, where somebody else could own the name, is never asked."""
    config: str | tuple[Name, ...] | None = None
    """One config, or several: the annotation then stands for one task per config."""
    config_column: Name | None = None
    """Path whose values are the names under `config`, of a source that has no configs but all
    tasks in one table."""
    revision: Name | None = None
    """Commit, tag, or `refs/convert/parquet`."""
    data_dir: Name | None = None
    """Folder inside the dataset."""
    data_files: str | tuple[Name, ...] | dict[str, str | tuple[Name, ...]] | None = None
    """Files of the dataset, or files per source split."""
    files: dict[str, str | tuple[Name, ...]] | None = None
    """Files per source split, relative to the annotation's own folder; instead of `hub`."""
    stream: bool | Annotated[int, Field(ge=1)] = False
    """Whether the rows are read where they are, without storing the files first; a number reads
    only so many rows of a split, the first ones. For hub data as Parquet or JSON Lines."""
    format: FileFormat | None = None
    """Format of `files` or `data_files` when their names do not tell it."""
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    """Between the columns of a CSV file."""
    column_names: tuple[Name, ...] | None = None
    """Columns of a CSV file without a header line."""
    licence: Name
    """SPDX id such as `cc-by-4.0`, or `unknown`."""
    commercial: Commercial = "unknown"
    """Whether the licence of the data allows commercial use."""
    language: tuple[Language, ...] = ()
    """Language codes such as `en` or `zh-Hans`."""
    modality: Modality = "text"
    citation: Name | None = None
    """DOI, arXiv id or short reference."""
    url: Url | None = None
    access: Access = "open"
    how_to_get: Annotated[str, Field(min_length=1, max_length=2000)] | None = None
    """What a user must do to get data that is not open."""

    @property
    def stream_rows(self) -> int | None:
        """Rows of a split that are read at most, for a stream that ends early."""
        return None if isinstance(self.stream, bool) else self.stream

    @pydantic.field_validator("config", "language", "column_names", mode="before")
    @classmethod
    def _as_tuple(cls, value: object, info: pydantic.ValidationInfo) -> object:
        if isinstance(value, str) and info.field_name == "language":
            return (value,)
        return tuple(value) if isinstance(value, list) else value

    @pydantic.field_validator("data_files", "files", mode="before")
    @classmethod
    def _file_lists(cls, value: object) -> object:
        if isinstance(value, dict):
            return {k: tuple(v) if isinstance(v, list) else v for k, v in value.items()}
        return tuple(value) if isinstance(value, list) else value

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if (self.hub is None) == (self.files is None):
            problems.append(Problem((), "ANN140", "exactly one of `hub` and `files` is needed"))
        if self.access != "open" and self.how_to_get is None:
            message = f"data that is {self.access} needs `how_to_get`"
            hint = "Say in a sentence how a user gets the data"
            problems.append(Problem(("access",), "ANN141", message, hint))
        if self.local and (self.hub is None or self.how_to_get is None):
            message = "data that is only local needs an id under `hub`, and `how_to_get`"
            hint = "Say in a sentence how a user gets the data"
            problems.append(Problem(("local",), "ANN141", message, hint))
        if isinstance(self.config, tuple) and len(set(self.config)) != len(self.config):
            problems.append(Problem(("config",), "ANN140", "a config is listed twice"))
        if self.config_column is not None and not isinstance(self.config, tuple):
            message = "`config_column` needs a list of its values under `config`"
            problems.append(Problem(("config_column",), "ANN140", message))
        for key in ("data_files", "files"):
            problems.extend(self._outside(key))
        if problems:
            raise problems_as_validation_error(problems)
        return self

    def _outside(self, key: Literal["data_files", "files"]) -> list[Problem]:
        given = self.data_files if key == "data_files" else self.files
        entries = given if isinstance(given, dict) else {"": given}
        found = []
        for split, names in entries.items():
            for name in (names,) if isinstance(names, str) else names or ():
                path = PurePosixPath(name)
                plain = not (path.is_absolute() or ".." in path.parts or "\\" in name)
                if not _URL.fullmatch(name) and not (plain and name.isprintable()):
                    message = (
                        f"{excerpt(name)} is no relative path and no https:// or hf:// address"
                    )
                    found.append(Problem((key, split) if split else (key,), "ANN142", message))
        return found


def is_test_name(name: str) -> bool:
    """Return whether a split or file is called a test split, as `test` or `data/test-00.csv` is."""
    return re.search(r"(^|[_.\-/ ])test($|[_.\-/ \d])", name, re.IGNORECASE) is not None


class Take(_Strict):
    """`{take: 0.1, from: train, seed: 0}`: rows moved out of a source split by a stable hash."""

    take: Annotated[float, Field(gt=0)]
    """Share below 1, or a number of rows."""
    source: Annotated[Name, Field(alias="from")]
    """Source split; whoever else names it gets what remains."""
    seed: Annotated[int, Field(ge=0)] = 0

    @pydantic.model_validator(mode="after")
    def _check_number(self) -> Self:
        if self.take > 1 and not self.take.is_integer():
            message = f"{self.take} is neither a share below 1 nor a whole number of rows"
            raise problems_as_validation_error([Problem(("take",), "ANN143", message)])
        return self


SplitSource = str | tuple[Name, ...] | Take | None


def split_source(value: object) -> object:
    """Turn the YAML form of one split into its typed form, for pydantic."""
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(value, dict):
        return Take.model_validate(value)
    if value is None or (isinstance(value, str) and value.strip()):
        return value
    message = "a split is a name, a list of names, null or {take: 0.1, from: train}"
    raise problems_as_validation_error([Problem((), "ANN143", message)])


_Source = Annotated[SplitSource, pydantic.PlainValidator(split_source)]


class SplitSources(_Strict):
    """Which source splits serve `train`, `validation` and `test`; nothing is invented."""

    train: _Source = None
    validation: _Source = None
    test: _Source = None

    def of(self, split: Split) -> SplitSource:
        """Return what serves `split`, `None` when nothing does."""
        found: SplitSource = getattr(self, split)
        return found

    def present(self) -> tuple[Split, ...]:
        """Return the splits that have a source."""
        return tuple(split for split in SPLITS if self.of(split) is not None)

    @pydantic.model_validator(mode="after")
    def _check(self) -> Self:
        problems = []
        if not self.present():
            problems.append(Problem((), "ANN143", "at least one split needs a source"))
        users: dict[str, Split] = {}
        for split in SPLITS:
            for name in self._whole(split):
                if name in users:
                    message = f"source split {excerpt(name)} already serves {users[name]}"
                    hint = "No row may serve two splits; cut a part out: {take: 0.1, from: NAME}"
                    problems.append(Problem((split,), "ANN144", message, hint))
                users[name] = split
        for name in self.named("train"):
            if is_test_name(name):
                message = f"source split {excerpt(name)} is a test split and may not be trained on"
                problems.append(Problem(("train",), "ANN145", message, "Name it under `test`"))
        if problems:
            raise problems_as_validation_error(problems)
        return self

    def _whole(self, split: Split) -> tuple[str, ...]:
        source = self.of(split)
        return () if isinstance(source, Take) else self.named(split)

    def source_splits(self) -> tuple[str, ...]:
        """Return all source splits that are read, each once."""
        return tuple(dict.fromkeys(name for split in SPLITS for name in self.named(split)))

    def named(self, split: Split) -> tuple[str, ...]:
        """Return the source splits that `split` reads."""
        source = self.of(split)
        if isinstance(source, Take):
            return (source.source,)
        return (source,) if isinstance(source, str) else source or ()
