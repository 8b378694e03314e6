"""Several evaluations as one: the single-task adapters of a study are one row of its table."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, cast

from eval.metrics import METRICS
from eval.results import (
    RESULTS_NAME,
    SAMPLES_NAME,
    read_results,
    read_samples_by_task,
)
from pipeline.errors import EvalError
from pipeline.files import open_atomic, sha256_of_json, write_json


def join_results(folders: Sequence[Path], output_folder: Path, *, name: str) -> Path:
    """Write evaluations of different tasks as if one model had answered them all.

    What is told about the model comes from the first; its adapter, or it, is called `name`. The
    joined run is transductive where any of them is.

    Args:
        folders: Output folders of `evaluate`, which share no task.
        output_folder: Gets `results.json` and `samples.jsonl`; made if absent.
        name: Of the joined run.

    Returns:
        `output_folder`.

    Raises:
        EvalError: A folder is no finished evaluation (EVL020 to EVL025), a task is in two of
            them (EVL026), or their rows come from places of different kinds (EVL027).
        OutputError: The folder cannot be written.
    """
    parts = [read_results(folder) for folder in folders]
    homes: dict[str, Path] = {}
    for folder, part in zip(folders, parts, strict=True):
        # Checked before anything is written.
        read_samples_by_task(folder, part["tasks"])
        for task in part["tasks"]:
            if task in homes:
                raise EvalError(
                    "EVL026",
                    f"two evaluations of one task cannot be joined: {homes[task]} and {folder}",
                    where=task,
                    hint="Join runs of different tasks only",
                )
            homes[task] = folder
    _check_same_kind(folders, parts)
    with open_atomic(output_folder / SAMPLES_NAME) as stream:
        for folder in folders:
            with (folder / SAMPLES_NAME).open(encoding="utf-8", newline="") as samples:
                shutil.copyfileobj(samples, cast("IO[str]", stream))
    write_json(output_folder / RESULTS_NAME, _joined(parts, name))
    return output_folder


def _check_same_kind(folders: Sequence[Path], parts: Sequence[Mapping[str, Any]]) -> None:
    """Refuse generated rows beside public ones: one mark stands for the whole joined run."""
    kinds = {
        str(part.get("data_root_kind", "")): folder
        for part, folder in zip(parts, folders, strict=True)
    }
    if len(kinds) > 1 and (len(kinds) > 2 or "files" not in kinds or "embedded" in kinds):
        told = ", ".join(f"{kind or 'unknown'} in {folder}" for kind, folder in kinds.items())
        raise EvalError(
            "EVL027",
            f"rows of different places cannot be joined: {told}",
            where="data_root_kind",
            hint="Join runs with the same --data-root only",
        )


def _joined(parts: Sequence[Mapping[str, Any]], name: str) -> dict[str, Any]:
    tasks = {task: entry for part in parts for task, entry in part["tasks"].items()}
    values = [
        entry["metrics"][entry["headline"]]["value"]
        for entry in tasks.values()
        if METRICS[entry["headline"]].higher_is_better
    ]
    kinds = [part.get("data_root_kind", "") for part in parts]
    return {
        **parts[0],
        "data_root_kind": next((kind for kind in kinds if kind != "files"), kinds[0]),
        "name": name,
        **({"adapter": name} if parts[0].get("adapter") else {"model": name}),
        **({"transductive": True} if any(part.get("transductive") for part in parts) else {}),
        "weights_sha256": sha256_of_json([part.get("weights_sha256") for part in parts]),
        "seconds": round(sum(part.get("seconds", 0.0) for part in parts), 3),
        "macro_mean": sum(values) / len(values) if values else None,
        "tasks": tasks,
    }
