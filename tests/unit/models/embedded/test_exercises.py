import json
import random
import re
from itertools import islice

import pytest

from pipeline.models.embedded.text import CUT_SITES, MIXTURE, Source, exercises, write_json
from pipeline.sources.generated.names import NameMaker, side_of

NAME = re.compile(r"\b(?:[bdfgklmnprtv][aeiou]){3}(?:sis|tis|mia|xia|zine|zol|cin|xide)?\b")


@pytest.mark.parametrize("make", list(MIXTURE), ids=lambda make: make.__name__)
def test_every_exercise_has_a_prompt_and_an_answer(make):
    generator = random.Random(0)
    source = Source(random=generator, names=NameMaker("train", generator), longest=4)
    for _ in range(30):
        exercise = make(source)
        assert exercise.prompt.strip()
        assert exercise.answer.strip()


def test_no_exercise_shows_a_held_out_name():
    for exercise in islice(exercises(0, longest=4), 400):
        for name in NAME.findall(f"{exercise.prompt} {exercise.answer}"):
            assert side_of(name) == "train"


def test_json_answers_hold_values_of_the_text():
    generator = random.Random(1)
    source = Source(random=generator, names=NameMaker("train", generator), longest=4)
    for _ in range(50):
        exercise = write_json(source)
        for value in json.loads(exercise.answer).values():
            assert str(value) in exercise.prompt


def test_no_cut_site_is_a_motif_of_a_generated_task():
    for site in CUT_SITES.values():
        for motif in ("TATAAA", "TGACGTCA", "GTAAGT", "TTTCTTTTCAG", "GGGCGG"):
            assert site not in motif
            assert motif not in site


def test_equal_seeds_give_equal_exercises():
    first, second = (list(islice(exercises(7, longest=3), 40)) for _ in range(2))
    assert first == second
