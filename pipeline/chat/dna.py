"""DNA in text: `<dna>ACGT</dna>` as marker and unit tokens, read back exactly.

A text tokenizer cuts sequences at unstable places, so units are cut here, in the data layer. Unit
tokens carry a prefix (`<dna_ACG>`), because bare ones would also match inside English words.
A tokenizer without these tokens reads the letters as plain text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

from pipeline.errors import ChatError, did_you_mean

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

DnaUnit = Literal["single", "kmer3_overlapping", "kmer3", "kmer6"]

UNIT_LENGTHS: dict[DnaUnit, int] = {
    "single": 1,
    "kmer3_overlapping": 3,
    "kmer3": 3,
    "kmer6": 6,
}
"""Bases per unit. Overlapping units start at every base, the others follow each other."""

DNA_START = "<dna>"
DNA_END = "</dna>"
DNA_SPAN = re.compile(r"<dna>([ACGTN]*)</dna>")



def dna_tokens(unit: DnaUnit) -> list[str]:
    """Return every token that a tokenizer needs for `unit`, in a fixed order."""
    _check_unit(unit)
    singles = [f"<dna_{base}>" for base in "ACGTN"]
    length = UNIT_LENGTHS[unit]
    words = itertools.product("ACGT", repeat=length) if length > 1 else ()
    return [DNA_START, DNA_END, *singles, *(f"<dna_{''.join(word)}>" for word in words)]


def find_dna_unit(tokenizer: PreTrainedTokenizerBase) -> DnaUnit | None:
    """Return the unit a tokenizer was extended with, `None` when it reads DNA as letters.

    The unit is the `dna_unit` of the tokenizer's settings where that is set; else the longest
    unit in its vocabulary, where 3-mers count as overlapping.
    """
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    if not {DNA_START, DNA_END, "<dna_A>", "<dna_C>", "<dna_G>", "<dna_T>"} <= added:
        return None
    chosen = tokenizer.init_kwargs.get("dna_unit")
    if chosen is not None:
        return _check_unit(chosen)
    if "<dna_AAAAAA>" in added:
        return "kmer6"
    return "kmer3_overlapping" if "<dna_AAA>" in added else "single"


def encode_units(sequence: str, unit: DnaUnit) -> list[str]:
    """Return the unit tokens of a sequence over `ACGTN`, without the markers.

    A unit never holds `N`, and what is left at the end is written as single bases. Overlapping
    units: token i is the 3-mer that starts at base i; the last two tokens are single bases.
    """
    _check_unit(unit)
    length = UNIT_LENGTHS[unit]
    if unit == "kmer3_overlapping":
        words = (sequence[i : i + 3] for i in range(len(sequence)))
        return [
            f"<dna_{word if len(word) == 3 and 'N' not in word else word[0]}>" for word in words
        ]
    tokens = []
    for start in range(0, len(sequence), length):
        word = sequence[start : start + length]
        whole = len(word) == length and "N" not in word
        tokens += [f"<dna_{word}>"] if whole else [f"<dna_{base}>" for base in word]
    return tokens


def decode_units(tokens: Iterable[str], unit: DnaUnit) -> str:
    """Return the sequence of unit tokens; markers are passed over.

    Exactly undoes `encode_units`.

    Raises:
        ValueError: Something is no DNA token.
    """
    _check_unit(unit)
    letters = []
    for token in tokens:
        if token in (DNA_START, DNA_END):
            continue
        if not (token.startswith("<dna_") and token.endswith(">")):
            raise ValueError(f"{token!r} is no DNA token")
        word = token[len("<dna_") : -1]
        letters.append(word[0] if unit == "kmer3_overlapping" else word)
    return "".join(letters)


def unit_spans(sequence: str, unit: DnaUnit) -> list[tuple[int, int]]:
    """Return the range of bases that each unit token adds to the sequence."""
    if unit == "kmer3_overlapping":
        return [(i, i + 1) for i in range(len(sequence))]
    ends = list(
        itertools.accumulate(len(token) - len("<dna_>") for token in encode_units(sequence, unit))
    )
    return list(zip([0, *ends], ends, strict=False))


def split_dna(text: str) -> list[tuple[str, bool]]:
    """Return `text` as pieces with a flag: True for the bases between `<dna>` and `</dna>`."""
    pieces = [(piece, index % 2 == 1) for index, piece in enumerate(DNA_SPAN.split(text))]
    return [(piece, is_dna) for piece, is_dna in pieces if piece or is_dna]


def _check_unit(unit: DnaUnit) -> DnaUnit:
    if unit not in UNIT_LENGTHS:
        names: Sequence[str] = list(UNIT_LENGTHS)
        raise ChatError(
            "CHT010", f"{unit!r} is no DNA unit", where="dna_unit", hint=did_you_mean(unit, names)
        )
    return unit
