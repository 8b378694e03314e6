"""Parsers: text of a model in, a value or a typed failure out; nothing is executed."""

from eval.parsers.parse import parse_answer, with_scores

__all__ = ["parse_answer", "with_scores"]
