"""`taskloom report`: several runs in one table, with paired intervals, and on one page."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.compare import preferred_results
from pipeline.cli.shared import results_below, stdout
from pipeline.errors import EvalError, OutputError

if TYPE_CHECKING:
    from eval.leaderboard.references import Reference


def report(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="[NAME=]RUN...",
            help="Run folders, or folders of results. The runs below NAME=FOLDER, of different "
            "tasks, are shown as one.",
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for report.html, leaderboard.json and .csv.")],
    against: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", help="Show the difference of all runs from this one, with intervals."
        ),
    ] = None,
    references: Annotated[
        Path | None, typer.Option(help="JSON file of published numbers to show beside ours.")
    ] = None,
) -> None:
    """Put the results of several runs into one leaderboard.

    With --against each value has its difference from that run below it, with the 95 % interval
    of the paired bootstrap. Published numbers are a list of {task, model, value, source,
    protocol, comparable}; they are marked as not comparable unless they say so.

    Examples:
        taskloom report runs/a runs/b --out runs/leaderboard
        taskloom report runs/a runs/b single=runs/single --against single --out runs/leaderboard
        taskloom report runs/a --references published.json --out runs/leaderboard
    """
    from eval.leaderboard.references import load_references

    if out.exists() and not out.is_dir():
        raise OutputError(
            "OUT001",
            "cannot write here: this is a file",
            where=out,
            hint="Name a folder for the report",
        )
    published = [] if references is None else load_references(references)
    folders = [folder for run in runs for folder in _folders(run, out)]
    show_leaderboard(folders, out, references=published, against=against)


def _folders(run: str, out: Path) -> list[Path]:
    """Return the results that an argument stands for; those below NAME=FOLDER become one."""
    name, equals, folder = run.partition("=")
    if not equals or Path(run).exists():
        return results_below(Path(run))
    if not re.fullmatch(r"\w[\w .,+-]*", name):
        raise EvalError(
            "CLI024",
            f"not [NAME=]RUN: {run!r}",
            where="RUN",
            hint="Write a folder, or e.g. single=runs/single; letters, digits and blanks are names",
        )
    from eval.joining import join_results

    parts = preferred_results(Path(folder))
    return [join_results(parts, out / "joined" / name, name=name)]


def show_leaderboard(
    folders: Sequence[Path],
    report_folder: Path,
    *,
    references: Sequence[Reference] = (),
    against: str | None = None,
) -> None:
    """Print the leaderboard of evaluations, and write it.

    Raises:
        EvalError: A folder is no finished evaluation, or no run has the name `against`.
    """
    from eval.leaderboard import build_leaderboard, leaderboard_table, write_leaderboard
    from eval.leaderboard.differences import build_differences
    from pipeline.cli.bfcl import print_benchmark_row

    board = build_leaderboard(folders)
    differences = None if against is None else build_differences(board, against)
    stdout.print(leaderboard_table(board, differences))
    for folder in folders:
        print_benchmark_row(folder)
    page = write_leaderboard(board, report_folder, references=references, differences=differences)
    stdout.print(f"report: {page}", soft_wrap=True)
