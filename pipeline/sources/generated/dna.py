"""DNA sequences of 60 bases with planted signals, in the columns of GUE and Genomic Benchmarks.

The signals are the textbook ones (TATA box, CpG-rich promoter, splice consensus) or a plain motif;
the rest is random. Bases are upper-case ACGT.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import cast

from pipeline.templates.pictures import digit_codes
from pipeline.types import Json

Row = dict[str, Json]
SequenceMaker = Callable[[int, random.Random], str]
"""Makes one sequence of a class."""

SEQUENCE_LENGTH = 60
TATA_BOX = "TATAAA"
TATA_REGION = range(18, 31)
"""Where a TATA box may start."""
NUCLEOSOME_MOTIF = "TGACGTCA"
SPLICE_SITE = 30
"""Position of the first base after the exon (donor) or of the exon (acceptor)."""
DONOR = "GTAAGT"
ACCEPTOR = "TTTCTTTTCAG"
GC_BOX = "GGGCGG"
NEEDLES = (TATA_BOX, "CAAT", GC_BOX, "TTAGGG")
"""One motif per class."""
HAYSTACK_LENGTH = 120


def promoter_tata(label: int, generator: random.Random) -> str:
    """Return a sequence with (1) or without (0) a TATA box in the middle."""
    bases = _random_bases(generator, without=TATA_BOX)
    if label == 0:
        return bases
    return _planted(bases, TATA_BOX, generator.choice(TATA_REGION))


def histone_mark(label: int, generator: random.Random) -> str:
    """Return a sequence with (1) or without (0) the motif, which may stand anywhere."""
    bases = _random_bases(generator, without=NUCLEOSOME_MOTIF)
    if label == 0:
        return bases
    start = generator.randrange(SEQUENCE_LENGTH - len(NUCLEOSOME_MOTIF) + 1)
    return _planted(bases, NUCLEOSOME_MOTIF, start)


def splice_site(label: int, generator: random.Random) -> str:
    """Return an acceptor (0), a donor (1) or neither (2); `neither` has the bare GT or AG."""
    bases = _random_bases(generator, without=DONOR)
    if label == 0:
        return _planted(bases, ACCEPTOR, SPLICE_SITE - len(ACCEPTOR))
    if label == 1:
        return _planted(bases, DONOR, SPLICE_SITE)
    bare, start = generator.choice(((DONOR[:2], SPLICE_SITE), (ACCEPTOR[-2:], SPLICE_SITE - 2)))
    planted = _planted(bases, bare, start)
    return planted if DONOR not in planted else splice_site(label, generator)


def promoter_without_tata(label: int, generator: random.Random) -> str:
    """Return a GC-rich sequence with a GC box (1), or one of even composition (0)."""
    if label == 0:
        return _random_bases(generator, without=GC_BOX)
    bases = _random_bases(generator, without=TATA_BOX, weights=(3, 4, 4, 3))
    start = generator.randrange(SEQUENCE_LENGTH - len(GC_BOX) + 1)
    return _planted(bases, GC_BOX, start)


def needle(label: int, generator: random.Random) -> str:
    """Return a random sequence in which the motif of the class stands once, and no other does.

    After Needle-in-DNA of Omni-DNA (arXiv:2502.03499). Motifs that come about by chance, also
    across the borders of the planted one, are drawn again.
    """
    motif = NEEDLES[label]
    while True:
        bases = "".join(generator.choices("ACGT", k=HAYSTACK_LENGTH))
        start = generator.randrange(HAYSTACK_LENGTH - len(motif) + 1)
        planted = _planted(bases, motif, start)
        found = [place for name in NEEDLES for place in _places(name, planted)]
        if found == [start]:
            return planted


def picture_rows(num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows `{sequence, output}`: the codes of the digit that the motif stands for."""
    rows = sequence_rows(needle, num_rows, generator, num_classes=len(NEEDLES))
    return [
        {"sequence": row["sequence"], "output": digit_codes(cast("int", row["label"]))}
        for row in rows
    ]


def sequence_rows(
    make: SequenceMaker,
    num_rows: int,
    generator: random.Random,
    *,
    num_classes: int = 2,
    column: str = "sequence",
) -> list[Row]:
    """Return rows `{column, label}` with all classes equally often, in random order."""
    rows: list[Row] = [
        {column: make(index % num_classes, generator), "label": index % num_classes}
        for index in range(num_rows)
    ]
    generator.shuffle(rows)
    return rows


def _random_bases(
    generator: random.Random, *, without: str, weights: tuple[int, int, int, int] = (1, 1, 1, 1)
) -> str:
    while True:
        bases = "".join(generator.choices("ACGT", weights=weights, k=SEQUENCE_LENGTH))
        if without not in bases:
            return bases


def _places(motif: str, bases: str) -> list[int]:
    return [i for i in range(len(bases) - len(motif) + 1) if bases.startswith(motif, i)]


def _planted(bases: str, signal: str, start: int) -> str:
    return bases[:start] + signal + bases[start + len(signal) :]
