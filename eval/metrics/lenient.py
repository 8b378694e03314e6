"""The lenient scores of In-BoXBART's own script (Parmar et al., arXiv:2204.07600), to compare with.

The target's text is cut at commas, and an answer gets its best score over the pieces: one right
entity of five is an exact match. Do not read them as measures of quality. ROUGE-L is without the
stemming of the original.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import cast, get_args

from eval.answers import AnswerType
from eval.metrics.labels import label_of
from eval.metrics.metric import Metric, RowFunction
from eval.metrics.text import answer_words, rouge_l_of_words, rouge_words, word_f1
from pipeline.templates.answers import render_answer
from pipeline.types import Json, TaskSpec

_SHAPES = tuple(
    shape for shape in get_args(AnswerType) if shape not in {"tags", "calls", "bfcl_calls"}
)


def _best_piece(score: Callable[[str, str], float]) -> RowFunction:
    def row(parsed: Json, target: Json, spec: TaskSpec) -> float:
        text = parsed if isinstance(parsed, str) else render_answer(label_of(parsed), spec)
        return max(score(text, piece) for piece in render_answer(target, spec).split(", "))

    return row


def _exact(answer: str, piece: str) -> float:
    return float(answer_words(answer) == answer_words(piece))


def _f1(answer: str, piece: str) -> float:
    return word_f1(answer_words(answer), answer_words(piece))


def _rouge_l(answer: str, piece: str) -> float:
    return rouge_l_of_words(rouge_words(answer), rouge_words(piece))


def _metric(name: str, score: Callable[[str, str], float]) -> Metric:
    needs = cast("tuple[AnswerType, ...]", _SHAPES)
    return Metric(name=name, needs=needs, row=_best_piece(score), of_text=True)


BOX_COMPAT_EXACT_MATCH = _metric("box_compat_exact_match", _exact)
"""Lower-case words without punctuation and articles are those of a piece of the target."""

BOX_COMPAT_F1 = _metric("box_compat_f1", _f1)
"""Best word overlap F1 with a piece of the target."""

BOX_COMPAT_ROUGE_L = _metric("box_compat_rouge_l", _rouge_l)
"""Best ROUGE-L F1 with a piece of the target."""
