"""Sequences as data has them: every kind of bad input has a defined outcome that is named."""

from __future__ import annotations

import random
import re

import pytest

from pipeline.annotations.outcomes import RowSkipped
from pipeline.annotations.sequences import SequenceRules, either_strand, reverse_complement
from pipeline.errors import AnnotationError

KEEP, DROP, ERROR = (SequenceRules(non_acgt=name) for name in ("keep_n", "drop_row", "error"))


@pytest.mark.parametrize(
    ("text", "bases", "changes"),
    [
        ("ACGT", "ACGT", ()),
        ("A", "A", ()),
        ("AC", "AC", ()),
        ("NNNN", "NNNN", ()),
        ("acGT", "ACGT", ("lower case",)),
        ("ACGU", "ACGT", ("U",)),
        ("acgu", "ACGT", ("lower case", "U")),
        ("ACRYN", "ACNNN", ("IUPAC code",)),
        (" AC\nGT\t", "ACGT", ("blanks",)),
        (">chr1:1-4 yeast\nACGT", "ACGT", ("FASTA header",)),
        (">x\r\nAC\r\nGT\r\n", "ACGT", ("FASTA header", "blanks")),
    ],
)
def test_sequences_become_bases_and_changes_are_named(text, bases, changes):
    assert KEEP.read(text) == (bases, changes)
    plain = re.fullmatch(KEEP.plain_pattern, text) is not None
    assert plain == (changes == ())


@pytest.mark.parametrize("text", ["", "  \n", ">only a header", ">only a header\n"])
@pytest.mark.parametrize("rules", [KEEP, DROP, ERROR])
def test_a_sequence_without_bases_gives_no_example(rules, text):
    with pytest.raises(RowSkipped, match="empty"):
        rules.read(text)


@pytest.mark.parametrize("text", ["ACN", "ACR", "AC-GT", "NNNN", ">a\nAC\n>b\nGT"])
def test_rows_with_other_letters_can_be_left_out(text):
    with pytest.raises(RowSkipped, match="not only A, C, G and T"):
        DROP.read(text)
    assert not re.fullmatch(DROP.plain_pattern, text)


@pytest.mark.parametrize(
    ("rules", "text", "letter"),
    [(KEEP, "AC-GT", "-"), (KEEP, "AC>GT", ">"), (KEEP, "AC1", "1"), (ERROR, "ACN", "N")],
)
def test_letters_that_are_no_bases_are_told(rules, text, letter):
    with pytest.raises(AnnotationError) as caught:
        rules.read(text)
    assert str(caught.value) == (
        f"{letter!r} is no base, in a sequence of {len(text)} letters. Allowed: A, C, G, T, N and "
        "the IUPAC codes; `non_acgt: drop_row` skips rows. [ANN190]"
    )


@pytest.mark.parametrize(
    ("keep", "bases"), [("left", "AACC"), ("centre", "CCGG"), ("right", "GGTT")]
)
def test_long_sequences_are_cut_in_bases(keep, bases):
    rules = SequenceRules(max_bases=4, keep=keep)
    assert rules.read("AACCGGTT") == (bases, ("cut",))
    assert rules.read("aacc") == ("AACC", ("lower case",))


def test_the_centre_of_a_long_sequence_stays_its_centre():
    for length in range(5, 30):
        sequence = "A" * (length // 2) + "G" + "A" * (length - length // 2 - 1)
        (kept, _) = SequenceRules(max_bases=5).read(sequence)
        assert abs(kept.index("G") - 2) <= 1
        assert len(kept) == 5


def test_a_sequence_of_a_million_bases_is_read():
    sequence = "".join(random.Random(0).choices("ACGT", k=1_000_000))
    assert KEEP.read(sequence) == (sequence, ())
    assert KEEP.read(sequence.lower())[0] == sequence


def test_either_strand_is_one_text_for_both_strands():
    draw = random.Random(3)
    for _ in range(200):
        bases = "".join(draw.choices("ACGTN", k=draw.randrange(1, 60)))
        assert either_strand(bases) == either_strand(reverse_complement(bases).lower())
        assert either_strand(bases) in (bases, reverse_complement(bases))


def test_reverse_complement_is_its_own_inverse():
    assert reverse_complement("AACGTN") == "NACGTT"
    assert reverse_complement("acRYKMBVDHSWN") == "NWSDHBVKMRYgt"
    assert reverse_complement(reverse_complement("ACRYKMBVDHSWN")) == "ACRYKMBVDHSWN"
