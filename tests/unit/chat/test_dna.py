"""DNA units: exact both ways, for every length and letter."""

from __future__ import annotations

import copy
import random

import pytest

from pipeline.chat.dna import (
    UNIT_LENGTHS,
    UnitIds,
    decode_units,
    dna_tokens,
    encode_units,
    find_dna_unit,
    split_dna,
    unit_spans,
)
from pipeline.chat.tokenise import tokenise_conversation
from pipeline.errors import ChatError
from pipeline.types import Conversation, Message
from tests.unit.chat.formats import FORMATS


@pytest.mark.parametrize(
    ("unit", "tokens"),
    [
        ("single", ["A", "C", "G", "T", "N", "A", "C"]),
        ("kmer3_overlapping", ["ACG", "CGT", "G", "T", "N", "A", "C"]),
        ("kmer3", ["ACG", "T", "N", "A", "C"]),
        ("kmer6", ["A", "C", "G", "T", "N", "A", "C"]),
    ],
)
def test_units_of_a_sequence(unit, tokens) -> None:
    assert encode_units("ACGTNAC", unit) == [f"<dna_{token}>" for token in tokens]


def test_non_overlapping_units_leave_the_rest_as_single_bases() -> None:
    assert encode_units("ACGTGATT", "kmer6") == ["<dna_ACGTGA>", "<dna_T>", "<dna_T>"]
    assert encode_units("ACGTGATT", "kmer3") == [
        "<dna_ACG>",
        "<dna_TGA>",
        "<dna_T>",
        "<dna_T>",
    ]


@pytest.mark.parametrize("unit", UNIT_LENGTHS)
def test_decoding_undoes_encoding(unit) -> None:
    rng = random.Random(unit)
    sequences = ["", "A", "AC", "N", "NN", "N" * 40, "ACGT" * 200]
    sequences += ["".join(rng.choices("ACGTN", [9, 9, 9, 9, 1], k=k)) for k in range(1, 200)]
    for sequence in sequences:
        tokens = encode_units(sequence, unit)
        assert decode_units(["<dna>", *tokens, "</dna>"], unit) == sequence
        assert set(tokens) <= set(dna_tokens(unit))
        spans = unit_spans(sequence, unit)
        assert len(spans) == len(tokens)
        assert "".join(sequence[start:end] for start, end in spans) == sequence


@pytest.mark.parametrize("unit", UNIT_LENGTHS)
def test_ids_by_table_are_the_ids_of_the_tokens(unit) -> None:
    rng = random.Random(unit)
    ids = {token: 1000 + 3 * number for number, token in enumerate(dna_tokens(unit))}
    units = UnitIds(unit, ids)
    assert units.is_complete
    sequences = ["", "A", "AC", "N", "NNNNNNN", "ACGTNACGTACG" * 9, "ACGTAC", "ACGTACN"]
    sequences += ["".join(rng.choices("ACGTN", [9, 9, 9, 9, 1], k=k)) for k in range(1, 100)]
    for sequence in sequences:
        expected = [ids[token] for token in encode_units(sequence, unit)]
        assert units.encode(sequence).tolist() == expected


def test_ids_of_a_million_bases_are_those_of_their_pieces() -> None:
    ids = {token: number for number, token in enumerate(dna_tokens("kmer6"))}
    units, piece = UnitIds("kmer6", ids), "ACGTGATTACAN" * 1000
    assert units.encode(piece * 84).tolist() == units.encode(piece).tolist() * 84


def test_number_of_unit_tokens_is_markers_singles_and_words() -> None:
    assert [len(dna_tokens(unit)) for unit in UNIT_LENGTHS] == [7, 71, 71, 4103]


def test_something_else_is_no_unit() -> None:
    with pytest.raises(ValueError, match="'ACG' is no DNA token"):
        decode_units(["ACG"], "kmer3")
    with pytest.raises(ChatError) as error:
        encode_units("ACG", "kmer4")
    assert str(error.value) == (
        "dna_unit: 'kmer4' is no DNA unit. Did you mean 'kmer6' or 'kmer3'? [CHT010]"
    )


def test_text_is_split_at_sequences_only() -> None:
    text = "a <dna>ACG</dna> b <dna>acg</dna> <dna></dna>"
    assert split_dna(text) == [
        ("a ", False),
        ("ACG", True),
        (" b <dna>acg</dna> ", False),
        ("", True),
    ]


def extended(unit):
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    tokenizer.add_tokens(dna_tokens(unit))
    return tokenizer


def dna_ids(tokenizer, text: str) -> list[str]:
    user = Message(role="user", content=text)
    answer = Message(role="assistant", content="yes", trainable=True)
    conversation = Conversation(key="t/train/0", task="t", messages=(user, answer))
    example = tokenise_conversation(conversation, tokenizer, task_index=0, max_length=None)
    return tokenizer.convert_ids_to_tokens(example.input_ids.tolist())


@pytest.mark.parametrize("unit", ["single", "kmer3_overlapping", "kmer6"])
def test_tokenizer_with_units_reads_them_and_others_read_letters(unit) -> None:
    tokenizer = extended(unit)
    assert find_dna_unit(tokenizer) == unit
    tokens = dna_ids(tokenizer, "Is <dna>ACGTACGN</dna> bound?")
    assert tokens[tokens.index("<dna>") : tokens.index("</dna>") + 1] == [
        "<dna>",
        *encode_units("ACGTACGN", unit),
        "</dna>",
    ]
    plain = FORMATS["embedded"]()
    assert find_dna_unit(plain) is None
    assert "<dna>ACGTACGN</dna>" in "".join(dna_ids(plain, "<dna>ACGTACGN</dna>"))


def test_unit_in_the_tokenizer_settings_decides_between_kinds_of_3mers() -> None:
    tokenizer = extended("kmer3")
    assert find_dna_unit(tokenizer) == "kmer3_overlapping"
    tokenizer.init_kwargs["dna_unit"] = "kmer3"
    assert find_dna_unit(tokenizer) == "kmer3"
    assert "<dna_ACG>" in dna_ids(tokenizer, "<dna>ACGTAC</dna>")
    assert "<dna_CGT>" not in dna_ids(tokenizer, "<dna>ACGTAC</dna>")


def test_base_without_a_token_is_read_as_its_letter() -> None:
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    tokenizer.add_tokens([token for token in dna_tokens("single") if token != "<dna_N>"])
    tokens = dna_ids(tokenizer, "<dna>ANT</dna>")
    start = tokens.index("<dna>")
    assert tokens[start : start + 5] == ["<dna>", "<dna_A>", "N", "<dna_T>", "</dna>"]


def test_unit_tokens_written_in_plain_text_are_not_units() -> None:
    tokens = dna_ids(extended("single"), "What does <dna_A> mean, or </dna>?")
    assert "<dna_A>" not in tokens
    assert "</dna>" not in tokens
