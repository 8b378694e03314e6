"""The leaderboard as data: one row per run, one cell per task, means with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from eval.metrics import METRICS
from eval.results import read_results, without_local_folders
from pipeline.errors import EvalError
from pipeline.files import sha256_of_json
from pipeline.types import Json

RunKind = Literal["majority", "base", "adapter", "given"]
_ORDER: tuple[RunKind, ...] = ("majority", "base", "adapter", "given")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One run's headline number on one task, or a mean of such numbers."""

    value: float
    standard_error: float
    num_rows: int
    num_failures: int = 0
    """Rows whose answer could not be read, or is not there."""
    num_unanswered: int = 0
    """Those of them without any answer."""
    is_comparable: bool = True
    """False where this run answered other rows than the column tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A task."""

    task: str
    family: str
    metric: str
    split: str
    source: str
    num_rows: int
    higher_is_better: bool
    data_sha256: str
    entry: Mapping[str, Any]
    """The task's entry in the `results.json` that named it first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row of the leaderboard."""

    name: str
    kind: RunKind
    cells: Mapping[str, Cell]
    """By task id."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """`results.json` without its tasks."""
    entries: Mapping[str, Any] = field(default_factory=dict)
    """The tasks of `results.json`."""
    folder: Path | None = None

    @property
    def data_root_kind(self) -> str:
        """Return where the rows come from: embedded, mirror or hub."""
        return str(self.about.get("data_root_kind", ""))


@dataclass(frozen=True, slots=True, kw_only=True)
class Leaderboard:
    """All runs on all tasks."""

    columns: tuple[Column, ...]
    """Tasks, grouped by family."""
    runs: tuple[Run, ...]
    """The majority baseline, base models, adapters, given answers."""
    notes: tuple[str, ...] = ()
    """What a reader must know before comparing."""

    @property
    def families(self) -> tuple[str, ...]:
        """Return the families in the order of their first task."""
        return tuple(dict.fromkeys(column.family for column in self.columns))

    @property
    def has_generated_data(self) -> bool:
        """Return whether any run was evaluated on rows the project generated itself."""
        return any(run.data_root_kind == "embedded" for run in self.runs)

    def tasks_of(self, family: str | None = None) -> tuple[Column, ...]:
        """Return the columns of one family, or all."""
        return tuple(column for column in self.columns if family in {None, column.family})

    def mean(self, run: Run, family: str | None = None) -> Cell | None:
        """Return the unweighted mean of a run's tasks, of one family or of all.

        `None` when the run lacks a task, or when no metric of them is a share. Tasks count as
        independent; metrics where less is better are left out.
        """
        columns = [column for column in self.tasks_of(family) if column.higher_is_better]
        cells = [run.cells.get(column.task) for column in columns]
        whole = [cell for cell in cells if cell is not None]
        if not whole or len(whole) < len(cells):
            return None
        return Cell(
            value=sum(cell.value for cell in whole) / len(whole),
            standard_error=math.sqrt(sum(cell.standard_error**2 for cell in whole)) / len(whole),
            num_rows=sum(cell.num_rows for cell in whole),
            num_failures=sum(cell.num_failures for cell in whole),
            num_unanswered=sum(cell.num_unanswered for cell in whole),
            is_comparable=all(cell.is_comparable for cell in whole),
        )

    def best(self, task: str) -> float | None:
        """Return the best value of a column among comparable runs, the baseline included."""
        column = next(column for column in self.columns if column.task == task)
        values = [
            run.cells[task].value
            for run in self.runs
            if task in run.cells and run.cells[task].is_comparable
        ]
        if not values:
            return None
        return max(values) if column.higher_is_better else min(values)

    def to_json(self) -> dict[str, Json]:
        """Return everything but the rows, as JSON."""
        return {
            "schema_version": 1,
            "notes": [*self.notes],
            "tasks": {
                column.task: {
                    "family": column.family,
                    "metric": column.metric,
                    "split": column.split,
                    "source": column.source,
                    "num_rows": column.num_rows,
                    "higher_is_better": column.higher_is_better,
                    "data_sha256": column.data_sha256,
                }
                for column in self.columns
            },
            "runs": [self.to_json_run(run) for run in self.runs],
        }

    def to_json_run(self, run: Run) -> dict[str, Json]:
        """Return one run as JSON."""
        return {
            "name": run.name,
            "kind": run.kind,
            "model": display_name(run.about.get("model")),
            "adapter": display_name(run.about.get("adapter")),
            "data_root_kind": run.data_root_kind,
            "macro_mean": _cell_to_json(self.mean(run)),
            "families": {family: _cell_to_json(self.mean(run, family)) for family in self.families},
            "tasks": {task: _cell_to_json(cell) for task, cell in run.cells.items()},
        }


def build_leaderboard(folders: Sequence[Path]) -> Leaderboard:
    """Return the leaderboard of several evaluations.

    The same model evaluated twice on the same rows gives one row.

    Args:
        folders: Output folders of `evaluate`; the first one names metric and rows of a task.

    Raises:
        EvalError: No folder (EVL060), or one without readable results (EVL020, EVL021).
    """
    if not folders:
        raise EvalError("EVL060", "there is no run to show", hint="Name at least one run folder")
    loaded = [(folder, read_results(folder)) for folder in folders]
    columns = _columns([results for _, results in loaded])
    runs = [_run(folder, results, columns) for folder, results in loaded]
    majority = _majority_run([results for _, results in loaded], columns)
    runs = _distinct(([majority] if majority else []) + runs)
    runs.sort(key=lambda run: _ORDER.index(run.kind))
    return Leaderboard(
        columns=tuple(columns.values()),
        runs=tuple(named := _named(runs)),
        notes=tuple(_notes(named)),
    )


def display_name(value: object) -> str:
    """Return a model's name for people: of a path only its last part."""
    if not isinstance(value, str):
        return ""
    is_path = value.startswith(("/", "~", ".")) or "\\" in value
    return value.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1] if is_path else value


