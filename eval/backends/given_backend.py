"""Answers from a file: one `{"key": ..., "text": ...}` object per line."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from eval.backends.base import Prompt, Request
from pipeline.errors import EvalError, PipelineError, nearest_names, raise_all
from pipeline.files import sha256_of_file, sha256_of_json
from pipeline.types import Json, Prediction

MAX_LISTED_ERRORS = 20

_BATCH_ROWS = 4096
_FEW_LINES = 3


class GivenBackend:
    """A `Backend` that looks answers up by key.

    A key without an answer is a failure, `no_answer`, and counts as wrong: no row is dropped. A
    given empty text is an answer, which is right where the task's metric says so.
    """

    neighbours_matter = False

    def __init__(self, answers: dict[str, str], *, name: str, sha256: str = "") -> None:
        """Keep `answers` (key -> text).

        Args:
            answers: Text by key.
            name: Name for people to read.
            sha256: Fingerprint of where the answers come from; computed where empty.
        """
        self._answers = answers
        self._name = name
        self._sha256 = sha256 or sha256_of_json(cast("Json", answers))

    def describe(self) -> dict[str, Json]:
        """Return the name and the fingerprint of the answers."""
        return {
            "backend": "given",
            "model": self._name,
            "adapter": None,
            "decoding": "given",
            "answers_sha256": self._sha256,
        }

    def longest_gold_answer(self, requests: Sequence[Request]) -> int:
        """Return 0: given answers have any length."""
        del requests
        return 0

    def prompts(self, requests: Sequence[Request], *, max_new_tokens: int) -> list[Prompt]:
        """Return the requests; there is no prompt to read."""
        del max_new_tokens
        nothing = np.zeros(0, dtype=np.int32)
        return [Prompt(request=request, sha256="", input_ids=nothing) for request in requests]

    def batches(self, prompts: Sequence[Prompt], *, max_new_tokens: int) -> list[list[Prompt]]:
        """Return the prompts in blocks; the length of answers is not limited here."""
        del max_new_tokens
        return [
            list(prompts[start : start + _BATCH_ROWS])
            for start in range(0, len(prompts), _BATCH_ROWS)
        ]

    def generate(self, batch: Sequence[Prompt], *, max_new_tokens: int) -> list[Prediction]:
        """Return the given answers."""
        del max_new_tokens
        return [self._prediction(prompt) for prompt in batch]

    def score_choices(self, batch: Sequence[Prompt]) -> list[Prediction]:
        """Return the given answers."""
        return [self._prediction(prompt) for prompt in batch]

    def _prediction(self, prompt: Prompt) -> Prediction:
        text = self._answers.get(prompt.key)
        if text is None:
            return Prediction(key=prompt.key, text="", finish_reason="failed", failure="no_answer")
        return Prediction(key=prompt.key, text=text, finish_reason="given")


def load_given_answers(path: Path, keys: Collection[str]) -> GivenBackend:
    """Read answers from a JSON Lines file.

    Args:
        path: The file.
        keys: All keys that may be answered. Those without an answer are no error here.

    Raises:
        EvalError: The file cannot be read (EVL040), a line is no such object (EVL041), a key is
            answered twice (EVL042) or is no key of the task (EVL043); all of them at once.
    """
    allowed = set(keys)
    answers: dict[str, str] = {}
    errors: list[PipelineError] = []
    for number, line in enumerate(_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            key, text = _answer(line, where)
            _check_key(key, answers, allowed, where)
            answers[key] = text
        except EvalError as error:
            errors.append(error)
        if len(errors) == _FEW_LINES and not answers and {e.code for e in errors} == {"EVL041"}:
            # Another kind of file: one line is enough.
            message = f"none of the first {_FEW_LINES} lines is an answer"
            raise EvalError("EVL041", message, where=path, hint=_FORM)
        if len(errors) == MAX_LISTED_ERRORS:
            break
    raise_all(errors)
    return GivenBackend(answers, name=path.name, sha256=sha256_of_file(path))


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise EvalError(
            "EVL040",
            f"the answers cannot be read: {reason}",
            where=path,
            hint='Give a file with one {"key": ..., "text": ...} object per line',
        ) from error


def _answer(line: str, where: str) -> tuple[str, str]:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EvalError("EVL041", "the line is not JSON", where=where, hint=_FORM) from error
    if not isinstance(value, dict):
        raise EvalError("EVL041", "the line is no JSON object", where=where, hint=_FORM)
    key, text = value.get("key"), value.get("text")
    if not isinstance(key, str) or not isinstance(text, str):
        missing = "key" if not isinstance(key, str) else "text"
        raise EvalError("EVL041", f"no text under {missing!r}", where=where, hint=_FORM)
    # Lone surrogates can be written in JSON but in no UTF-8 file.
    return key, text.encode("utf-8", "replace").decode("utf-8")


_FORM = 'Each line is {"key": "task/split/row", "text": "answer"}'


def _check_key(key: str, answers: dict[str, str], allowed: set[str], where: str) -> None:
    if key in answers:
        raise EvalError(
            "EVL042", f"a second answer to {key!r}", where=where, hint="Keep one answer per key"
        )
    if key not in allowed:
        # Comparing with many thousand keys is slow, and a few show the form as well.
        near = nearest_names(key, sorted(allowed)[:2000], count=1)
        hint = f"Keys look like {(near or sorted(allowed)[:1] or ['task/split/row'])[0]!r}"
        raise EvalError("EVL043", f"no row has the key {key!r}", where=where, hint=hint)
