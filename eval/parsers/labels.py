"""Answers from a closed set: one label, one option, a set of labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

from eval.parsers.failure import failure, without_period
from pipeline.templates.answers import EMPTY_ANSWER, option_letter
from pipeline.types import Json, ParseFailure

_COMMA = re.compile(r"\s*,\s*")


def parse_label(text: str, labels: Sequence[str]) -> Json | ParseFailure:
    """Return the label that `text` is: exactly, else but for case and one period at the end.

    Failures: `not_a_label`.
    """
    found = _match(text, tuple(labels))
    return failure("not_a_label", text) if found is None else found


def parse_option(text: str, options: Sequence[str]) -> Json | ParseFailure:
    """Return the index of the option that `text` names.

    Read are the letter (`B`, `B.`, `(B)`), and the letter with its option (`B. water`).

    Failures: `not_an_option`.
    """
    plain = without_period(text)
    if plain.startswith("(") and plain.endswith(")"):
        plain = plain[1:-1]
    for index, option in enumerate(options):
        letter = option_letter(index)
        if plain.casefold() == letter.casefold():
            return index
        if text.strip().casefold() == f"{letter}. {option}".strip().casefold():
            return index
    return failure("not_an_option", text)


def parse_ranking(text: str, options: Sequence[str]) -> Json | ParseFailure:
    """Return the indexes of the options whose letters `text` lists with commas, best first.

    Failures: `not_a_ranking` a letter of no option, or one named twice.
    """
    plain = without_period(text)
    if plain.casefold() == EMPTY_ANSWER.casefold():
        return []
    letters = {option_letter(index).casefold(): index for index in range(len(options))}
    found = [letters.get(part.casefold()) for part in _COMMA.split(plain)]
    ranking = [index for index in found if index is not None]
    if len(ranking) != len(found) or len(set(ranking)) != len(ranking):
        return failure("not_a_ranking", text)
    return [*ranking]


def parse_label_set(text: str, labels: Sequence[str]) -> Json | ParseFailure:
    """Return the labels that `text` lists with commas, each once, in the order of `labels`.

    A label may hold commas itself; the longest label that fits is taken. `None` is no label.

    Failures: `not_a_label`.
    """
    plain = without_period(text)
    if plain.casefold() == EMPTY_ANSWER.casefold():
        return []
    by_length = _folded_by_length(tuple(labels))
    folded = plain.casefold()
    found: set[str] = set()
    position = 0
    while True:
        match = next((item for item in by_length if _fits(folded, position, item[0])), None)
        if match is None:
            return failure("not_a_label", text)
        found.add(match[1])
        position += len(match[0])
        if position == len(folded):
            return [label for label in labels if label in found]
        comma = _COMMA.match(folded, position)
        position = comma.end() if comma else position


def _match(text: str, labels: tuple[str, ...]) -> str | None:
    spellings = (text.strip(), without_period(text))
    exact = next((spelling for spelling in spellings if spelling in labels), None)
    if exact is not None:
        return exact
    folded = _by_folded(labels)
    found = (folded.get(spelling.casefold()) for spelling in spellings)
    return next((label for label in found if label is not None), None)


@lru_cache(maxsize=1024)
def _by_folded(labels: tuple[str, ...]) -> dict[str, str]:
    """Return labels by their lower-case form, without labels that differ in case only."""
    counts = Counter(label.casefold() for label in labels)
    return {label.casefold(): label for label in labels if counts[label.casefold()] == 1}


@lru_cache(maxsize=1024)
def _folded_by_length(labels: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(((label.casefold(), label) for label in labels), key=_minus_length))


def _minus_length(item: tuple[str, str]) -> int:
    return -len(item[0])


def _fits(folded: str, position: int, label: str) -> bool:
    """Return whether `label` stands at `position` and ends at a comma or at the end."""
    if not folded.startswith(label, position):
        return False
    end = position + len(label)
    return end == len(folded) or _COMMA.match(folded, end) is not None
