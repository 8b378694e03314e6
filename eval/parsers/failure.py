"""How parsing ends where there is no value."""

from __future__ import annotations

from pipeline.types import Json, ParseFailure

EXCERPT_CHARACTERS = 80


def failure(code: str, text: str) -> ParseFailure:
    """Return a failure with the start of the answer."""
    return ParseFailure(code=code, excerpt=text[:EXCERPT_CHARACTERS])


def is_failure(value: Json | ParseFailure) -> bool:
    """Return whether parsing gave no value."""
    return isinstance(value, ParseFailure)


def without_period(text: str) -> str:
    """Return `text` without white space around it and without one period at its end."""
    stripped = text.strip()
    return stripped[:-1].rstrip() if stripped.endswith(".") else stripped
