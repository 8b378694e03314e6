"""Answers that mark text: entities as `mention <Type>`, and a tag behind every word."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from functools import lru_cache

from eval.parsers.failure import failure, without_period
from pipeline.templates.answers import EMPTY_ANSWER
from pipeline.types import Json, ParseFailure

_SEPARATOR = re.compile(r"\s*,?\s*")
MAX_ALIGNED_WORDS = 4000
"""Longer answers are aligned by position only; alignment takes quadratic time."""


def parse_entities(text: str, types: Sequence[str]) -> Json | ParseFailure:
    """Return the entities in `text` as a list of `{"text", "type"}`, repeats kept.

    The text is cut at `<Type>` marks first, since mentions may hold commas. A mark of an unknown
    type is kept as it is, which makes the entity a wrong one. `None` is no entity.

    Failures: `no_type` text that no mark ends, `no_mention` a mark without text before it.
    """
    if without_period(text).casefold() == EMPTY_ANSWER.casefold():
        return []
    pattern, by_folded = _type_marks(tuple(types))
    entities: list[Json] = []
    position = 0
    for mark in pattern.finditer(text):
        start = _after_separator(text, position) if entities else position
        mention = " ".join(text[start : mark.start()].split())
        if not mention:
            return failure("no_mention", text)
        name = mark.group("known") or mark.group("other")
        entities.append({"text": mention, "type": by_folded.get(name.casefold(), name)})
        position = mark.end()
    if not entities or text[position:].strip(" \t\r\n,."):
        return failure("no_type", text)
    return entities


def parse_tags(text: str, tags: Sequence[str], tokens: Sequence[str]) -> Json | ParseFailure:
    """Return one tag per token, `""` for tokens whose word the answer leaves out.

    Failures: `no_tag` there is no `<TAG>` of the task in the answer.
    """
    words: list[str] = []
    found: list[str] = []
    position = 0
    for mark in _tag_marks(tuple(tags)).finditer(text):
        words.append(" ".join(text[position : mark.start()].split()))
        found.append(mark.group(1))
        position = mark.end()
    if not found:
        return failure("no_tag", text)
    aligned: list[Json] = ["" for _ in tokens]
    for index, position in _alignment(list(tokens), words):
        aligned[index] = found[position]
    return aligned


def _after_separator(text: str, position: int) -> int:
    match = _SEPARATOR.match(text, position)
    return match.end() if match else position


@lru_cache(maxsize=256)
def _type_marks(types: tuple[str, ...]) -> tuple[re.Pattern[str], dict[str, str]]:
    """Return the pattern of a mark, and types by their lower-case form."""
    known = "|".join(re.escape(name) for name in sorted(types, key=len, reverse=True)) or r"(?!)"
    other = r"<(?P<other>[A-Za-z][\w-]{0,60})>(?=\s*(?:,|\.?\s*\Z))"
    pattern = re.compile(rf"<(?P<known>{known})>|{other}", re.IGNORECASE)
    return pattern, {name.casefold(): name for name in types}


@lru_cache(maxsize=256)
def _tag_marks(tags: tuple[str, ...]) -> re.Pattern[str]:
    known = "|".join(re.escape(name) for name in sorted(tags, key=len, reverse=True)) or r"(?!)"
    return re.compile(rf"<({known})>")


def _alignment(tokens: list[str], words: list[str]) -> list[tuple[int, int]]:
    """Return (token index, word index) of equal words in order."""
    if tokens == words or len(words) > MAX_ALIGNED_WORDS:
        pairs = enumerate(zip(tokens, words, strict=False))
        return [(index, index) for index, (token, word) in pairs if token == word]
    blocks = SequenceMatcher(a=tokens, b=words, autojunk=False).get_matching_blocks()
    return [
        (block.a + offset, block.b + offset) for block in blocks for offset in range(block.size)
    ]
