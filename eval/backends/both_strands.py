"""DNA read on both strands: the log-likelihood of a choice is the mean over the two.

Only for tasks whose annotation says that a strand means the same as its other; all other requests,
and written answers, go to the inner backend as they are.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np

from eval.backends.base import Backend, Prompt, Request
from pipeline.chat.dna import other_strand
from pipeline.types import Json, Prediction


class BothStrands:
    """A `Backend` that asks another one twice."""

    def __init__(self, inner: Backend, tasks: Collection[str]) -> None:
        """Ask `inner`; `tasks` are the ids of those read on both strands."""
        self._inner = inner
        self._tasks = frozenset(tasks)
        self._max_new_tokens = 0

    @property
    def neighbours_matter(self) -> bool:
        """Whether the rows of a batch change each other's numbers."""
        return self._inner.neighbours_matter

    def describe(self) -> dict[str, Json]:
        """Return what the inner backend says, and the tasks read on both strands."""
        return self._inner.describe() | {"both_strands": [*sorted(self._tasks)]}

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return the tokens of the longest gold answer."""
        return self._inner.longest_gold_answer(requests)

    def prompts(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the requests as the inner backend reads them, on the strand of the data."""
        self._max_new_tokens = max_new_tokens
        return self._inner.prompts(requests, max_new_tokens=max_new_tokens)

    def batches(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[list[Prompt]]:
        """Return the groups of the inner backend."""
        return self._inner.batches(prompts, max_new_tokens=max_new_tokens)

    def generate(self, batch: Sequence[Prompt], *, max_new_tokens: int) -> list[Prediction]:
        """Return the inner backend's answers."""
        return self._inner.generate(batch, max_new_tokens=max_new_tokens)

    def score_choices(self, batch: Sequence[Prompt]) -> list[Prediction]:
        """Return the choice with the highest mean log-likelihood over the strands."""
        found = self._inner.score_choices(batch)
        places = [
            place
            for place, prompt in enumerate(batch)
            if prompt.request.conversation.task in self._tasks and not prompt.is_too_long
        ]
        requests = [batch[place].request for place in places]
        others = self._inner.prompts(
            [replace(each, conversation=other_strand(each.conversation)) for each in requests],
            max_new_tokens=self._max_new_tokens,
        )
        pairs = [
            (p, other) for p, other in zip(places, others, strict=True) if not other.is_too_long
        ]
        answers = self._inner.score_choices([other for _, other in pairs]) if pairs else []
        for (place, other), answer in zip(pairs, answers, strict=True):
            found[place] = _mean(found[place], answer, other.request.choices)
        return found


def _mean(first: Prediction, second: Prediction, choices: Sequence[str]) -> Prediction:
    """Return the first prediction with the mean of both log-likelihoods, if both have them."""
    if first.choice_log_likelihoods is None or second.choice_log_likelihoods is None:
        return first
    values = np.mean([first.choice_log_likelihoods, second.choice_log_likelihoods], axis=0)
    return replace(
        first,
        text=choices[int(np.argmax(values))],
        choice_log_likelihoods=tuple(float(value) for value in values),
    )
