"""`taskloom compare`: two evaluations of the same rows, and a gate for what got worse."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import results_below, stderr, stdout
from pipeline.errors import EXIT_OK, EvalError

if TYPE_CHECKING:
    from rich.table import Table

    from eval.compare import RunComparison
    from eval.statistics import Comparison

EXIT_GATE = 1
"""Left with when the gate is shut."""

_PREFERRED = ("adapter", "base")


def compare(
    *,
    first: Annotated[Path, typer.Argument(metavar="A", help="Run to compare with.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Run that is judged.")],
    gate: Annotated[
        float | None,
        typer.Option(
            "--gate",
            "--fail-if-drop",
            min=0.0,
            metavar="EPS",
            help="Leave with exit code 1 when any task of A is worse in B by more than EPS "
            "(0.01 is one point), or missing in B.",
        ),
    ] = None,
    beyond_chance: Annotated[
        bool,
        typer.Option(
            help="The gate counts only drops with a 95 % interval without 0 and p below 0.05."
        ),
    ] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the comparison to this file.")
    ] = None,
) -> None:
    """Compare two evaluations row by row: difference, 95 % interval and p-value per task.

    A and B are folders with results.json, or run folders that hold such folders; of a training
    run the adapter is taken.

    Examples:
        taskloom compare runs/a runs/b
        taskloom compare runs/a/eval/base runs/a/eval/adapter --json difference.json
        taskloom compare runs/released runs/candidate --gate 0.01
    """
    from eval.compare import compare_runs
    from pipeline.files import write_json

    found = compare_runs(find_results_folder(first), find_results_folder(second))
    if json_file is not None:
        write_json(json_file, found.to_json())
    stdout.print(_table(found))
    dropped = _drops(found, gate, beyond_chance=beyond_chance) if gate is not None else []
    for line in dropped:
        stderr.print(f"gate: {line}", markup=False, soft_wrap=True)
    raise typer.Exit(EXIT_GATE if dropped else EXIT_OK)


def find_results_folder(run: Path) -> Path:
    """Return the one folder with results in or below `run`; of a training run the adapter's.

    Raises:
        EvalError: There is none (CLI006), or there are several (CLI020).
    """
    found = preferred_results(run)
    if len(found) > 1:
        listed = ", ".join(str(folder.relative_to(run)) for folder in found[:5])
        raise EvalError(
            "CLI020",
            f"{len(found)} evaluations are below this folder: {listed}",
            where=run,
            hint="Name one of them",
        )
    return found[0]


def preferred_results(run: Path) -> list[Path]:
    """Return the folders with results in or below `run`, of each training run the adapter's.

    Raises:
        EvalError: There is none (CLI006).
    """
    found = results_below(run)
    if run in found:
        return [run]
    chosen = []
    for folder in found:
        home = next((parent for parent in folder.parents if parent.name == "eval"), folder)
        own = [home / name for name in _PREFERRED if home / name in found]
        chosen.append(own[0] if own else folder)
    return list(dict.fromkeys(chosen))


def _drops(found: RunComparison, tolerance: float, *, beyond_chance: bool) -> list[str]:
    dropped = [
        f"{item.task} is worse by {-item.gain:.4f} ({item.metric}), allowed is {tolerance:g}"
        for item in found.tasks
        if item.has_dropped(tolerance, beyond_chance=beyond_chance)
    ]
    return dropped + [f"{task} was not evaluated in {found.second}" for task in found.only_first]


def _table(found: RunComparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    from eval.leaderboard.text import harmless

    names = (harmless(found.first), harmless(found.second))
    absent = [*found.only_first, *found.only_second]
    table = Table(
        title=Text(f"{names[1]} against {names[0]}"),
        caption=Text(f"in one run only: {harmless(', '.join(absent))}") if absent else None,
        caption_justify="left",
    )
    table.add_column("task", overflow="fold")
    for heading in ("metric", "n", names[0], names[1], "difference", "95 % interval", "p"):
        table.add_column(Text(heading), justify="left" if heading == "metric" else "right")
    for item in found.tasks:
        style = ""
        if item.is_beyond_chance:
            style = "green" if item.gain > 0 else "red"
        facts = comparison_numbers(item.comparison, scale=100.0 if item.higher_is_better else 1.0)
        metric = item.metric if item.higher_is_better else f"{item.metric} (less is better)"
        table.add_row(
            Text(harmless(item.task)), metric, str(item.comparison.num_rows), *facts, style=style
        )
    if found.macro is not None:
        table.add_section()
        table.add_row(
            "mean over tasks", "", "", *comparison_numbers(found.macro, scale=100.0), style="bold"
        )
    return table


def comparison_numbers(item: Comparison, *, scale: float) -> list[str]:
    """Return both values, difference, interval and p-value as text, times `scale`."""
    digits = 1 if scale != 1.0 else 3
    low, high = scale * item.low, scale * item.high
    return [
        f"{scale * item.first:.{digits}f}",
        f"{scale * item.second:.{digits}f}",
        f"{scale * item.difference:+.{digits}f}",
        f"{low:+.{digits}f} to {high:+.{digits}f}",
        "< 0.001" if item.p_value < 0.001 else f"{item.p_value:.3f}",
    ]
