"""Byte-pair units: the same merges every time, cut as a plain program cuts, exact both ways."""

from __future__ import annotations

import copy
import random

import pytest

from pipeline.chat.dna import decode_units, dna_tokens, encode_units, find_dna_unit, unit_spans
from pipeline.chat.dna_bpe import cut_by_merges, learn_merges, merged_words
from pipeline.chat.extension import TokenExtension
from pipeline.chat.tokenise import tokenise_conversation
from pipeline.types import Conversation, Message
from tests.unit.chat.formats import FORMATS


def sequences(num, *, seed, letters="ACGT"):
    generator = random.Random(seed)
    motifs = ["TATAAA", "GGGCGG", "CAAT", "TTAGGG"]
    return ["".join(generator.choice([*motifs, *letters]) for _ in range(60)) for _ in range(num)]


@pytest.fixture(scope="module")
def merges():
    return tuple(learn_merges(sequences(300, seed=0), size=64))


def cut_plainly(sequence, merges):
    """Apply each merge in turn, everywhere; `N` joins nothing because no merge has it."""
    words = list(sequence)
    for left, right in merges:
        place = 0
        while place < len(words) - 1:
            if (words[place], words[place + 1]) == (left, right):
                words[place : place + 2] = [left + right]
            place += 1
    return words


def test_the_vocabulary_is_learned_the_same_way_every_time(merges):
    assert tuple(learn_merges(sequences(300, seed=0), size=64)) == merges
    assert len({*"ACGT", *merged_words(merges)}) == 64
    # What is planted more often than chance becomes a word, on either strand.
    assert {"TATAAA", "TTTATA"} & set(merged_words(merges))


def test_sequences_are_cut_as_a_plain_program_cuts_them(merges):
    for sequence in sequences(100, seed=1, letters="ACGTN"):
        assert cut_by_merges(sequence, merges) == cut_plainly(sequence, merges)


@pytest.mark.parametrize("sequence", ["", "A", "AC", "N", "N" * 40, "ACGTNNACGT", "TATAAA" * 2000])
def test_decoding_undoes_encoding(sequence, merges):
    tokens = encode_units(sequence, "bpe", merges)
    assert decode_units(["<dna>", *tokens, "</dna>"], "bpe") == sequence
    assert set(tokens) <= set(dna_tokens("bpe", merges))
    spans = unit_spans(sequence, "bpe", merges)
    assert "".join(sequence[start:end] for start, end in spans) == sequence
    assert all("N" not in token or token == "<dna_N>" for token in tokens)


def test_a_million_bases_are_cut_whole(merges):
    sequence = "".join(random.Random(3).choices("ACGT", k=1_000_000))
    assert "".join(cut_by_merges(sequence, merges)) == sequence


def test_units_travel_with_the_tokenizer(merges, tmp_path):
    tokenizer = copy.deepcopy(FORMATS["embedded"]())
    extension = TokenExtension(dna_unit="bpe", dna_merges=merges)
    extension.add_to(tokenizer)
    assert find_dna_unit(tokenizer) == "bpe"
    tokenizer.save_pretrained(tmp_path)
    again = TokenExtension.read(tmp_path)
    assert again == extension
    other = copy.deepcopy(FORMATS["embedded"]())
    again.add_to(other)
    messages = (
        Message(role="user", content="<dna>TATAAANACGT</dna>?"),
        Message(role="assistant", content="yes", trainable=True),
    )
    conversation = Conversation(key="t/train/0", task="t", messages=messages)
    found = [
        tokenise_conversation(conversation, each, task_index=0, max_length=None).input_ids.tolist()
        for each in (tokenizer, other)
    ]
    assert found[0] == found[1]
    tokens = tokenizer.convert_ids_to_tokens(found[0])
    expected = encode_units("TATAAANACGT", "bpe", merges)
    start = tokens.index("<dna>") + 1
    assert tokens[start : start + len(expected)] == expected
