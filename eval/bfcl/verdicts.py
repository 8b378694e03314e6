"""Verdicts of BFCL rows: one answer, one row, or a file of rows."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from eval.bfcl.categories import (
    DATA_VERSION,
    NOT_COUNTED,
    Category,
    Language,
    find_category,
    scored_category,
)
from eval.bfcl.checker import check_calls
from eval.bfcl.constant_text import Value
from eval.bfcl.data import FOLDER, BfclData
from eval.bfcl.decode import FORMATS, DecodeError, decode_output, is_call_list
from pipeline.errors import EvalError, PipelineError, did_you_mean, raise_all
from pipeline.files import open_atomic
from pipeline.types import FunctionCall, Json

NOT_SCORED = "not_scored"
"""Start of the error type of rows whose category this package does not score."""

FAILED = "ast_decoder:decoder_failed"
"""Error type of answers that the official handler cannot read."""

_MAX_LINE_CHARACTERS = 16 * 2**20
_MAX_REPORTED_ERRORS = 20
_ROW_KEYS = ("row", "category", "id", "format", "model_output")


@dataclass(slots=True)
class VerdictCounts:
    """What a file of verdicts holds."""

    num_rows: Counter[str] = field(default_factory=Counter)
    """Rows per category."""
    num_correct: Counter[str] = field(default_factory=Counter)
    """Right answers per category."""
    num_not_scored: Counter[str] = field(default_factory=Counter)
    """Rows without a verdict per category."""

    def __str__(self) -> str:
        """Return one line per category, and the version of the data."""
        lines = [
            f"{category}: "
            + (
                f"{num_rows} rows not scored"
                if self.num_not_scored[category]
                else f"{self.num_correct[category]} of {num_rows} right"
            )
            for category, num_rows in self.num_rows.items()
        ]
        return "\n".join([*lines, f"Data: {DATA_VERSION}"])


def check_answer(
    answer: str | Sequence[FunctionCall] | None,
    *,
    functions: Sequence[Mapping[str, Any]],
    ground_truth: Sequence[Mapping[str, Any]],
    category: str,
    output_format: str = "python_call",
    underscore_to_dot: bool = False,
) -> tuple[bool, str | None]:
    """Score one answer.

    Args:
        answer: The model's text, decoded as `output_format`; or calls parsed elsewhere; or
            `None` for a text that could not be parsed.
        functions: The row's function specs in BFCL's own types.
        ground_truth: The row's accepted calls; unused for (ir)relevance.
        category: Name of a category that this package scores.
        output_format: A name in `eval.bfcl.decode.FORMATS`.
        underscore_to_dot: Whether the model's names have `_` where BFCL's have `.`.

    Returns:
        Whether the answer is right, and the official error type if not.

    Raises:
        EvalError: `BFC101` or `BFC102` for the category, `BFC103` for the format.
    """
    rules = scored_category(category)
    is_relevance = rules.scoring in ("irrelevance", "relevance")
    try:
        decoded = _decode(answer, output_format, rules.language)
    except DecodeError:
        return _judge_relevance(None, rules) if is_relevance else (False, FAILED)
    if is_relevance:
        return _judge_relevance(decoded, rules)
    if not is_call_list(decoded):
        return False, "ast_decoder:decoder_wrong_output_format"
    error_type = check_calls(
        decoded,
        functions=functions,
        ground_truth=ground_truth,
        category=rules,
        underscore_to_dot=underscore_to_dot,
    )
    return error_type is None, error_type


def verdict(row: Mapping[str, Any], data: BfclData) -> dict[str, Json]:
    """Score one row of a verdict file.

    Args:
        row: `{row, category, id, format, underscore_to_dot, model_output}`.
        data: The questions and answers.

    Returns:
        `{"verdict": bool, "error_type": str | None}`. In a category that is not scored here the
        verdict is `None` and the error type `not_scored:<scoring>`; `<scoring>` is
        `format_sensitivity` or `retired` for what is in no score of v4.

    Raises:
        EvalError: The row is malformed, or its category, id or format is unknown.
    """
    _check_row(row)
    if row["category"] in NOT_COUNTED:
        return {"verdict": None, "error_type": f"{NOT_SCORED}:{NOT_COUNTED[row['category']]}"}
    category = find_category(row["category"])
    if not category.is_scored_here:
        return {"verdict": None, "error_type": f"{NOT_SCORED}:{category.scoring}"}
    entry = data.entry(category.name, row["id"])
    is_correct, error_type = check_answer(
        # Anything but a text fails to decode, as officially.
        row["model_output"] if isinstance(row["model_output"], str) else None,
        functions=entry.functions,
        ground_truth=entry.ground_truth,
        category=category.name,
        output_format=row["format"],
        underscore_to_dot=bool(row.get("underscore_to_dot", False)),
    )
    return {"verdict": is_correct, "error_type": error_type}


def verdicts_file(in_path: Path, out_path: Path, data_root: Path | None) -> VerdictCounts:
    """Score a JSON lines file of model outputs.

    Args:
        in_path: One row per line, see `verdict`; empty lines are skipped.
        out_path: Gets `{row, verdict, error_type}` per line, in the same order. Nothing is
            written when a line is malformed.
        data_root: Folder that holds `gorilla-llm/Berkeley-Function-Calling-Leaderboard`.

    Raises:
        EvalError: `BFC104` or `BFC105` for the data; `BFC107` the input cannot be read; the
            error of the only malformed line.
        PipelineErrors: Every malformed line, as `file:line`, the first 20.
    """
    if data_root is None:
        raise EvalError("BFC104", "BFCL needs a data root", hint=f"Give the folder of {FOLDER}")
    data = BfclData(data_root)
    counts = VerdictCounts()
    errors: list[PipelineError] = []
    with open_atomic(out_path) as stream:
        for place, line in _read_lines(in_path):
            try:
                row = _load_row(line)
                result = verdict(row, data)
            except EvalError as error:
                if error.code in ("BFC104", "BFC105"):
                    raise
                errors.append(EvalError(error.code, error.message, where=place, hint=error.hint))
                if len(errors) == _MAX_REPORTED_ERRORS:
                    break
                continue
            _count(counts, row["category"], result["verdict"])
            text = json.dumps({"row": row["row"], **result}, ensure_ascii=False)
            cast("IO[str]", stream).write(text + "\n")
        raise_all(errors)
    return counts


def _decode(
    answer: str | Sequence[FunctionCall] | None, output_format: str, language: Language
) -> Value:
    if answer is None:
        raise DecodeError("the answer could not be parsed")
    if isinstance(answer, str):
        return decode_output(answer, output_format, language)
    return [{call.name: call.arguments} for call in answer]


def _judge_relevance(decoded: Value, category: Category) -> tuple[bool, str | None]:
    has_call = is_call_list(decoded) and len(decoded) > 0
    if category.scoring == "irrelevance":
        return not has_call, "irrelevance_error:decoder_success" if has_call else None
    return has_call, None if has_call else "relevance_error:decoder_failed"


def _check_row(row: Mapping[str, Any]) -> None:
    missing = [key for key in _ROW_KEYS if key not in row]
    if missing:
        raise EvalError("BFC108", f"a row needs {', '.join(_ROW_KEYS)}; missing: {missing[0]}")
    for key in ("category", "id", "format"):
        if not isinstance(row[key], str):
            raise EvalError("BFC108", f"{key} must be a text, got {row[key]!r:.80}")
    if not isinstance(row.get("underscore_to_dot", False), bool):
        raise EvalError("BFC108", "underscore_to_dot must be true or false")
    if row["format"] not in FORMATS:
        raise EvalError(
            "BFC103",
            f"unknown BFCL output format {row['format']!r:.80}",
            hint=did_you_mean(row["format"], FORMATS),
        )


def _load_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise EvalError("BFC108", f"not JSON ({error})") from error
    if not isinstance(row, dict):
        raise EvalError("BFC108", "a row must be an object")
    return row


def _read_lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield `file:line` and the line, empty ones left out."""
    try:
        with path.open(encoding="utf-8", errors="replace", newline="\n") as stream:
            number = 0
            while line := stream.readline(_MAX_LINE_CHARACTERS):
                number += 1
                if len(line) == _MAX_LINE_CHARACTERS:
                    raise EvalError("BFC107", "line too long", where=f"{path}:{number}")
                if line.strip():
                    yield f"{path}:{number}", line
    except OSError as error:
        raise EvalError("BFC107", f"cannot be read: {error.strerror}", where=path) from error


def _count(counts: VerdictCounts, category: str, result: Json) -> None:
    counts.num_rows[category] += 1
    counts.num_correct[category] += result is True
    counts.num_not_scored[category] += result is None
