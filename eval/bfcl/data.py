"""Questions and answers of BFCL v4 in the layout of the official repository.

`ROOT/gorilla-llm/Berkeley-Function-Calling-Leaderboard/BFCL_v4_<category>.json` and
`possible_answer/` beside it; every file is JSON lines in spite of its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eval.bfcl.categories import Category, find_category
from pipeline.errors import EvalError, did_you_mean

FOLDER = Path("gorilla-llm", "Berkeley-Function-Calling-Leaderboard")
"""Place of the files under a data root."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BfclEntry:
    """One row of a category."""

    id: str
    functions: Sequence[Mapping[str, Any]]
    """Function specs in BFCL's own types."""
    ground_truth: Sequence[Mapping[str, Any]]
    """Accepted calls; empty for (ir)relevance."""
    question: Sequence[Any] = ()
    """Messages of each turn."""


@dataclass(slots=True)
class BfclData:
    """The rows of all categories, each file read when it is first asked for."""

    data_root: Path
    _entries: dict[str, dict[str, BfclEntry]] = field(default_factory=dict)

    def entries(self, category: str) -> Mapping[str, BfclEntry]:
        """Return the rows of a category by id, in file order.

        Raises:
            EvalError: `BFC101` unknown category, `BFC104` no file, `BFC105` file not readable.
        """
        if category not in self._entries:
            self._entries[category] = load_entries(self.data_root, find_category(category))
        return self._entries[category]

    def entry(self, category: str, entry_id: str) -> BfclEntry:
        """Return one row.

        Raises:
            EvalError: As `entries`; `BFC106` unknown id.
        """
        entries = self.entries(category)
        if entry_id not in entries:
            hint = did_you_mean(entry_id, entries)
            raise EvalError("BFC106", f"no row {entry_id!r} in BFCL category {category}", hint=hint)
        return entries[entry_id]


def load_entries(data_root: Path, category: Category) -> dict[str, BfclEntry]:
    """Read the rows of one category.

    Raises:
        EvalError: `BFC104` no file, `BFC105` a line is not what it should be.
    """
    folder = data_root / FOLDER
    name = f"BFCL_v4_{category.name}.json"
    questions = read_lines(folder / name)
    answers: list[dict[str, Any]] = [{"ground_truth": []}] * len(questions)
    if category.has_answers:
        answers = read_lines(folder / "possible_answer" / name)
    if len(answers) != len(questions):
        raise EvalError(
            "BFC105",
            f"{len(questions)} questions but {len(answers)} answers in {name}",
            where=folder,
        )
    try:
        # Joined by position, as officially: some answers have another id than their question.
        entries = [
            BfclEntry(
                id=question["id"],
                functions=question["function"],
                ground_truth=answer["ground_truth"],
                question=question["question"],
            )
            for question, answer in zip(questions, answers, strict=True)
        ]
    except (KeyError, TypeError) as error:
        raise EvalError("BFC105", f"a row lacks the key {error}", where=folder / name) from error
    return {entry.id: entry for entry in entries}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects in a JSON lines file, whatever its name says.

    Raises:
        EvalError: `BFC104` no file, `BFC105` a line is no JSON object.
    """
    rows: list[dict[str, Any]] = []
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                if line.strip():
                    rows.append(_read_line(line, path, number))
    except OSError as error:
        raise EvalError(
            "BFC104",
            f"BFCL file cannot be read: {error.strerror}",
            where=path,
            hint="Give the folder that holds gorilla-llm/ as data root",
        ) from error
    return rows


def _read_line(line: str, path: Path, number: int) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise EvalError("BFC105", f"not JSON ({error})", where=f"{path}:{number}") from error
    if not isinstance(row, dict):
        raise EvalError("BFC105", "a row must be an object", where=f"{path}:{number}")
    return row
