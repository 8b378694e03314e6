"""Answers to the Berkeley Function Calling Leaderboard, read as its own handlers read them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from eval.bfcl.categories import find_category
from eval.bfcl.decode import DecodeError, decode_output, is_call_list
from eval.parsers.failure import failure, is_failure
from eval.parsers.values import parse_call_list
from pipeline.functions.dialects import detect_dialect
from pipeline.types import Json, ParseFailure


def parse_benchmark_calls(text: str, target: Mapping[str, Any]) -> Json | ParseFailure:
    """Return the calls of an answer to a row of the benchmark.

    JSON in any of the project's dialects stands for a model that is given functions as such
    (official: FC); everything else is decoded as the official default handler does for models
    that are asked in words (official: prompting). So are the numbers comparable with the
    leaderboard's. Prose without a call gives an empty list.

    Args:
        text: The answer.
        target: The row's answer key, with its category.

    Failures: `malformed_calls`.
    """
    dialect = detect_dialect(text)
    if dialect not in {None, "python"}:
        parsed = parse_call_list(text)
        # A fence may also stand around calls that are no JSON.
        if dialect != "xlam" or not is_failure(parsed):
            return parsed
    language = find_category(str(target["category"])).language
    try:
        decoded = decode_output(text, "python_call", language)
        # What JSON cannot hold no answer key accepts either.
        json.dumps(decoded, allow_nan=False)
    except (DecodeError, ValueError, TypeError):
        return [] if dialect is None else failure("malformed_calls", text)
    if not is_call_list(decoded):
        return failure("malformed_calls", text)
    calls = [(name, arguments) for call in decoded for name, arguments in call.items()]
    return cast("Json", [{"name": name, "arguments": arguments} for name, arguments in calls])
