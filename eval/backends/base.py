"""What the harness asks of whatever answers: a model in this process, or a file of answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.types import Conversation, Json, Prediction

RequestKind = Literal["generate", "choices"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One example put to a backend."""

    kind: RequestKind
    conversation: Conversation
    """Ends with the gold answer, which the backend leaves out of the prompt."""
    choices: tuple[str, ...] = ()
    """Candidate answers; only for `choices`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A request as the backend reads it."""

    request: Request
    sha256: str
    """Of everything that decides the answer: the prompt's token ids, those of the choices, and the
    limit of an answer that is written."""
    input_ids: npt.NDArray[np.int32]
    """Shape `[T]`; empty for backends that read no tokens, and for prompts that are too long."""
    choice_ids: tuple[tuple[int, ...], ...] = ()
    is_too_long: bool = False
    """Whether the prompt does not fit even without its context; it is answered by nothing and
    counts as wrong."""

    @property
    def key(self) -> str:
        """Return the key of the example."""
        return self.request.conversation.key


class Backend(Protocol):
    """Whatever can answer prompts.

    Batches are formed from all prompts of a task, whether or not some are answered already. So a
    resumed run computes each row beside the same neighbours, and its file is equal byte by byte.
    """

    @property
    def neighbours_matter(self) -> bool:
        """Whether the rows of a batch change each other's numbers, if only in the last digits."""
        ...

    def describe(self) -> dict[str, Json]:
        """Return what answers, as JSON: names, weights fingerprint, number formats, limits.

        Two evaluations may share answers only when their descriptions are equal.
        """
        ...

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return the tokens of the longest gold answer, or 0 where answers are not limited."""
        ...

    def prompts(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the requests as the backend reads them, in the same order."""
        ...

    def batches(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[list[Prompt]]:
        """Return the prompts in groups to be answered together; each prompt is in one group."""
        ...

    def generate(self, batch: Sequence[Prompt], *, max_new_tokens: int) -> list[Prediction]:
        """Return one greedy answer per prompt, in the same order."""
        ...

    def score_choices(self, batch: Sequence[Prompt]) -> list[Prediction]:
        """Return the most likely choice per prompt, with all log-likelihoods (in nats)."""
        ...
