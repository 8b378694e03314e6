"""Annotated tasks as a folder that `lm_eval --include_path` runs.

One YAML and one file of rows per task. The prompt of a row is its one user turn, so the model must
be asked with `--apply_chat_template`; then prompts and choices have the same tokens as here, and
accuracies are equal. What lm-eval cannot ask (several turns, functions) is left out by name, and
what it asks otherwise is said in a note.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from eval.backends.base import Request
from eval.tasks import Asking, EvalTask, answer_limit, build_requests
from pipeline.files import open_atomic, write_text
from pipeline.types import Json, TaskExample

TASK_PREFIX = "taskloom_"
_CHOICE_METRICS = {"accuracy": "acc", "mcc": "mcc"}
"""Metrics that mean the same on both sides; `acc` is always written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """One task of the export."""

    task: str
    name: str
    """Name for `lm_eval --tasks`; empty where the task is left out."""
    num_rows: int
    reason: str = ""
    """Why it is left out."""
    note: str = ""
    """Why numbers may differ from those of this project."""


def export_for_lm_eval(
    tasks: Sequence[EvalTask], folder: Path, *, style: str = "plain"
) -> list[Exported]:
    """Write the tasks below `folder`, and a group `taskloom` of all of them.

    Args:
        tasks: What to export; all their rows.
        folder: Receives the files; existing ones of the same name are replaced.
        style: Name of the wording.

    Raises:
        OutputError: The folder cannot be written.
        RecipeError: The style is unknown.
    """
    found = [_export(task, folder, style=style) for task in tasks]
    names = [item.name for item in found if item.name]
    if names:
        group: dict[str, Json] = {"group": "taskloom", "task": [*names]}
        _write_yaml(folder / "taskloom.yaml", group)
    return found


def task_name(task: str) -> str:
    """Return a task's name in lm-eval, e.g. `taskloom_gue_emp_H3`."""
    return TASK_PREFIX + re.sub(r"[^A-Za-z0-9_]+", "_", task)


def _export(task: EvalTask, folder: Path, *, style: str) -> Exported:
    rows = list(task.examples)
    requests = build_requests(rows, task.spec, Asking(style=style))
    reason = next((why for request in requests if (why := _why_not(request))), "")
    if not reason and len({request.kind for request in requests}) > 1:
        reason = "rows of two kinds of request"
    if reason:
        return Exported(task=task.spec.id, name="", num_rows=len(rows), reason=reason)
    name = task_name(task.spec.id)
    data = folder / f"{name}.jsonl"
    with open_atomic(data) as stream:
        for row, request in zip(rows, requests, strict=True):
            line = json.dumps(_row(row, request), ensure_ascii=False)
            cast("IO[str]", stream).write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
    _write_yaml(folder / f"{name}.yaml", _config(name, task, requests[0], data))
    note = _note(task, requests)
    return Exported(task=task.spec.id, name=name, num_rows=len(rows), note=note)


def _note(task: EvalTask, requests: Sequence[Request]) -> str:
    """Return what lm-eval does otherwise than the backends here."""
    if task.spec.kind == "dna_classification":
        return "DNA units are not used: lm-eval reads the sequence as text"
    for choices in dict.fromkeys(request.choices for request in requests):
        for first, second in itertools.permutations(choices, 2):
            if second.startswith(first):
                return f"{first!r} begins {second!r}: here the end of the answer counts too"
    return ""


def _why_not(request: Request) -> str:
    conversation = request.conversation
    if conversation.tools:
        return "functions are given to the chat template, which lm-eval cannot do"
    roles = [message.role for message in conversation.messages]
    if roles != ["user", "assistant"]:
        return f"the conversation has the turns {', '.join(roles)}"
    return ""


def _row(row: TaskExample, request: Request) -> dict[str, Json]:
    gold = request.conversation.messages[-1].content
    written: dict[str, Json] = {
        "key": row.key,
        "prompt": request.conversation.messages[0].content,
        "gold": gold,
    }
    if request.kind == "choices":
        written["choices"] = [*request.choices]
        written["gold_index"] = request.choices.index(gold)
    return written


def _config(name: str, task: EvalTask, request: Request, data: Path) -> dict[str, Json]:
    config: dict[str, Json] = {
        "task": name,
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data.resolve())}},
        "test_split": "test",
        "doc_to_text": "{{prompt}}",
        # Nothing stands between the template's header and the answer.
        "target_delimiter": "",
        "metadata": {"version": 1.0, "taskloom_task": task.spec.id},
    }
    if request.kind == "choices":
        names = ["acc", *(_CHOICE_METRICS.get(metric, "acc") for metric in task.spec.metrics)]
        return config | {
            "output_type": "multiple_choice",
            "doc_to_choice": "{{choices}}",
            "doc_to_target": "gold_index",
            "metric_list": [{"metric": metric} for metric in dict.fromkeys(names)],
        }
    return config | {
        "output_type": "generate_until",
        "doc_to_target": "{{gold}}",
        "generation_kwargs": {
            "until": [],
            "do_sample": False,
            "max_gen_toks": answer_limit(task, 0),
        },
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    }


def _write_yaml(path: Path, config: dict[str, Json]) -> None:
    # JSON is YAML, quotes everything that could be read otherwise, and needs no writer.
    write_text(path, json.dumps(config, indent=2) + "\n")
