"""Annotated tasks as a folder that `lm_eval --include_path` runs.

One YAML and one file of rows per task. The prompt of a row is its one user turn, so the model must
be asked with `--apply_chat_template`; then prompts and choices have the same tokens as here, and
accuracies are equal. What lm-eval cannot ask (several turns, functions) is left out by name, and
what it asks otherwise is said in a note. lm-eval looks for rows from the folder it is started in,
so each YAML names its file in full: a folder that is moved must be exported again.
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
from pipeline.files import check_replaceable, open_atomic, staged_folder, write_text
from pipeline.types import Json, TaskExample

TASK_PREFIX = "taskloom_"
GROUP_FILE = "taskloom.yaml"
"""In every export: the group of all its tasks."""
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
        folder: Receives the files as a whole or not at all; an earlier export is replaced. Where
            no task can be exported nothing is written.
        style: Name of the wording.

    Raises:
        OutputError: The folder cannot be written, or holds something else (OUT004).
        RecipeError: The style is unknown.
    """
    target = check_export_folder(folder)
    asked = [_ask(task, style) for task in tasks]
    found = [_described(task, requests) for task, requests in asked]
    names = [item.name for item in found if item.name]
    if names:
        with staged_folder(target) as staged:
            for item, (task, requests) in zip(found, asked, strict=True):
                if item.name:
                    _write_task(item.name, task, requests, staged=staged, target=target)
            group: dict[str, Json] = {"group": "taskloom", "task": [*names]}
            _write_yaml(staged / GROUP_FILE, group)
    return found


def check_export_folder(folder: Path) -> Path:
    """Check that an export would replace nothing but an earlier one, and return the full path.

    Raises:
        OutputError: It would (OUT004).
    """
    return check_replaceable(folder, record=GROUP_FILE)


def task_name(task: str) -> str:
    """Return a task's name in lm-eval, e.g. `taskloom_gue_emp_H3`."""
    return TASK_PREFIX + re.sub(r"[^A-Za-z0-9_]+", "_", task)


def _ask(task: EvalTask, style: str) -> tuple[EvalTask, list[Request]]:
    return task, build_requests(list(task.examples), task.spec, Asking(style=style))


def _described(task: EvalTask, requests: Sequence[Request]) -> Exported:
    reason = next((why for request in requests if (why := _why_not(request))), "")
    if not reason and len({request.kind for request in requests}) > 1:
        reason = "rows of two kinds of request"
    return Exported(
        task=task.spec.id,
        name="" if reason else task_name(task.spec.id),
        num_rows=len(requests),
        reason=reason,
        note="" if reason else _note(task, requests),
    )


def _write_task(
    name: str, task: EvalTask, requests: Sequence[Request], *, staged: Path, target: Path
) -> None:
    file = f"{name}.jsonl"
    with open_atomic(staged / file) as stream:
        for row, request in zip(task.examples, requests, strict=True):
            line = json.dumps(_row(row, request), ensure_ascii=False)
            cast("IO[str]", stream).write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
    _write_yaml(staged / f"{name}.yaml", _config(name, task, requests[0], target / file))


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
        "dataset_kwargs": {"data_files": {"test": str(data)}},
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
