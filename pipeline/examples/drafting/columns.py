"""What the columns of a dataset look like, seen from declared types and some rows."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from pipeline.annotations.paths import Path
from pipeline.sources.features import ClassNames, Feature, Features
from pipeline.types import Json

Form = Literal[
    "class", "text", "int", "float", "bool", "list", "struct", "structs", "json", "empty", "mixed"
]
"""`class`: an integer that stands for a recorded name; `list`: of scalars; `struct`: a map;
`structs`: a list of maps; `json`: text that holds a list or map; `empty`: nothing but nulls."""

MAX_SAMPLES = 400
MAX_DISTINCT = 3000
_IDENTIFIER = re.compile(
    r"(^|_)(id|ids|uid|uuid|guid|idx|index|key|url|link|path|file|filename|doi|pmid|pubid"
    r"|pairid|offset|offsets)$|id$",
    re.IGNORECASE,
)


@dataclass(slots=True)
class Column:
    """One column, or one member of a struct column."""

    name: str
    """Written as in a path of an annotation."""
    feature: Feature = None
    samples: list[Json] = field(default_factory=list)
    """Values of the first rows, nulls left out."""
    counts: Counter[str] | None = field(default_factory=Counter)
    """How often each scalar occurs, by its JSON text; `None` when there are too many."""
    num_rows: int = 0
    num_null: int = 0

    @property
    def form(self) -> Form:
        """What kind of values the column holds."""
        if isinstance(self.feature, ClassNames):
            return "class"
        kinds = {_form_of(value) for value in self.samples}
        if kinds == {"int", "float"}:
            return "float"
        if kinds == {"text", "json"}:
            return "text"
        if len(kinds) > 1:
            kinds.discard("empty")
        return kinds.pop() if len(kinds) == 1 else "empty" if not kinds else "mixed"

    @property
    def item_form(self) -> Form:
        """What kind of values the elements of a list column are."""
        if isinstance(self.feature, list) and isinstance(self.feature[0], ClassNames):
            return "class"
        return Column("", samples=self.items()[:2000]).form

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """Names recorded with the data, for a column or list of class labels."""
        feature = self.feature[0] if isinstance(self.feature, list) else self.feature
        return feature.names if isinstance(feature, ClassNames) else None

    @property
    def texts(self) -> list[str]:
        """The samples that are text."""
        return [value for value in self.samples if isinstance(value, str)]

    @property
    def mean_length(self) -> float:
        """Characters per sample, for text."""
        return sum(map(len, self.texts)) / len(self.texts) if self.texts else 0.0

    @property
    def num_distinct(self) -> int:
        """Number of different scalars; `MAX_DISTINCT` when there are too many to count."""
        return MAX_DISTINCT if self.counts is None else len(self.counts)

    @property
    def has_many_values(self) -> bool:
        """Whether most rows have a value of their own."""
        return self.counts is None or self.num_distinct > 0.3 * (self.num_rows - self.num_null)

    @property
    def is_identifier(self) -> bool:
        """Whether the name says that the values only number or address the rows."""
        return bool(_IDENTIFIER.search(self.name.split(".")[-1]))

    @property
    def word(self) -> str:
        """The last part of the name in small letters, without blanks and quotes at its ends."""
        return self.name.split(".")[-1].strip('" _').lower()

    def items(self) -> list[Json]:
        """Return the elements of the sampled lists."""
        return [item for value in self.samples if isinstance(value, list) for item in value]

    def add(self, value: Json) -> None:
        """Take one more row into account."""
        self.num_rows += 1
        if value is None:
            self.num_null += 1
            return
        if len(self.samples) < MAX_SAMPLES:
            self.samples.append(value)
        if self.counts is not None:
            scalars = value if isinstance(value, list) else [value]
            for item in scalars[:200]:
                if item is None or isinstance(item, list | dict):
                    continue
                self.counts[json.dumps(item, ensure_ascii=False)] += 1
            if len(self.counts) > MAX_DISTINCT:
                self.counts = None


def survey_columns(
    rows: Iterable[Mapping[str, Json]], names: Sequence[str], features: Features | None
) -> dict[str, Column]:
    """Return the columns, and the members of struct columns, by path.

    Args:
        rows: Some rows.
        names: The columns in source order.
        features: Declared types, where there are any.
    """
    columns: dict[str, Column] = {}
    for name in names:
        columns[name] = Column(str(Path(name)), (features or {}).get(name))
    for row in rows:
        for name, value in row.items():
            columns.setdefault(name, Column(str(Path(name)))).add(value)
            if isinstance(value, dict):
                for path, feature, member in _members(name, value, features):
                    columns.setdefault(path, Column(path, feature)).add(member)
    return {column.name: column for column in columns.values()}


def _members(
    name: str, value: Mapping[str, Json], features: Features | None
) -> Iterator[tuple[str, Feature, Json]]:
    declared = (features or {}).get(name)
    for key, member in value.items():
        inner = declared.get(key) if isinstance(declared, Mapping) else None
        yield str(Path(name, (key,))), inner, member


def _form_of(value: Json) -> Form:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "int" if value.is_integer() and abs(value) < 2**31 else "float"
    if isinstance(value, str):
        return "json" if holds_json(value) else "text"
    if isinstance(value, dict):
        return "struct"
    if isinstance(value, list):
        if not value:
            return "empty"
        return "structs" if all(isinstance(item, dict) for item in value) else "list"
    return "empty"


def holds_json(text: str) -> bool:
    """Return whether a text is a JSON list or map with something in it."""
    stripped = text.strip()
    if not (stripped.startswith(("[{", "[\n", "[ ", "{")) and stripped.endswith(("]", "}"))):
        return False
    try:
        return isinstance(json.loads(stripped), list | dict)
    except (ValueError, RecursionError):
        return False


def named(columns: Mapping[str, Column], *words: str) -> list[Column]:
    """Return the columns of these names, in the order of the names.

    A name fits when it is equal, or when it begins or ends with the word and an underscore.
    """
    found: dict[str, Column] = {}
    for word in words:
        for column in columns.values():
            if column.word == word:
                found.setdefault(column.name, column)
    for word in words:
        for column in columns.values():
            if column.word.endswith(f"_{word}") or column.word.startswith(f"{word}_"):
                found.setdefault(column.name, column)
    return list(found.values())


def free_texts(columns: Mapping[str, Column]) -> list[Column]:
    """Return the columns that hold texts to read, in source order: no ids, names or labels."""
    return [
        column
        for column in columns.values()
        if column.form == "text"
        and not column.is_identifier
        and column.mean_length >= 3
        and (column.has_many_values or column.mean_length > 60)
    ]
