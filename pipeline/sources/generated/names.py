"""Invented names: short words over a fixed set of syllables, split by a hash.

Every stem is made of consonant-vowel syllables, so a small tokenizer sees each piece often.
Diseases, chemicals and proteins end in a letter group that no stem contains. A name belongs to
one side only (`side_of`), so that a test row never shows a name that a training row has shown.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from typing import Literal

Side = Literal["train", "validation", "test", "once"]
"""Where a name may occur; `once` is for files that have a single split on the hub."""

SYLLABLES: tuple[str, ...] = tuple(
    consonant + vowel for consonant in "bdfgklmnprtv" for vowel in "aeiou"
)
DISEASE_ENDINGS = ("sis", "tis", "mia", "xia")
CHEMICAL_ENDINGS = ("zine", "zol", "cin", "xide")
PROTEIN_ENDINGS = ("nase", "zyme", "sin", "cor")
NAME_ENDINGS = (*DISEASE_ENDINGS, *CHEMICAL_ENDINGS, *PROTEIN_ENDINGS)
DISEASE_NOUNS = ("syndrome", "disease", "fever")
CHEMICAL_NOUNS = ("acid", "sulfate")


def side_of(name: str) -> Side:
    """Return the only side on which `name` may occur (60 / 10 / 15 / 15 % of all names)."""
    value = hashlib.sha256(name.encode()).digest()[0]
    if value < 154:
        return "train"
    if value < 180:
        return "validation"
    return "test" if value < 218 else "once"


class NameMaker:
    """Names of one side, in an order that only the random generator decides."""

    def __init__(self, side: Side, generator: random.Random, *, is_unique: bool = False) -> None:
        """Draw names of `side` from `generator`; with `is_unique` never the same name twice."""
        self._side = side
        self._random = generator
        self._used: set[str] | None = set() if is_unique else None

    def word(self, *, num_syllables: Sequence[int] = (2, 3), endings: Sequence[str] = ("",)) -> str:
        """Return a name of one of these lengths, with one of these endings."""
        while True:
            count = self._random.choice(num_syllables)
            stem = "".join(self._random.choices(SYLLABLES, k=count))
            name = stem + self._random.choice(endings)
            if side_of(name) != self._side:
                continue
            if self._used is None:
                return name
            if name not in self._used:
                self._used.add(name)
                return name

    def choice(self, options: Sequence[str]) -> str:
        """Return one of `options`, drawn from the same generator as the names."""
        return self._random.choice(options)

    def number(self, low: int, high: int) -> int:
        """Return a whole number between `low` and `high`, both included."""
        return self._random.randint(low, high)

    def disease(self) -> list[str]:
        """Return the words of a disease: a word with an ending, or a plain name and a noun."""
        if self._random.random() < 0.6:
            return [self.word(endings=DISEASE_ENDINGS)]
        return [self.word(), self._random.choice(DISEASE_NOUNS)]

    def chemical(self) -> list[str]:
        """Return the words of a chemical, one or two."""
        if self._random.random() < 0.75:
            return [self.word(endings=CHEMICAL_ENDINGS)]
        return [self.word(), self._random.choice(CHEMICAL_NOUNS)]

    def protein(self) -> str:
        """Return the name of a protein."""
        return self.word(endings=PROTEIN_ENDINGS)
