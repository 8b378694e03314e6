import hashlib
import random
import re

import pytest

from pipeline.sources.generated.names import (
    DISEASE_ENDINGS,
    DISEASE_NOUNS,
    NAME_ENDINGS,
    SYLLABLES,
    NameMaker,
    side_of,
)

STEM = re.compile("([bdfgklmnprtv][aeiou]){2,3}")


def test_sixty_syllables_of_a_consonant_and_a_vowel():
    assert len(set(SYLLABLES)) == 60
    assert all(len(syllable) == 2 for syllable in SYLLABLES)


@pytest.mark.parametrize(
    ("name", "first_byte", "side"),
    [
        ("bima", 153, "train"),
        ("bemu", 16, "train"),
        ("bare", 155, "validation"),
        ("tidela", 217, "test"),
        ("beru", 218, "once"),
    ],
)
def test_the_side_of_a_name_is_fixed_by_its_hash(name, first_byte, side):
    assert hashlib.sha256(name.encode()).digest()[0] == first_byte
    assert side_of(name) == side


def test_no_name_is_on_two_sides():
    sides = ("train", "validation", "test", "once")
    drawn = {side: NameMaker(side, random.Random(1)) for side in sides}
    names = {side: {maker.word() for _ in range(300)} for side, maker in drawn.items()}
    for first in sides:
        for second in sides:
            assert first == second or not names[first] & names[second]


@pytest.mark.parametrize("ending", NAME_ENDINGS)
def test_an_ending_shows_the_kind_because_no_stem_can_end_so(ending):
    assert not STEM.fullmatch("kamu" + ending)


def test_unique_names_never_repeat():
    maker = NameMaker("once", random.Random(2), is_unique=True)
    names = [maker.word(num_syllables=(2,)) for _ in range(300)]
    assert len(set(names)) == 300


def test_a_disease_is_a_word_with_ending_or_a_plain_name_and_a_noun():
    maker = NameMaker("train", random.Random(3))
    for words in (maker.disease() for _ in range(50)):
        if len(words) == 1:
            assert words[0].endswith(DISEASE_ENDINGS)
        else:
            assert STEM.fullmatch(words[0])
            assert words[1] in DISEASE_NOUNS


def test_equal_generators_give_equal_names():
    first, second = (NameMaker("test", random.Random(4)) for _ in range(2))
    assert [first.word() for _ in range(5)] == [second.word() for _ in range(5)]
