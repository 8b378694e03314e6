"""Rows planted to be found: copies of evaluated rows, changed as copies are changed in the wild."""

from __future__ import annotations

import functools
import itertools
import random
import string
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Change = Callable[[str, random.Random], str]

_COMPLEMENT = str.maketrans("ACGTacgt", "TGCAtgca")
_STOCK = (
    "the aim of this study was to determine whether",
    "on the other hand",
    "the results suggest that",
    "in patients with",
    "can you tell me how to",
    "according to the",
    "as well as a number of",
)


@dataclass(frozen=True)
class Planted:
    """A changed copy, and which row it is a copy of."""

    change: str
    source: int
    text: str


def make_texts(number: int, *, seed: int) -> list[str]:
    """Return different texts of 8 to 120 words with the word frequencies of natural language.

    Words follow Zipf's law, and stock phrases recur, so that unrelated texts share pieces.
    """
    rng = random.Random(seed)
    vocabulary, weights = _language()
    texts = []
    for _ in range(number):
        words = rng.choices(vocabulary, cum_weights=weights, k=int(8 * 15 ** rng.random()))
        for _ in range(rng.randrange(1 + len(words) // 12)):
            words.insert(rng.randrange(len(words)), rng.choice(_STOCK))
        texts.append(" ".join(words).capitalize() + ".")
    return texts


def make_sequences(number: int, *, seed: int) -> list[str]:
    """Return random DNA of 70 to 500 bases, some with a repeat that others have too."""
    rng = random.Random(seed)
    repeat = "".join(random.Random(0).choices("ACGT", k=40))
    sequences = []
    for _ in range(number):
        sequence = "".join(rng.choices("ACGT", k=rng.randrange(70, 500)))
        if rng.random() < 0.1:
            place = rng.randrange(len(sequence))
            sequence = sequence[:place] + repeat + sequence[place:]
        sequences.append(sequence)
    return sequences


def plant(sources: Sequence[str], number: int, *, is_dna: bool, seed: int) -> list[Planted]:
    """Return changed copies of random sources, each change equally often."""
    rng = random.Random(seed)
    changes = list((DNA_CHANGES if is_dna else TEXT_CHANGES).items())
    planted = []
    for position in range(number):
        name, change = changes[position % len(changes)]
        source = rng.randrange(len(sources))
        planted.append(Planted(name, source, change(sources[source], rng)))
    return planted


@functools.cache
def _language() -> tuple[list[str], list[float]]:
    """Return words, the frequent ones first, and their cumulated frequencies."""
    rng = random.Random(0)
    words = [_word(rng) for _ in range(8000)]
    return words, list(itertools.accumulate(1 / (rank + 2.7) for rank in range(len(words))))


def _word(rng: random.Random) -> str:
    syllables = (rng.choice("bcdfghklmnprstvw") + rng.choice("aeiou") for _ in range(4))
    return "".join(list(syllables)[: rng.randrange(1, 5)]) + rng.choice(["", "n", "s", "r"])


def _edit(text: str, rng: random.Random, alphabet: str) -> str:
    """Put one slip into every 60 characters: a letter changed, lost, doubled or swapped."""
    letters = list(text)
    for _ in range(max(1, len(letters) // 60)):
        place = rng.randrange(len(letters) - 1)
        kind = rng.randrange(4)
        if kind == 0:
            letters[place] = rng.choice(alphabet)
        elif kind == 1:
            letters[place] = ""
        elif kind == 2:
            letters[place] += rng.choice(alphabet)
        else:
            letters[place : place + 2] = letters[place + 1], letters[place]
    return "".join(letters)


def _other_words(text: str, rng: random.Random) -> str:
    """Put another word in the place of one in twenty."""
    words = text.split()
    for _ in range(max(1, len(words) // 20)):
        words[rng.randrange(len(words))] = rng.choice(["perhaps", "system", "other", "value"])
    return " ".join(words)


def _punctuate(text: str, rng: random.Random) -> str:
    return "".join(rng.choice([" ", ", ", " - ", "... "]) if c == " " else c for c in text) + "?!"


def _embed(text: str, rng: random.Random) -> str:
    before, after = make_texts(2, seed=rng.randrange(1 << 30))
    return f"{before}\n\n{text} {after}"


def _bases(rng: random.Random, most: int) -> str:
    return "".join(rng.choices("ACGT", k=rng.randrange(most)))


def _other_strand(sequence: str) -> str:
    return sequence.translate(_COMPLEMENT)[::-1]


TEXT_CHANGES: dict[str, Change] = {
    "none": lambda text, rng: text,
    "case": lambda text, rng: rng.choice([text.upper(), text.lower(), text.title()]),
    "blanks": lambda text, rng: text.replace(" ", rng.choice(["  ", "\n", " \t"])),
    "punctuation": _punctuate,
    "slips": lambda text, rng: _edit(text, rng, string.ascii_lowercase),
    "words": _other_words,
    "embedded": _embed,
    "end cut": lambda text, rng: text[: len(text) * 6 // 10],
    "start cut": lambda text, rng: text[len(text) * 4 // 10 :],
}
"""What copies of a text go through."""

DNA_CHANGES: dict[str, Change] = {
    "none": lambda sequence, rng: sequence,
    "case": lambda sequence, rng: sequence.lower(),
    "other strand": lambda sequence, rng: _other_strand(sequence),
    "mutated": lambda sequence, rng: _edit(sequence, rng, "ACGT"),
    "other strand, mutated": lambda sequence, rng: _other_strand(_edit(sequence, rng, "ACGT")),
    "embedded": lambda sequence, rng: _bases(rng, 300) + sequence + _bases(rng, 300),
    "other strand, embedded": lambda s, rng: _bases(rng, 300) + _other_strand(s) + "ACGTT",
    "end cut": lambda sequence, rng: sequence[: len(sequence) * 6 // 10],
    "other strand, cut": lambda sequence, rng: _other_strand(sequence[len(sequence) * 4 // 10 :]),
}
"""What copies of a sequence go through."""
