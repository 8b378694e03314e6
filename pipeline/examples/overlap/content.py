"""What of an example is compared, and in what form.

Compared is what a row is about: not the instruction, the labels, the list of functions or the
system prompt, which many rows share. Spelling that a copy may change is taken out first, so that
two rows are exact duplicates when they differ in nothing but case, blanks, punctuation, the form
of Unicode, the order of their inputs, or the strand of DNA.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pipeline.types import Json, TaskExample, TaskKind

_ONLY_INPUT: dict[TaskKind, str] = {"function_calling": "query", "chat": "messages"}
"""Kinds of which one input is the content; of the others all inputs are."""

_OWN_CHOICES: frozenset[TaskKind] = frozenset({"multiple_choice", "ranking"})
_SHORT_QUESTION = 32
"""Squeezed bytes below which a question, such as `Which is true?`, tells nothing without options"""

_MIN_DNA = 24
_DNA_LETTERS = b"acgtun"
_TO_BASES = bytes.maketrans(b"acgtun", b"ACGTTN")
_COMPLEMENT = bytes.maketrans(b"ACGT", b"TGCA")
_NOT_BASES = bytes(set(range(256)) - set(b"ACGTN"))
_TO_N = bytes.maketrans(_NOT_BASES, b"N" * len(_NOT_BASES))

_ASCII_LOWER = bytes.maketrans(bytes(range(65, 91)), bytes(range(97, 123)))
_ASCII_DROPPED = bytes(code for code in range(128) if not chr(code).isalnum())
_ASCII_BLANKS = bytes(code for code in range(128) if chr(code).isspace() or not 32 <= code < 127)
_DIGITS = b"0123456789"


@dataclass(frozen=True, slots=True)
class Part:
    """One input of a row, squeezed."""

    text: bytes
    """UTF-8 of letters and digits only; bases `ACGTN` where it is DNA."""
    is_dna: bool = False


@dataclass(frozen=True, slots=True)
class ComparedRow:
    """What is compared of one example."""

    key: str
    """The example's key, `task/split/row`."""
    digest: bytes
    """128 bits; equal for exact duplicates. Empty when the row has no content."""
    parts: tuple[Part, ...]


def compared_row(example: TaskExample, kind: TaskKind) -> ComparedRow:
    """Return what is compared of an example of a task of this kind."""
    names = [_ONLY_INPUT[kind]] if kind in _ONLY_INPUT else list(example.inputs)
    is_dna = kind == "dna_classification"
    values = (example.inputs.get(name) for name in names)
    texts = (value if isinstance(value, str) else " ".join(_texts(value)) for value in values)
    parts = [part for part in (squeeze(text, is_dna=is_dna) for text in texts) if part.text]
    if kind in _OWN_CHOICES and sum(len(part.text) for part in parts) < _SHORT_QUESTION:
        parts.append(squeeze(" ".join(sorted(example.choices or ()))))
    return ComparedRow(example.key, _digest(parts), tuple(parts))


def squeeze(text: str, *, is_dna: bool = False) -> Part:
    """Return a text in the form that is compared.

    Letters and digits stay, in NFKC and without case. Texts with more digits than letters, such
    as sums, keep punctuation too, because there it carries the meaning; so do texts without any
    letter or digit.

    Args:
        text: Any text.
        is_dna: Whether it is known to be DNA; other texts are when they hold nothing but 24 or
            more bases.
    """
    squeezed = _squeeze_ascii(text) if text.isascii() else _squeeze_unicode(text)
    if is_dna or _looks_like_dna(squeezed):
        return Part(squeezed.translate(_TO_BASES).translate(_TO_N), is_dna=True)
    return Part(squeezed)


def reverse_complement(bases: bytes) -> bytes:
    """Return the other strand of a sequence over `ACGTN`."""
    return bases.translate(_COMPLEMENT)[::-1]


def part_digest(part: Part) -> bytes:
    """Return 128 bits of a part; the same for both strands of DNA."""
    text = min(part.text, reverse_complement(part.text)) if part.is_dna else part.text
    return hashlib.blake2b(text, digest_size=16).digest()


def _digest(parts: Sequence[Part]) -> bytes:
    if not parts:
        return b""
    if len(parts) == 1:
        return part_digest(parts[0])
    return hashlib.blake2b(b"".join(sorted(map(part_digest, parts))), digest_size=16).digest()


def _texts(value: Json) -> Iterator[str]:
    """Yield the texts inside a value; turns of a conversation without the system's."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        if "role" in value and "content" in value:
            if value["role"] != "system":
                yield from _texts(value["content"])
        else:
            for item in value.values():
                yield from _texts(item)
    elif value is not None:
        yield str(value)


def _squeeze_ascii(text: str) -> bytes:
    lower = text.encode("ascii").translate(_ASCII_LOWER)
    kept = lower.translate(None, _ASCII_DROPPED)
    num_letters = len(kept.translate(None, _DIGITS))
    if 2 * num_letters >= len(kept) > 0:
        return kept
    return lower.translate(None, _ASCII_BLANKS)


def _squeeze_unicode(text: str) -> bytes:
    folded = unicodedata.normalize("NFKC", text).casefold()
    kept = folded.translate(_KEPT)
    if 2 * sum(map(str.isalpha, kept)) >= len(kept) > 0:
        return kept.encode("utf-8", "replace")
    return "".join(folded.split()).encode("utf-8", "replace")


def _looks_like_dna(squeezed: bytes) -> bool:
    # The start tells nearly always, and is cheap.
    starts = len(squeezed) >= _MIN_DNA and not squeezed[:_MIN_DNA].translate(None, _DNA_LETTERS)
    return starts and not squeezed.translate(None, _DNA_LETTERS)


class _KeptCharacters(dict[int, int | None]):
    """Letters, digits and marks; each character is looked up in Unicode once."""

    def __missing__(self, code: int) -> int | None:
        kept = unicodedata.category(chr(code))[0] in "LNM"
        self[code] = code if kept else None
        return self[code]


_KEPT = _KeptCharacters()
