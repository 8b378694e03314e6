"""Answers to the Berkeley Function Calling Leaderboard, read as its own handlers read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from eval.bfcl.categories import Language, find_category
from eval.bfcl.decode import DecodeError, decode_output, is_call_list
from eval.parsers.failure import failure, is_failure
from eval.parsers.values import parse_call_list
from pipeline.functions.dialects import detect_dialect
from pipeline.types import Json, ParseFailure


def parse_benchmark_calls(text: str, target: Mapping[str, Any]) -> Json | ParseFailure:
    """Return the calls of an answer to a row of the benchmark.

    `<tool_call>` blocks are decoded as the official handler of such models does, which leaves out
    blocks that cannot be read. JSON in another of the project's dialects stands for a model that
    is given functions as such (official: FC); everything else is decoded as the official default
    handler does for models that are asked in words (official: prompting). So are the numbers
    comparable with the leaderboard's. Prose without a call gives an empty list.

    Args:
        text: The answer.
        target: The row's answer key, with its category.

    Failures: `malformed_calls`.
    """
    dialect = detect_dialect(text)
    if dialect == "hermes":
        # No block that can be read is no call; told as unreadable, with the same verdict.
        return _decoded(text, "hermes", "python") or failure("malformed_calls", text)
    if dialect not in {None, "python"}:
        parsed = parse_call_list(text)
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
