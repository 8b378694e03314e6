"""Answers to the Berkeley Function Calling Leaderboard, read as its own handlers read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from eval.bfcl.categories import Language, find_category
from eval.bfcl.decode import DecodeError, decode_output, is_call_list
from eval.parsers.failure import failure, is_failure
from eval.parsers.values import ANY_FORMAT, parse_call_list
from pipeline.errors import ParseError
from pipeline.functions.calls import calls_to_json
from pipeline.functions.dialects import detect_dialect, parse_calls
from pipeline.functions.template_calls import Functions
from pipeline.types import Json, ParseFailure

_OFFICIAL: dict[str, str] = {
    "python_call": "python_call",
    "python": "python_call",
    "hermes": "hermes",
    "granite": "granite",
    "xlam": "json_list",
}
"""Formats that an official handler reads, with the name of our port of it."""


def parse_benchmark_calls(
    text: str,
    target: Mapping[str, Any],
    call_format: str = ANY_FORMAT,
    functions: Functions = (),
) -> Json | ParseFailure:
    """Return the calls of an answer to a row of the benchmark.

    One format holds for all answers of a run, as officially, where every model has its handler:
    what another format would make of an answer does not count. Formats without an official
    handler are read by the project's own parser of them.

    Args:
        text: The answer.
        target: The row's answer key, with its category.
        call_format: `python_call` for models that are asked in words (official: prompting), the
            format of the model's chat template for those that are given functions as such
            (official: FC), or `any`, by the signs of each answer.
        functions: What the row was shown.

    Failures: `malformed_calls`.
    """
    if call_format == ANY_FORMAT:
        return _by_signs(text, target, functions)
    if call_format not in _OFFICIAL:
        try:
            return cast("Json", calls_to_json(parse_calls(text, call_format, functions=functions)))
        except ParseError:
            return failure("malformed_calls", text)
    parsed = _decoded(text, _OFFICIAL[call_format], find_category(str(target["category"])).language)
    if isinstance(parsed, list) and parsed:
        return parsed
    # No call either way; told as unreadable where it is not meant as none.
    return [] if parse_call_list(text, functions) == [] else failure("malformed_calls", text)


def _by_signs(text: str, target: Mapping[str, Any], functions: Functions) -> Json | ParseFailure:
    """Return the calls as the format that the answer shows signs of reads them."""
    dialect = detect_dialect(text)
    if dialect == "hermes":
        # No block that can be read is no call; told as unreadable, with the same verdict.
        return _decoded(text, "hermes", "python") or failure("malformed_calls", text)
    if dialect not in {None, "python"}:
        parsed = parse_call_list(text, functions)
        # A fence may also stand around calls that are no JSON.
        if dialect != "xlam" or not is_failure(parsed):
            return parsed
    parsed = _decoded(text, "python_call", find_category(str(target["category"])).language)
    if parsed is None:
        return [] if dialect is None else failure("malformed_calls", text)
    return parsed


def _decoded(text: str, output_format: str, language: Language) -> Json | ParseFailure:
    """Return the calls of the official handler, `None` where it fails."""
    try:
        decoded = decode_output(text, output_format, language)
        # What JSON cannot hold no answer key accepts either.
        json.dumps(decoded, allow_nan=False)
    except (DecodeError, ValueError, TypeError):
        return None
    if not is_call_list(decoded):
        return failure("malformed_calls", text)
    calls = [(name, arguments) for call in decoded for name, arguments in call.items()]
    # A name that is no text names no function.
    return cast("Json", [{"name": str(name), "arguments": value} for name, value in calls])
