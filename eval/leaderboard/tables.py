"""The leaderboard as a terminal table and as CSV."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from eval.leaderboard.board import Cell, Column, Leaderboard, Run
from eval.leaderboard.differences import Differences, difference_text
from eval.leaderboard.text import cell_text, failures_text, harmless
from eval.statistics import Comparison

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


def leaderboard_table(board: Leaderboard, differences: Differences | None = None) -> Table:
    """Return one row per task and one column per run, which fits a terminal.

    Args:
        board: What to show.
        differences: Stand below the values, with their 95 % intervals.
    """
    from rich.table import Table
    from rich.text import Text

    title = "Leaderboard, generated data" if board.has_generated_data else "Leaderboard"
    told = [*board.notes]
    if differences is not None:
        told.append(f"Second lines: difference from {differences.against}, paired 95 % interval.")
    notes = "\n".join(harmless(note) for note in told)
    table = Table(title=title, caption=Text(notes) if notes else None, caption_justify="left")
    table.add_column("task", overflow="fold")
    table.add_column("metric")
    table.add_column("n", justify="right")
    for run in board.runs:
        heading = Text(harmless(run.name))
        heading.append(f"\n{run.kind}", style="dim")
        table.add_column(heading, justify="right")
    for family in board.families:
        for column in board.tasks_of(family):
            cells = [_task_text(board, run, column, differences) for run in board.runs]
            table.add_row(Text(harmless(column.task)), column.metric, str(column.num_rows), *cells)
        table.add_section()
    means = [_mean_text(board, run, differences) for run in board.runs]
    table.add_row(Text("mean over tasks", style="bold"), "", "", *means)
    return table


def leaderboard_csv(board: Leaderboard) -> str:
    """Return one row per run: means first, then five facts per task.

    They are value, error, rows, failures, and whether the value can be compared.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    header = ["run", "kind", "model", "adapter", "data", "macro_mean", "macro_standard_error"]
    for family in board.families:
        header += [f"{family}/mean", f"{family}/mean_standard_error"]
    for column in board.columns:
        name = f"{column.task}/{column.metric}"
        facts = ("standard_error", "num_rows", "num_failures", "is_comparable")
        header += [name, *(f"{name}_{fact}" for fact in facts)]
    writer.writerow([_safe(name) for name in header])
    for run in board.runs:
        writer.writerow(_csv_row(board, run))
    return stream.getvalue()


def _csv_row(board: Leaderboard, run: Run) -> list[str]:
    facts = board.to_json_run(run)
    row = [_safe(str(facts[name] or "")) for name in ("name", "kind", "model", "adapter")]
    row.append(_safe(run.data_root_kind))
    for family in (None, *board.families):
        mean = board.mean(run, family)
        row += ["", ""] if mean is None else [repr(mean.value), repr(mean.standard_error)]
    for column in board.columns:
        cell = run.cells.get(column.task)
        row += [""] * 5 if cell is None else _facts(cell)
    return row


def _facts(cell: Cell) -> list[str]:
    return [
        repr(cell.value),
        repr(cell.standard_error),
        str(cell.num_rows),
        str(cell.num_failures),
        str(cell.is_comparable).lower(),
    ]


def _safe(text: str) -> str:
    """Return text that no spreadsheet takes for a formula."""
    clean = harmless(text)
    return f"'{clean}" if clean.startswith(_FORMULA_STARTS) else clean


def _task_text(
    board: Leaderboard, run: Run, column: Column, differences: Differences | None
) -> Text:
    from rich.text import Text

    cell = run.cells.get(column.task)
    if cell is None:
        return Text("-", style="dim")
    is_best = cell.value == board.best(column.task) and cell.is_comparable
    text = Text()
    text.append(cell_text(cell, column), style="bold green" if is_best else "")
    if differences is not None:
        _append_difference(text, differences.of(run.name, column.task), column)
    if told := failures_text(cell):
        text.append(f"\n{told}", style="dim")
    return text


def _mean_text(board: Leaderboard, run: Run, differences: Differences | None) -> Text:
    from rich.text import Text

    mean = board.mean(run)
    text = Text()
    text.append("-" if mean is None else cell_text(mean, None), style="bold")
    if differences is not None and mean is not None:
        _append_difference(text, differences.of(run.name, None), None)
    return text


def _append_difference(text: Text, item: Comparison | None, column: Column | None) -> None:
    if item is not None:
        style = "bold" if item.is_beyond_chance else "dim"
        text.append(f"\n{difference_text(item, column)}", style=style)
