"""Parsers: text of a model in, a value or a typed failure out; nothing is executed."""

from eval.parsers.parse import parse_answer, with_scores
from eval.parsers.values import ANY_FORMAT

__all__ = ["ANY_FORMAT", "parse_answer", "with_scores"]
