"""DNA in text: `<dna>ACGT</dna>` as marker and unit tokens, read back exactly.

A text tokenizer cuts sequences at unstable places, so units are cut here, in the data layer. Unit
tokens carry a prefix (`<dna_ACG>`), because bare ones would also match inside English words.
A tokenizer without these tokens reads the letters as plain text.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from pipeline.annotations.sequences import reverse_complement
from pipeline.chat.dna_bpe import Merge, cut_by_merges, merged_words
from pipeline.errors import ChatError, did_you_mean
from pipeline.types import Conversation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedTokenizerBase

DnaUnit = Literal["single", "kmer3_overlapping", "kmer3", "kmer6", "bpe"]
DnaReading = DnaUnit | Literal["letters"]
UNIT_SETTING = "dna_unit"
"""Setting of a tokenizer that says how it reads sequences."""

MERGES_SETTING = "dna_merges"
"""Setting of a tokenizer with the merges of byte-pair units, see `pipeline.chat.dna_bpe`."""

UNIT_LENGTHS: dict[DnaUnit, int] = {
    "single": 1,
    "kmer3_overlapping": 3,
    "kmer3": 3,
    "kmer6": 6,
}
"""Bases per unit, of units that all have one length. Overlapping units start at every base, the
others follow each other."""

DNA_START = "<dna>"
DNA_END = "</dna>"
DNA_SPAN = re.compile(r"<dna>([ACGTN]*)</dna>")


def dna_tokens(unit: DnaUnit, merges: Sequence[Merge] = ()) -> list[str]:
    """Return every token that a tokenizer needs for `unit`, in a fixed order.

    Args:
        unit: How sequences are cut.
        merges: Of byte-pair units, the most frequent first.
    """
    _check_unit(unit)
    length = UNIT_LENGTHS.get(unit, 1)
    words = [*"ACGTN", *merged_words(merges)]
    if length > 1:
        words += ["".join(word) for word in itertools.product("ACGT", repeat=length)]
    return [DNA_START, DNA_END, *(f"<dna_{word}>" for word in words)]


def find_merges(tokenizer: PreTrainedTokenizerBase) -> tuple[Merge, ...]:
    """Return the merges that a tokenizer cuts byte-pair units by; none for other units."""
    if find_dna_unit(tokenizer) != "bpe":
        return ()
    return tuple((left, right) for left, right in tokenizer.init_kwargs.get(MERGES_SETTING, ()))


def find_dna_unit(tokenizer: PreTrainedTokenizerBase) -> DnaUnit | None:
    """Return the unit a tokenizer was extended with, `None` when it reads DNA as letters.

    The unit is the `dna_unit` of the tokenizer's settings where that is set; else the longest
    unit in its vocabulary, where 3-mers count as overlapping.
    """
    added = {token.content for token in tokenizer.added_tokens_decoder.values()}
    if not {DNA_START, DNA_END, "<dna_A>", "<dna_C>", "<dna_G>", "<dna_T>"} <= added:
        return None
    chosen = tokenizer.init_kwargs.get(UNIT_SETTING)
    if chosen == "letters":
        return None
    if chosen is not None:
        return _check_unit(chosen)
    if "<dna_AAAAAA>" in added:
        return "kmer6"
    return "kmer3_overlapping" if "<dna_AAA>" in added else "single"


def missing_tokens(
    tokenizer: PreTrainedTokenizerBase, unit: DnaReading, merges: Sequence[Merge] = ()
) -> list[str]:
    """Return the tokens that a tokenizer lacks to read a unit, in a fixed order.

    Args:
        tokenizer: Stays as it is.
        unit: `letters` needs no tokens.
        merges: As for `dna_tokens`.
    """
    if unit == "letters":
        return []
    known = {token.content for token in tokenizer.added_tokens_decoder.values()}
    return [token for token in dna_tokens(unit, merges) if token not in known]


def encode_units(sequence: str, unit: DnaUnit, merges: tuple[Merge, ...] = ()) -> list[str]:
    """Return the unit tokens of a sequence over `ACGTN`, without the markers.

    A unit never holds `N`, and what is left at the end is written as single bases. Overlapping
    units: token i is the 3-mer that starts at base i; the last two tokens are single bases.
    Byte-pair units are cut by `merges`.
    """
    _check_unit(unit)
    if unit == "bpe":
        return [f"<dna_{word}>" for word in cut_by_merges(sequence, merges)]
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


class UnitIds:
    """The unit tokens of sequences as ids, by tables: tens of megabases per second."""

    def __init__(self, unit: DnaUnit, ids: Mapping[str, int]) -> None:
        """Build the tables.

        Args:
            unit: How sequences are cut; not `bpe`, whose words have no table.
            ids: Id of every added token; those of `dna_tokens(unit)` are used.
        """
        self._unit = _check_unit(unit)
        self._length = UNIT_LENGTHS[unit]
        self._ids = ids

    @property
    def is_complete(self) -> bool:
        """Whether every token has an id; a vocabulary may lack `N`, which is then a letter."""
        return all(token in self._ids for token in dna_tokens(self._unit))

    @cached_property
    def _codes(self) -> npt.NDArray[np.uint8]:
        """Code of each byte: 0 to 3 for `ACGT`, 4 for the rest."""
        codes = np.full(256, 4, dtype=np.uint8)
        codes[np.frombuffer(b"ACGT", dtype=np.uint8)] = np.arange(4)
        return codes

    @cached_property
    def _singles(self) -> npt.NDArray[np.int32]:
        return np.array([self._ids[f"<dna_{base}>"] for base in "ACGTN"], dtype=np.int32)

    @cached_property
    def _words(self) -> npt.NDArray[np.int32]:
        words = itertools.product("ACGT", repeat=self._length)
        return np.array([self._ids[f"<dna_{''.join(word)}>"] for word in words], dtype=np.int32)

    @cached_property
    def _powers(self) -> npt.NDArray[np.uint16]:
        """Weight of each place of a word in its number."""
        return (4 ** np.arange(self._length - 1, -1, -1)).astype(np.uint16)

    def encode(self, sequence: str) -> npt.NDArray[np.int32]:
        """Return the ids of `encode_units`, shape `[num_units]`.

        Args:
            sequence: Over `ACGTN`.
        """
        codes = self._codes[np.frombuffer(sequence.encode(), dtype=np.uint8)]
        if self._length == 1:
            return self._singles[codes]
        if self._unit == "kmer3_overlapping":
            return self._overlapping(codes)
        end = len(codes) - len(codes) % self._length
        blocks = codes[:end].reshape(-1, self._length)
        words = self._words[(blocks & 3) @ self._powers]
        if "N" not in sequence:
            return np.concatenate((words, self._singles[codes[end:]]))
        has_n = (blocks == 4).any(axis=1)
        # A block with `N` takes as many places as bases, any other block one.
        rows = np.where(has_n[:, None], self._singles[blocks], words[:, None])
        shown = has_n[:, None] | (np.arange(self._length) == 0)
        return np.concatenate((rows[shown], self._singles[codes[end:]]))

    def _overlapping(self, codes: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
        ids = self._singles[codes]
        if len(codes) >= self._length:
            first, second, third = codes[:-2], codes[1:-1], codes[2:]
            words = self._words[(first & 3) << 4 | (second & 3) << 2 | third & 3]
            ids[:-2] = np.where((first | second | third) >= 4, ids[:-2], words)
        return ids


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


def unit_spans(
    sequence: str, unit: DnaUnit, merges: tuple[Merge, ...] = ()
) -> list[tuple[int, int]]:
    """Return the range of bases that each unit token adds to the sequence."""
    if unit == "kmer3_overlapping":
        return [(i, i + 1) for i in range(len(sequence))]
    ends = list(
        itertools.accumulate(
            len(token) - len("<dna_>") for token in encode_units(sequence, unit, merges)
        )
    )
    return list(zip([0, *ends], ends, strict=False))


def other_strand(conversation: Conversation) -> Conversation:
    """Return a conversation with the reverse complement of every sequence in it."""
    messages = (
        replace(
            message,
            content=DNA_SPAN.sub(
                lambda found: f"{DNA_START}{reverse_complement(found[1])}{DNA_END}",
                message.content,
            ),
        )
        for message in conversation.messages
    )
    return replace(conversation, messages=tuple(messages))


def split_dna(text: str) -> list[tuple[str, bool]]:
    """Return `text` as pieces with a flag: True for the bases between `<dna>` and `</dna>`."""
    pieces = [(piece, index % 2 == 1) for index, piece in enumerate(DNA_SPAN.split(text))]
    return [(piece, is_dna) for piece, is_dna in pieces if piece or is_dna]


def _check_unit(unit: DnaUnit) -> DnaUnit:
    names: Sequence[str] = get_args(DnaUnit)
    if unit not in names:
        raise ChatError(
            "CHT010", f"{unit!r} is no DNA unit", where="dna_unit", hint=did_you_mean(unit, names)
        )
    return unit
