"""Token tags (BIO, BIOES, BILOU, IO) to mentions."""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.types import Json

_BEGIN, _INSIDE, _END, _SINGLE = "B", "I", "EL", "SU"
_OUTSIDE = ("O", "o", "")


def split_tag(tag: str, *, scheme: str = "bio") -> tuple[str, str]:
    """Return position letter and type of a tag: `B-Multi-cell` gives `("B", "Multi-cell")`."""
    if tag in _OUTSIDE:
        return "O", ""
    if scheme == "io":
        return "I", tag.removeprefix("I-")
    letter, dash, kind = tag.partition("-")
    if letter in {"B", "I", "E", "L", "S", "U"} and (dash or tag == letter):
        return letter, kind
    # A tag without a position, as in `Disease`, continues a mention of its type.
    return "I", tag


def entity_types(tags: Sequence[str], *, scheme: str = "bio") -> tuple[str, ...]:
    """Return the types that `tags` name, in order of first appearance."""
    kinds = (split_tag(tag, scheme=scheme)[1] for tag in tags)
    return tuple(dict.fromkeys(kind for kind in kinds if kind))


def mentions(
    tokens: Sequence[str], tags: Sequence[str], *, scheme: str = "bio", kind: str | None = None
) -> list[Json]:
    """Return the mentions that `tags` mark in `tokens`, in order.

    An `I-X` that continues nothing opens a mention, as in the CoNLL scorer.

    Args:
        tokens: Words.
        tags: One tag per word.
        scheme: `bio` (with or without end and single tags), or `io` where a tag is a type.
        kind: Type of tags that name none.

    Returns:
        Maps with `text` (words joined by a blank), `type`, `start` and `end` (words, exclusive).
    """
    found: list[tuple[str, int, int]] = []
    start, current = -1, ""
    for position, tag in enumerate([*tags, "O"]):
        letter, named = split_tag(tag, scheme=scheme)
        named = named or (kind or "")
        opens = letter in _BEGIN + _SINGLE or named != current or start < 0
        if start >= 0 and (letter == "O" or opens):
            found.append((current, start, position))
            start = -1
        if letter != "O" and start < 0:
            start, current = position, named
        if start >= 0 and letter in _END + _SINGLE:
            found.append((current, start, position + 1))
            start = -1
    return [
        {"text": " ".join(tokens[first:end]), "type": name, "start": first, "end": end}
        for name, first, end in found
    ]