def _columns(all_results: Sequence[dict[str, Any]]) -> dict[str, Column]:
    found: dict[str, Column] = {}
    for results in all_results:
        for task, entry in results["tasks"].items():
            if task not in found:
                metric = METRICS.get(entry["headline"])
                found[task] = Column(
                    task=task,
                    family=entry["family"],
                    metric=entry["headline"],
                    split=entry["split"],
                    source=without_local_folders(entry["source"]),
                    num_rows=entry["num_rows"],
                    higher_is_better=metric is None or metric.higher_is_better,
                    data_sha256=entry["data_sha256"],
                    entry=entry,
                )
    families = list(dict.fromkeys(column.family for column in found.values()))
    ordered = sorted(found.values(), key=lambda column: families.index(column.family))
    return {column.task: column for column in ordered}


def _run(folder: Path, results: dict[str, Any], columns: Mapping[str, Column]) -> Run:
    about = {key: value for key, value in results.items() if key != "tasks"}
    kind: RunKind = "base"
    if results.get("backend") == "given":
        kind = "given"
    elif results.get("adapter"):
        kind = "adapter"
    return Run(
        name=_run_name(results, kind),
        kind=kind,
        cells={
            task: cell
            for task, entry in results["tasks"].items()
            if (cell := _cell(entry, columns[task], "metrics")) is not None
        },
        about=about,
        entries=results["tasks"],
        folder=folder,
    )


def _run_name(results: Mapping[str, Any], kind: RunKind) -> str:
    if kind == "adapter":
        return display_name(results["adapter"])
    return display_name(results.get("model")) or str(results.get("name", ""))


def _cell(entry: Mapping[str, Any], column: Column, part: str) -> Cell | None:
    number = (entry.get(part) or {}).get(column.metric)
    if number is None:
        return None
    failures = entry.get("failures", {}) if part == "metrics" else {}
    return Cell(
        value=number["value"],
        standard_error=number["standard_error"],
        num_rows=entry["num_rows"],
        num_failures=entry["num_failures"] if part == "metrics" else 0,
        num_unanswered=sum(failures[code] for code in failures if _is_unanswered(code)),
        is_comparable=entry["data_sha256"] == column.data_sha256,
    )


def _is_unanswered(code: str) -> bool:
    return code in {"no_answer", "prompt_too_long"} or code.startswith("server_")


def _majority_run(
    all_results: Sequence[dict[str, Any]], columns: Mapping[str, Column]
) -> Run | None:
    cells: dict[str, Cell] = {}
    for results in all_results:
        for task, entry in results["tasks"].items():
            cell = _cell(entry, columns[task], "majority")
            if cell is not None and cell.is_comparable:
                cells.setdefault(task, cell)
    if not cells:
        return None
    kind = all_results[0].get("data_root_kind", "")
    return Run(name="Majority answer", kind="majority", cells=cells, about={"data_root_kind": kind})


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Return the runs without repeats of the same weights, rows, prompts and decoding."""
    seen: set[tuple[object, ...]] = set()
    kept = []
    for run in runs:
        asked: dict[str, Json] = {
            task: [entry["prompts_sha256"], entry.get("decoding")]
            for task, entry in run.entries.items()
        }
        how = sha256_of_json({"tasks": asked, "both_strands": run.about.get("both_strands")})
        weights = run.about.get("weights_sha256") or run.about.get("answers_sha256") or id(run)
        key = (weights, how)
        if key not in seen:
            seen.add(key)
            kept.append(run)
    return kept


def _named(runs: Sequence[Run]) -> list[Run]:
    """Return the runs with their styles behind a name that has several, then with a number."""
    styles: dict[str, set[str]] = {}
    for run in runs:
        styles.setdefault(run.name, set()).add(_style(run))
    counts: dict[str, int] = {}
    named = []
    for run in runs:
        name = f"{run.name}, {_style(run)}" if len(styles[run.name]) > 1 else run.name
        counts[name] = counts.get(name, 0) + 1
        suffix = f" ({counts[name]})" if counts[name] > 1 else ""
        named.append(replace(run, name=name + suffix))
    return named


def _style(run: Run) -> str:
    return str((run.about.get("asking") or {}).get("style", ""))


def _notes(runs: Sequence[Run]) -> list[str]:
    notes = []
    kinds = {run.data_root_kind for run in runs if run.kind != "majority"}
    if "embedded" in kinds:
        notes.append(
            "Generated data: the rows were made by the project itself in the columns of the public "
            "data sets. These numbers say nothing about the public data sets."
        )
    # Files of one's own are the same for all runs, wherever other rows come from.
    if len(kinds - {"files"}) > 1:
        notes.append("The runs take their rows from different places and cannot be compared.")
    if any(not cell.is_comparable for run in runs for cell in run.cells.values()):
        notes.append("Numbers marked with † were computed on other rows than the column tells.")
    notes += [
        f"Transductive: {run.name} was fitted to test prompts, so its numbers are no test scores."
        for run in runs
        if run.about.get("transductive")
    ]
    return notes


def _cell_to_json(cell: Cell | None) -> Json:
    if cell is None:
        return None
    return {
        "value": cell.value,
        "standard_error": cell.standard_error,
        "num_rows": cell.num_rows,
        "num_failures": cell.num_failures,
        "is_comparable": cell.is_comparable,
    }
