"""Result files in the layout of the official evaluator, and their scores by our checker.

`ROOT/<model, / as _>/<group>/BFCL_v4_<category>_result.json`, JSON lines of `{"id", "result"}`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from eval.bfcl.categories import CATEGORIES, SCORED_CATEGORIES, Language, find_category
from eval.bfcl.data import BfclData
from eval.bfcl.decode import DecodeError, decode_output, is_call_list
from eval.bfcl.verdicts import check_answer
from pipeline.errors import EvalError
from pipeline.files import open_atomic

Results = Mapping[str, Mapping[str, str]]
"""Category -> row id -> text of the model."""

ConversationResults = Mapping[str, Mapping[str, Sequence[Sequence[str]]]]
"""Category -> row id -> texts of each step of each turn."""

_TASK_PREFIX = "bfcl/"


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryScore:
    """The score of one category."""

    num_rows: int
    num_correct: int
    num_missing: int
    """Rows without a result; they count as wrong."""
    holds_calls: bool | None = None
    """Whether any result holds calls in the format; `None` where that is not looked at."""

    @property
    def accuracy(self) -> float:
        """Share of right answers, 0 to 1, of all rows of the category."""
        return self.num_correct / self.num_rows


def result_path(root: Path, model: str, category: str) -> Path:
    """Return where the results of one category lie.

    Raises:
        EvalError: `BFC101` unknown category, `BFC109` a model name that the layout cannot hold.
    """
    check_model_name(model)
    scoring = find_category(category).scoring
    group = "live" if category.startswith("live_") else "non_live"
    if scoring in ("multi_turn", "agentic"):
        group = scoring
    return root / model.replace("/", "_") / group / f"BFCL_v4_{category}_result.json"


def check_model_name(model: str) -> None:
    """Check that the official evaluator can turn a folder name back into `model`.

    Raises:
        EvalError: `BFC109`, the name is empty or holds `_`, which stands for `/` there.
    """
    if not model or "_" in model or model.startswith("/"):
        raise EvalError(
            "BFC109",
            f"model name {model!r}: the official layout reads every _ as /, so names have none",
            where="--model",
            hint=f"Call it {model.replace('_', '-').strip('/') or 'owner/name'}",
        )


def write_results(root: Path, model: str, results: Results | ConversationResults) -> list[Path]:
    """Write one file per category and return their paths.

    Raises:
        EvalError: As `result_path`.
        OutputError: A file cannot be written.
    """
    paths = []
    for category, by_id in results.items():
        path = result_path(root, model, category)
        with open_atomic(path) as stream:
            for row_id, text in by_id.items():
                row = json.dumps({"id": row_id, "result": text})
                cast("IO[str]", stream).write(row + "\n")
        paths.append(path)
    return paths


def read_results(root: Path, model: str) -> dict[str, dict[str, str]]:
    """Return the results of every single-turn category that has a file.

    None at all is right only beside results of conversations.

    Raises:
        EvalError: `BFC109` bad model name, `BFC110` no file at all or a malformed line.
    """
    paths = {name: result_path(root, model, name) for name in SCORED_CATEGORIES}
    results = {name: dict(_read_texts(path)) for name, path in paths.items() if path.is_file()}
    if not results and not read_conversations(root, model):
        raise EvalError(
            "BFC110",
            "no BFCL_v4_*_result.json of a category here",
            where=root / model.replace("/", "_"),
            hint="Give the folder that holds the model's folder, and the model's name",
        )
    return results


def read_conversations(root: Path, model: str) -> dict[str, dict[str, list[list[str]]]]:
    """Return the results of every category of several turns that has a file.

    Raises:
        EvalError: `BFC109` bad model name, `BFC110` a malformed line.
    """
    names = (name for name, item in CATEGORIES.items() if item.scoring == "multi_turn")
    paths = {name: result_path(root, model, name) for name in names}
    return {name: dict(_read_turns(path)) for name, path in paths.items() if path.is_file()}


def results_of_samples(samples: Path, data: BfclData, *, use_calls: bool) -> Results:
    """Return the answers of an evaluated run as results, by the ids of the benchmark.

    Rows that have no answer are left out: as an empty text they would abstain, which is right
    where no function fits, while the run counts them as wrong.

    Args:
        samples: `samples.jsonl` of a run that evaluated `bfcl/<category>` tasks.
        data: The benchmark; row n of a task is its n-th question.
        use_calls: Write parsed calls as a JSON list, format `json_list`; otherwise, and for
            answers that did not parse, the text as the model wrote it.

    Raises:
        EvalError: `BFC110`, no such task, or a row that the benchmark does not have.
    """
    results: dict[str, dict[str, str]] = {}
    for number, row in enumerate(_read_lines(samples), start=1):
        task = str(row.get("task", ""))
        if not task.startswith(_TASK_PREFIX):
            continue
        category = task.removeprefix(_TASK_PREFIX)
        ids = list(data.entries(category))
        index = int(str(row["key"]).rpartition("/")[2])
        if index >= len(ids):
            raise EvalError(
                "BFC110",
                f"row {index} of {category}, but the benchmark has {len(ids)} rows",
                where=f"{samples}:{number}",
                hint="Export a run on the benchmark's own data, with the same --data-root",
            )
        if row.get("finish_reason") == "failed" or row.get("failure") == "prompt_too_long":
            results.setdefault(category, {})
            continue
        calls = row.get("parsed")
        text = json.dumps(calls) if use_calls and isinstance(calls, list) else str(row["output"])
        results.setdefault(category, {})[ids[index]] = text
    if not results:
        raise EvalError(
            "BFC110",
            "no answers to bfcl/<category> tasks in this file",
            where=samples,
            hint="Evaluate with --tasks bfcl first",
        )
    return results


def score_results(
    results: Results, data: BfclData, *, output_format: str, underscore_to_dot: bool = False
) -> dict[str, CategoryScore]:
    """Score results with our checker.

    Args:
        results: Answers by category and row id; a row without an answer counts as wrong.
        data: The benchmark.
        output_format: A name in `eval.bfcl.decode.FORMATS`.
        underscore_to_dot: Whether the model's names have `_` where BFCL's have `.`.

    Raises:
        EvalError: `BFC103` unknown format, `BFC106` unknown row id; as `BfclData.entries`.
    """
    scores = {}
    for category, by_id in results.items():
        entries = data.entries(category)
        language = find_category(category).language
        num_correct = 0
        for row_id, text in by_id.items():
            entry = data.entry(category, row_id)
            is_right, _ = check_answer(
                text,
                functions=entry.functions,
                ground_truth=entry.ground_truth,
                category=category,
                output_format=output_format,
                underscore_to_dot=underscore_to_dot,
            )
            num_correct += is_right
        scores[category] = CategoryScore(
            num_rows=len(entries),
            num_correct=num_correct,
            num_missing=len(entries) - len(by_id),
            holds_calls=any(has_calls(text, output_format, language) for text in by_id.values()),
        )
    return scores


def has_calls(text: str, output_format: str, language: Language = "python") -> bool:
    """Return whether the official handler of a format finds calls in a text.

    Raises:
        EvalError: `BFC103`, unknown format.
    """
    try:
        decoded = decode_output(text, output_format, language)
    except DecodeError:
        return False
    return is_call_list(decoded) and len(decoded) > 0


def _read_texts(path: Path) -> Iterable[tuple[str, str]]:
    for place, name, result in _read_rows(path):
        if not isinstance(result, str):
            raise EvalError("BFC110", "a result must be a text", where=place)
        yield name, result


def _read_turns(path: Path) -> Iterable[tuple[str, list[list[str]]]]:
    for place, name, result in _read_rows(path):
        turns = result if isinstance(result, list) else [result]
        steps = [step for turn in turns for step in (turn if isinstance(turn, list) else [None])]
        if not isinstance(result, list) or not all(isinstance(step, str) for step in steps):
            message = "a result must be a list of turns, each a list of texts"
            raise EvalError("BFC110", message, where=place)
        yield name, result


def _read_rows(path: Path) -> Iterable[tuple[str, str, Any]]:
    """Yield `file:line`, id and result.

    Raises:
        EvalError: `BFC110`, a malformed line, or an id that stood before.
    """
    lines: dict[str, int] = {}
    for number, row in enumerate(_read_lines(path), start=1):
        place = f"{path}:{number}"
        if not isinstance(row.get("id"), str) or "result" not in row:
            raise EvalError("BFC110", "a row needs the text id, and result", where=place)
        first = lines.setdefault(str(row["id"]), number)
        if first != number:
            raise EvalError(
                "BFC110",
                f"a second result of {row['id']!r}, which line {first} has already",
                where=place,
                hint="Keep one line per id",
            )
        yield place, str(row["id"]), row["result"]


def _read_lines(path: Path) -> Iterable[dict[str, object]]:
    try:
        with path.open(encoding="utf-8") as stream:
            for number, line in enumerate(stream, start=1):
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise ValueError(f"line {number} is not an object")
                yield row
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise EvalError("BFC110", f"cannot be read: {reason}", where=path) from error
