"""What a guess consists of, and the parts that several kinds of task share: label columns."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.examples.drafting.columns import Column
from pipeline.types import Json, TaskKind

Columns = Mapping[str, Column]

LABEL_WORDS = (
    "label",
    "labels",
    "gold_label",
    "gold",
    "target",
    "class",
    "coarse_label",
    "intent",
    "sentiment",
    "emotion",
    "stance",
    "final_decision",
    "decision",
    "verdict",
    "category",
    "topic",
    "relation",
    "entailment",
    "value",
    "rating",
    "score",
    "tool",
    "api",
    "answer",
    "output",
    "type",
    "domain",
    "y",
)
"""Names that label columns have in public datasets, most telling first."""
META_WORDS = frozenset(
    {"genre", "source", "split", "language", "lang", "dataset", "subset", "title", "author", "name"}
)
MAX_LABELS = 400


@dataclass(slots=True)
class Guess:
    """A kind of task that a dataset could be, with the parts of its annotation."""

    kind: TaskKind
    fields: dict[str, Any]
    instruction: str = ""
    reason: str = ""
    """What in the columns speaks for it, in a few words."""
    rows: list[Json] = field(default_factory=list)
    settings: dict[str, Json] = field(default_factory=dict)
    metrics: list[str] = field(default_factory=list)
    truncate: dict[str, Json] | None = None
    label_path: str | None = None
    """Column whose values are the labels; they are looked up in all rows."""
    label_names: tuple[str, ...] | None = None
    """Names recorded with the data for that column."""
    doubts: dict[str, list[str]] = field(default_factory=dict)
    """What to look at, by the key of the annotation that it is about."""

    def doubt(self, key: str, text: str) -> None:
        """Note something that a person should look at."""
        self.doubts.setdefault(key, []).append(text)


Rule = Callable[[Columns, bool], "Guess | None"]
"""Looks whether a kind fits; the flag says that the user asked for this kind."""


def label_column(columns: Columns, *, without: Sequence[str] = (), forced: bool) -> Column | None:
    """Return the column that most looks like a label, `None` if none does."""
    scored = [
        (score, -position, column)
        for position, column in enumerate(columns.values())
        if column.name not in without and (score := label_score(column, forced=forced)) > 0
    ]
    return max(scored, key=lambda entry: entry[:2])[2] if scored else None


def label_score(column: Column, *, forced: bool = False) -> float:
    """Return how much a column of scalars looks like a label; 0 when it cannot be one."""
    form = column.form
    if form not in {"class", "text", "int", "bool"} or column.is_identifier:
        return 0.0
    num_seen = column.num_rows - column.num_null
    if form == "text" and (column.mean_length > 60 or any("\n" in text for text in column.texts)):
        return 0.0
    if form != "class":
        few = column.num_distinct <= min(MAX_LABELS, max(2, 0.4 * num_seen))
        if column.num_distinct < 2 or not few:
            return 0.0
    words = [word for word in LABEL_WORDS if is_word(column.word, word)]
    rank = LABEL_WORDS.index(words[0]) if words else len(LABEL_WORDS)
    score = (5.0 if form == "class" else 0.0) + 3.0 * (1 - rank / len(LABEL_WORDS))
    if is_meta(column):
        score *= 0.2
    if not words and form != "class":
        # Any column of few values may be a label, but rather one of few than of many.
        score = (
            0.3 / column.num_distinct if (form != "int" or forced) else 0.1 / column.num_distinct
        )
    return score


def is_meta(column: Column) -> bool:
    """Return whether the name says that the column tells about the row, not about its meaning."""
    return column.word in META_WORDS


def is_word(name: str, word: str) -> bool:
    """Return whether `name` is `word`, or has it at one end."""
    return name == word or name.endswith(f"_{word}") or name.startswith(f"{word}_")


def is_clear_label(column: Column) -> bool:
    """Return whether nobody would doubt that the column is the label."""
    return column.form == "class" or any(is_word(column.word, w) for w in LABEL_WORDS[:12])


def set_labels(guess: Guess, column: Column) -> None:
    """Make `column` the target of a guess, and note what is doubtful about it."""
    guess.fields["target"] = column.name
    guess.label_path, guess.label_names = column.name, column.class_names
    if not is_clear_label(column):
        guess.doubt("fields", f"target: {column.name} was chosen because it has few values")


def labels_from_values(values: Mapping[str, int], guess: Guess) -> list[str] | dict[Any, str]:
    """Return `labels:` for the values of a label column, by their JSON text.

    Names come from the values themselves; whole numbers get names that say they are not known.
    """
    raw = sorted((json.loads(text) for text in values), key=_order)
    if all(isinstance(value, str) for value in raw):
        clean = {value: _name(value) for value in raw}
        if all(value == name for value, name in clean.items()):
            return list(clean)
        guess.doubt(
            "labels", "some raw values are blank or hold line breaks; name them as you like"
        )
        return dict(clean)
    if all(isinstance(value, bool) for value in raw):
        return {"true": "yes", "false": "no"}
    numbers = sorted({int(value) if _is_whole(value) else value for value in raw}, key=_order)
    guess.doubt(
        "labels",
        f"the data do not name the values {_listed(numbers)}; write what they mean",
    )
    if numbers == [0, 1]:
        guess.doubt("labels", "0 is taken for no, and 1 for yes")
        return ["no", "yes"]
    word = guess.fields["target"] if isinstance(guess.fields["target"], str) else "class"
    stem = re.sub(r"\W+", " ", word.split(".")[-1]).strip() or "class"
    named = {value: f"{stem} {value}" for value in numbers}
    return list(named.values()) if numbers == list(range(len(numbers))) else named


def _listed(values: Sequence[Json]) -> str:
    shown = [str(value) for value in values[:8]]
    return ", ".join(shown) + (", ..." if len(values) > 8 else "")


def _is_whole(value: Json) -> bool:
    return isinstance(value, float) and value.is_integer()


def _name(value: str) -> str:
    return " ".join(value.split()) or "none"


def _order(value: Json) -> tuple[int, Any]:
    return (0, value) if isinstance(value, int | float) else (1, str(value))


def readable(name: str) -> str:
    """Return a column's name as words for an instruction."""
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.split(".")[-1].strip('"'))
    return re.sub(r"[_\W]+", " ", spaced).strip().lower() or "text"


def names_in_text(text: str, count: int) -> tuple[str, ...] | None:
    """Return the names of the values 0, 1, ... that a text tells, if it tells exactly so many.

    Forms such as `B-Chemical=1`, `"B-Chemical": 1` and `1: B-Chemical` are read.
    """
    name = r"[A-Za-z][\w.\-/]*"
    for pattern, is_name_first in (
        (rf'"?({name})"?\s*[=:]\s*(\d+)\b', True),
        (rf'\b(\d+)"?\s*[=:]\s*"?({name})', False),
    ):
        found = [match.groups() for match in re.finditer(pattern, text)]
        pairs = [(b, a) if is_name_first else (a, b) for a, b in found]
        named = {int(number): word for number, word in reversed(pairs)}
        if sorted(named) == list(range(count)) and len(set(named.values())) == count:
            return tuple(named[number] for number in range(count))
    return None
