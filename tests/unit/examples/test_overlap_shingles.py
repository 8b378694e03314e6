"""Windows of many texts at once, against windows taken one by one."""

import random

import numpy as np
import pytest

from pipeline.examples.overlap.content import reverse_complement
from pipeline.examples.overlap.shingles import (
    DNA_WINDOW,
    TEXT_WINDOW,
    dna_shingles,
    text_shingles,
)

RNG = random.Random(3)
TEXTS = [bytes(RNG.choices(b"abc\xc3\xa9", k=RNG.randrange(40))) for _ in range(200)]
SEQUENCES = [bytes(RNG.choices(b"ACGTN", k=RNG.randrange(60))) for _ in range(200)]


def canonical(window):
    return min(window, reverse_complement(window))


@pytest.mark.parametrize(
    ("shingles", "texts", "size", "form"),
    [
        (text_shingles, TEXTS, TEXT_WINDOW, bytes),
        (dna_shingles, SEQUENCES, DNA_WINDOW, canonical),
    ],
)
def test_windows_have_one_hash_exactly_when_they_are_equal(shingles, texts, size, form):
    hashes, owners = shingles(texts)
    expected = [
        (number, form(text[place : place + size]))
        for number, text in enumerate(texts)
        for place in range(len(text) - size + 1)
    ]
    assert owners.tolist() == [number for number, _ in expected]
    of_window = dict(zip((window for _, window in expected), hashes.tolist(), strict=True))
    assert [of_window[window] for _, window in expected] == hashes.tolist()
    assert len(set(of_window.values())) == len(of_window)


def test_a_window_has_the_same_hash_at_any_place_and_in_any_batch():
    window = b"q" * TEXT_WINDOW
    first, _ = text_shingles([window])
    moved, _ = text_shingles([b"x" * 100_000, b"abc" + window])
    assert moved[-1] == first[0]


@pytest.mark.parametrize("shingles", [text_shingles, dna_shingles])
@pytest.mark.parametrize("texts", [[], [b""], [b"ACG", b""]])
def test_texts_shorter_than_a_window_have_none(shingles, texts):
    hashes, owners = shingles(texts)
    assert len(hashes) == len(owners) == 0
    assert hashes.dtype == np.uint64
