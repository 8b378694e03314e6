"""The card of an adapter: data, licences, scores and limits, from the files of its run.

Guaranteed: only named fields of the run are read, and everything that looks like a key, a
password or a folder of this machine is left out of the text.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from eval.leaderboard.board import display_name
from eval.results import RESULTS_NAME, read_results
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import EvalError
from pipeline.files import read_json

CARD_NAME = "README.md"

_HIDDEN = "(left out)"
_SECRETS = re.compile(
    r"(?:hf|ghp|gho|ghs|ghu|glpat|xox[abprs]|npm|pypi|dop_v1|shpat|AIza)[-_][A-Za-z0-9_\-]{12,}"
    r"|github_pat_\w{20,}"
    r"|AIza[A-Za-z0-9_\-]{20,}"
    r"|sk-[A-Za-z0-9_\-]{12,}|[sr]k_(?:live|test)_\w{12,}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{12,}"
    r"|eyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-.]{8,}"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|(?i:bearer|basic)\s+[A-Za-z0-9._~+/\-]{12,}=*"
    r"|(?i:password|passwd|secret|token|api[_-]?key|access[_-]?key)\s*[:=]\s*[^\s|,;]{4,}"
    r"|\b[0-9a-fA-F]{64,}\b"
)
_USER_IN_ADDRESS = re.compile(r"(?<=://)[^\s/@]+@")
_LOCAL_PATH = re.compile(
    r"(?<![\w:/.])(?:~|/(?:home|root|Users|mnt|media|tmp|var|opt|srv|data|scratch|work|private|nfs)\b)"
    r"(?:/[^\s|`'\")]*)?"
    r"|[A-Za-z]:\\[^\s|`'\")]+|\\\\[^\s|`'\")]+"
)
_RECIPE_FIELDS = (
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "learning_rate",
    "num_train_epochs",
    "max_steps",
    "max_length",
    "loss_reduction",
    "seed",
)


def without_secrets(text: str) -> str:
    """Return `text` without keys, passwords and folders of this machine."""
    text = _SECRETS.sub(_HIDDEN, text)
    return _LOCAL_PATH.sub(_HIDDEN, _USER_IN_ADDRESS.sub("", text))


def build_card(run: Path, recipe: Mapping[str, Any], tasks: Sequence[DatasetAnnotation]) -> str:
    """Return the card of a run's adapter as Markdown.

    Args:
        run: The run folder; scores are read from its `eval/adapter` and `eval/base`.
        recipe: Fields of the recipe it was trained with.
        tasks: Annotations of the tasks trained on.

    Raises:
        EvalError: The run's data report is missing (EVL080).
    """
    base = display_name(str(recipe["model_name_or_path"]))
    parts = [
        _front_matter(base, tasks),
        f"# {recipe.get('run_name') or run.name}\n",
        f"A multi-task {_adapter_type(recipe)} adapter for `{_cell(base)}`, trained on "
        f"{len(tasks)} tasks with taskloom.\n",
        _licence_warning(tasks),
        _data_table(run, tasks),
        _score_table(run),
        _training_list(recipe),
        _limits(tasks),
    ]
    return without_secrets("\n".join(part for part in parts if part))


def _front_matter(base: str, tasks: Sequence[DatasetAnnotation]) -> str:
    languages = sorted({language for task in tasks for language in task.source.language})
    hubs = sorted({task.source.hub for task in tasks if task.source.hub})
    lines = ["---", "library_name: peft", "pipeline_tag: text-generation", "tags:"]
    lines += ["- taskloom", "- multi-task"]
    if "/" in base:
        lines.append(f"base_model: {base}")
    for name, values in (("language", languages), ("datasets", hubs)):
        if values:
            lines += [f"{name}:", *(f'- "{value}"' for value in values)]
    return "\n".join([*lines, "---\n"])


def _adapter_type(recipe: Mapping[str, Any]) -> str:
    adapter = recipe.get("adapter")
    return str(adapter.get("type", "lora")) if isinstance(adapter, Mapping) else "lora"


def _licence_warning(tasks: Sequence[DatasetAnnotation]) -> str:
    by_answer = {
        answer: [task.id for task in tasks if task.source.commercial == answer]
        for answer in ("no", "unknown")
    }
    lines = []
    if by_answer["no"]:
        lines.append(
            "> **Not for commercial use.** The licences of these tasks' data forbid it: "
            + ", ".join(by_answer["no"])
            + "."
        )
    if by_answer["unknown"]:
        lines.append(
            "> **Check before commercial use.** It is not known whether the licences of these "
            "tasks' data allow it: " + ", ".join(by_answer["unknown"]) + "."
        )
    return "\n>\n".join(lines) + "\n" if lines else ""


def _data_table(run: Path, tasks: Sequence[DatasetAnnotation]) -> str:
    try:
        report = read_json(run / "data_report.json")
        assert isinstance(report, dict)
        listed = report["tasks"]
        assert isinstance(listed, list)
        counts: dict[str, Any] = {str(item["task"]): item for item in listed}  # type: ignore[index,call-overload]
    except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
        raise EvalError(
            "EVL080",
            "there is no readable data_report.json, so nothing tells what it was trained on",
            where=run,
            hint="Give the run folder that training wrote",
        ) from error
    lines = [
        "## Data\n",
        "| task | data set | licence | commercial use | examples | passes | share of the loss |",
        "|---|---|---|---|---|---|---|",
    ]
    for task in tasks:
        source, count = task.source, counts.get(task.id, {})
        origin = source.hub or "local files"
        if source.revision:
            origin += f"@{source.revision[:12]}"
        cells = [
            task.id,
            origin,
            source.licence,
            source.commercial,
            f"{count.get('num_examples', 0):,}",
            f"{count.get('epochs', 0.0):.2f}",
            f"{100 * count.get('loss_share', 0.0):.1f} %",
        ]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _score_table(run: Path) -> str:
    found = {
        name: read_results(run / "eval" / name)
        for name in ("base", "adapter")
        if (run / "eval" / name / RESULTS_NAME).is_file()
    }
    if "adapter" not in found:
        return "## Scores\n\nNot evaluated: run `taskloom eval --recipe` first.\n"
    results = found["adapter"]
    lines = ["## Scores\n"]
    if results.get("data_root_kind") == "embedded":
        lines.append("**On generated rows**: they say nothing about the public data sets.\n")
    if results.get("transductive"):
        lines.append("**Transductive**: fitted to test prompts, so these are no test scores.\n")
    lines += [
        "Times 100, ± one standard error; answers that cannot be parsed count as wrong.\n",
        "| task | metric | split | n | majority | base | adapter | unparsable |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, entry in results["tasks"].items():
        metric = entry["headline"]
        base = found.get("base", {}).get("tasks", {}).get(task)
        cells = [
            task,
            metric,
            entry["split"],
            str(entry["num_rows"]),
            _value((entry.get("majority") or {}).get(metric)),
            _value(None if base is None else base["metrics"].get(metric)),
            _value(entry["metrics"][metric]),
            str(entry["num_failures"]),
        ]
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _training_list(recipe: Mapping[str, Any]) -> str:
    lines = [
        f"- `{name}`: {recipe[name]}" for name in _RECIPE_FIELDS if recipe.get(name) is not None
    ]
    return "## Training\n\n" + "\n".join(lines) + "\n"


def _limits(tasks: Sequence[DatasetAnnotation]) -> str:
    lines = [
        "- Trained and evaluated on the tasks above, in their wording; nothing is known of others.",
        "- Errors and biases of the data sets and of the base model are learnt too.",
        "- Greedy answers were scored; sampling gives others.",
    ]
    families = {task.family for task in tasks}
    if "biomedical" in families:
        lines.append("- Not for medical decisions.")
    if "function_calling" in families:
        lines.append("- Calls that it writes must be checked before anything runs them.")
    return "## Limits\n\n" + "\n".join(lines) + "\n"


def _value(metric: Mapping[str, float] | None) -> str:
    if metric is None:
        return "-"
    return f"{100 * metric['value']:.1f} ± {100 * metric['standard_error']:.1f}"


def _cell(text: str) -> str:
    """Return text that stays inside its cell and is no markup."""
    plain = "".join(char if char.isprintable() else " " for char in text)
    for sign in "|<>`":
        plain = plain.replace(sign, {"|": "/", "<": "&lt;", ">": "&gt;", "`": "'"}[sign])
    return plain
