"""DNA as data has it, to bases over `ACGTN`; every change is named, so that it can be counted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pipeline.annotations.outcomes import RowSkipped
from pipeline.errors import AnnotationError
from pipeline.types import Json

NonAcgt = Literal["keep_n", "drop_row", "error"]
KeptPart = Literal["left", "centre", "right"]
NON_ACGT: tuple[NonAcgt, ...] = get_args(NonAcgt)
KEPT_PARTS: tuple[KeptPart, ...] = get_args(KeptPart)

_COMPLEMENT = str.maketrans("ACGTURYKMBVDHSWNacgturykmbvdhswn", "TGCAAYRMKVBHDSWNtgcaayrmkvbhdswn")
_HEADER = re.compile(r"\A\s*>[^\r\n]*(?:[\r\n]+|$)")
_BLANKS = re.compile(r"\s+")
_AMBIGUOUS = re.compile(r"[RYKMBVDHSW]")
_STRANGE = re.compile(r"[^ACGTNRYKMBVDHSW]")


@dataclass(frozen=True, slots=True)
class SequenceRules:
    """How the sequences of a task are read."""

    non_acgt: NonAcgt = "keep_n"
    """What a letter but A, C, G and T is: `keep_n` writes `N` for every IUPAC code, `drop_row`
    leaves the row out, `error` stops."""
    max_bases: int | None = None
    """Longer sequences are cut to so many bases; `None` leaves them."""
    keep: KeptPart = "centre"
    """Which part of a longer sequence stays."""

    @classmethod
    def of(cls, settings: dict[str, Json]) -> SequenceRules:
        """Return the rules in the settings of a task."""
        return cls(
            non_acgt=cast("NonAcgt", settings.get("non_acgt", "keep_n")),
            max_bases=cast("int | None", settings.get("max_bases")),
            keep=cast("KeptPart", settings.get("keep", "centre")),
        )

    @property
    def plain_pattern(self) -> str:
        """Regular expression of sequences that stay as they are."""
        letters = "ACGTN" if self.non_acgt == "keep_n" else "ACGT"
        return f"^[{letters}]+$"

    def read(self, text: str) -> tuple[str, tuple[str, ...]]:
        """Return the bases of a sequence, and what was changed.

        A FASTA header and blanks go, letters become upper case, `U` becomes `T`.

        Raises:
            RowSkipped: The policy leaves the row out, or no base is left.
            AnnotationError: A letter is no IUPAC code, or the policy is `error` and one is not
                A, C, G or T (ANN190).
        """
        changes: list[str] = []
        letters = _changed(text, _HEADER.sub("", text, count=1), "FASTA header", changes)
        letters = _changed(letters, _BLANKS.sub("", letters), "blanks", changes)
        letters = _changed(letters, letters.upper(), "lower case", changes)
        letters = _changed(letters, letters.replace("U", "T"), "U", changes)
        if not letters:
            raise RowSkipped("empty")
        if letters.strip("ACGT"):
            bases = self._without_others(letters)
            letters = _changed(letters, bases, "IUPAC code", changes)
        return _changed(letters, self._cut(letters), "cut", changes), tuple(changes)

    def _without_others(self, letters: str) -> str:
        """Return letters that hold more than A, C, G and T as the policy has them."""
        if self.non_acgt == "drop_row":
            raise RowSkipped("not only A, C, G and T")
        pattern = re.compile("[^ACGT]") if self.non_acgt == "error" else _STRANGE
        strange = pattern.search(letters)
        if strange is not None:
            raise AnnotationError(
                "ANN190",
                f"{strange.group()!r} is no base, in a sequence of {len(letters)} letters",
                hint="Allowed: A, C, G, T, N and the IUPAC codes; `non_acgt: drop_row` skips rows",
            )
        return _AMBIGUOUS.sub("N", letters)

    def _cut(self, bases: str) -> str:
        extra = 0 if self.max_bases is None else max(0, len(bases) - self.max_bases)
        start = {"left": 0, "centre": extra // 2, "right": extra}[self.keep]
        return bases[start : len(bases) - extra + start]


def reverse_complement(sequence: str) -> str:
    """Return the other strand, read in its own direction; IUPAC codes and case are kept."""
    return sequence.translate(_COMPLEMENT)[::-1]


def either_strand(sequence: str) -> str:
    """Return one text for a sequence and its other strand: the first of both in the alphabet.

    Read as `SequenceRules.read` does: no header, no blanks, upper case, `T` for `U`.
    """
    letters = _BLANKS.sub("", _HEADER.sub("", sequence, count=1)).upper().replace("U", "T")
    return min(letters, reverse_complement(letters))


def _changed(before: str, after: str, what: str, changes: list[str]) -> str:
    if after != before:
        changes.append(what)
    return after
