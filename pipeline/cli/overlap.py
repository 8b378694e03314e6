"""`taskloom overlap`: which training rows of a recipe repeat rows that it is evaluated on."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from pipeline.cli.shared import settings_of, stderr, stdout

if TYPE_CHECKING:
    from pipeline.examples.overlap import OverlapReport
    from pipeline.examples.overlap.leakage import Started


def overlap(
    context: typer.Context,
    *,
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs, as for training.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Write the pairs of rows here, one JSON object with both keys a line."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show which training rows repeat evaluated rows, exactly or nearly, by pair of tasks.

    Rows are compared by content: case, blanks, punctuation and DNA strand do not matter; near
    are rows with small changes, cut short, or inside a longer text. The exit code is 2 when the
    recipe's `decontaminate` forbids to train on what was found.

    Examples:
        taskloom overlap recipes/quickstart/embedded.yaml
        taskloom overlap recipes/mixed/real_rows.yaml --out pairs.jsonl
        taskloom overlap recipes/mixed/real_rows.yaml --decontaminate error
    """
    from pipeline.examples.overlap import check_leakage, find_leakage
    from pipeline.files import open_atomic
    from pipeline.recipe import load_recipe
    from pipeline.training.early_checks import recipe_catalogue

    given = list(overrides or [])
    data_root = settings_of(context).data_root
    if data_root is not None:
        given += ["--data_root", data_root]
    loaded = load_recipe(recipe, given)
    with _bar() as started:
        leakage = find_leakage(loaded, recipe_catalogue(loaded), started=started)
    if out is not None:
        with leakage.matches.open("rb") as source, open_atomic(out, binary=True) as target:
            shutil.copyfileobj(source, target)  # type: ignore[misc]
    if as_json:
        stdout.print_json(json.dumps(leakage.report.to_json()))
    else:
        _show(leakage.report)
    if out is not None and not as_json:
        stdout.print(f"pairs of rows: {out}", soft_wrap=True)
    check_leakage(leakage, loaded.decontaminate)


@contextlib.contextmanager
def _bar() -> Iterator[Started]:
    columns = (TextColumn("comparing rows"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), console=stderr, transient=True) as bar:

        def started(total: int) -> Callable[[int], None]:
            line = bar.add_task("", total=total)
            return lambda count: bar.advance(line, count)

        yield started


def _show(report: OverlapReport) -> None:
    if report.pairs:
        stdout.print(_table(report))
    num_rows = sum(task.num_rows for task in report.training)
    num_repeated = sum(task.num_repeated for task in report.training)
    stdout.print(
        f"{num_repeated:,} of {num_rows:,} training rows repeat rows of "
        f"{len(report.evaluated)} evaluated splits"
    )
    for gap in report.not_compared:
        message = f"warning: {gap.task}/{gap.split} is not compared: {gap.reason}"
        stdout.print(message, style="yellow", soft_wrap=True)


def _table(report: OverlapReport) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("training task", no_wrap=True)
    table.add_column("evaluated", no_wrap=True)
    for name in ("rows", "exact", "near", "share", "training rows"):
        table.add_column(name, justify="right")
    for pair in sorted(report.pairs, key=lambda pair: -pair.share):
        table.add_row(
            pair.training_task,
            f"{pair.evaluated_task}/{pair.split}",
            f"{pair.num_evaluated}",
            f"{pair.num_exact}",
            f"{pair.num_near}",
            f"{pair.share:.1%}",
            f"{pair.num_training_rows}",
        )
    return table
