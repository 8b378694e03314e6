"""Both strands of DNA: means of log-likelihoods, only for the tasks that allow it."""

from __future__ import annotations

import numpy as np
import pytest

from eval.backends.base import Prompt, Request
from eval.backends.both_strands import BothStrands
from pipeline.types import Conversation, Message, Prediction


class Counting:
    """Says yes the louder, the more A the sequence has."""

    neighbours_matter = False

    def __init__(self):
        self.asked = []

    def describe(self):
        return {"backend": "counting"}

    def prompts(self, requests, *, max_new_tokens):
        return [
            Prompt(request=r, sha256="0", input_ids=np.zeros(1, dtype=np.int32)) for r in requests
        ]

    def score_choices(self, batch):
        found = []
        for prompt in batch:
            text = prompt.request.conversation.messages[0].content
            self.asked.append(text)
            values = (-2.5, -5.0 + text.count("A"))
            best = prompt.request.choices[int(np.argmax(values))]
            found.append(Prediction(key=prompt.key, text=best, choice_log_likelihoods=values))
        return found


def request(task, bases):
    messages = (
        Message(role="user", content=f"A question.\nSequence: <dna>{bases}</dna>"),
        Message(role="assistant", content="yes", trainable=True),
    )
    conversation = Conversation(key=f"{task}/test/0", task=task, messages=messages)
    return Request(kind="choices", conversation=conversation, choices=("no", "yes"))


def score(task, bases):
    inner = Counting()
    backend = BothStrands(inner, {"marks"})
    prompts = backend.prompts([request(task, bases)], max_new_tokens=4)
    (answer,) = backend.score_choices(prompts)
    return inner, answer


def test_the_mean_of_both_strands_decides():
    inner, answer = score("marks", "AAAC")
    assert inner.asked[1] == "A question.\nSequence: <dna>GTTT</dna>"
    assert answer.choice_log_likelihoods == pytest.approx((-2.5, (-1.0 - 4.0) / 2))
    _, answer = score("marks", "AACC")
    assert answer.text == "no"
    inner, answer = score("promoters", "AACC")
    assert (answer.text, len(inner.asked)) == ("yes", 1)


def test_both_strands_of_a_sequence_get_the_same_values():
    values = [score("marks", bases)[1].choice_log_likelihoods for bases in ("AAAC", "GTTT")]
    assert values[0] == pytest.approx(values[1])


def test_the_description_tells_that_both_strands_were_read():
    assert BothStrands(Counting(), {"b", "a"}).describe()["both_strands"] == ["a", "b"]
