"""Answers that are a number, text, JSON, or function calls."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import cast

from eval.parsers.failure import failure, without_period
from pipeline.errors import ParseError
from pipeline.functions.calls import calls_to_json
from pipeline.functions.dialects import parse_calls
from pipeline.functions.json_text import load_json
from pipeline.templates.answers import EMPTY_ANSWER
from pipeline.types import Json, ParseFailure, TaskSpec

ANY_FORMAT = "any"
"""Call format of the benchmark that reads each answer by its own signs: the most lenient."""

_NUMBER = re.compile(r"[+-]?(?:\d{1,30}(?:\.\d{1,30})?|\.\d{1,30})")


def parse_number(text: str, spec: TaskSpec) -> Json | ParseFailure:
    """Return the number that the whole answer is.

    Failures: `not_a_number`, `out_of_range` beyond the ends of the task's scale.
    """
    plain = without_period(text)
    if _NUMBER.fullmatch(plain) is None:
        return failure("not_a_number", text)
    value = float(plain)
    low, high = spec.settings.get("minimum"), spec.settings.get("maximum")
    if low is not None and value < float(cast("float", low)):
        return failure("out_of_range", text)
    if high is not None and value > float(cast("float", high)):
        return failure("out_of_range", text)
    return value


def parse_span(text: str) -> Json | ParseFailure:
    """Return the answer's text; the empty answer gives `""`, "the question has no answer".

    Failures: `empty`.
    """
    if without_period(text).casefold() == EMPTY_ANSWER.casefold():
        return ""
    return text.strip()


def parse_names(text: str) -> Json | ParseFailure:
    """Return a JSON list of names.

    Failures: `not_json`, `not_a_list_of_names`.
    """
    if without_period(text).casefold() == EMPTY_ANSWER.casefold():
        return []
    value = _load(text)
    if isinstance(value, ParseFailure):
        return value
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return failure("not_a_list_of_names", text)
    return value


def parse_arguments(text: str) -> Json | ParseFailure:
    """Return a JSON object.

    Failures: `not_json`, `not_an_object`.
    """
    value = _load(text)
    if isinstance(value, ParseFailure | dict):
        return value
    return failure("not_an_object", text)


def parse_call_list(text: str, functions: Sequence[Mapping[str, Json]] = ()) -> Json | ParseFailure:
    """Return the calls of the answer in any dialect; prose without a call gives an empty list.

    Args:
        text: The answer.
        functions: What the row was shown.

    Failures: `malformed_calls`.
    """
    try:
        return cast("Json", calls_to_json(parse_calls(text, functions=functions)))
    except ParseError:
        return failure("malformed_calls", text)


def _load(text: str) -> Json | ParseFailure:
    try:
        return load_json(text)
    except ParseError:
        return failure("not_json", text)
