"""`taskloom experts`: a multi-task run against single-task experts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.compare import comparison_numbers, find_results_folder
from pipeline.cli.shared import stdout
from pipeline.errors import EvalError

if TYPE_CHECKING:
    from rich.table import Table

    from eval.experts import ExpertComparison


def experts(
    *,
    run: Annotated[Path, typer.Argument(help="Run of the multi-task model.")],
    expert: Annotated[
        list[str], typer.Option(help="TASK=RUN of the expert of one task; repeatable.")
    ],
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the comparison to this file.")
    ] = None,
) -> None:
    """Compare a multi-task run with the single-task expert of each task, and flag what it cost.

    Negative transfer is a task on which the run is worse than its expert, with a paired 95 %
    interval that excludes 0.

    Examples:
        taskloom experts runs/mixed --expert chemprot=runs/chemprot --expert gue/emp_H3=runs/h3
    """
    from eval.experts import compare_with_experts
    from pipeline.files import write_json

    folders = {}
    for text in expert:
        task, equals, folder = text.partition("=")
        if not equals or not task or not folder or task in folders:
            raise EvalError(
                "CLI023",
                f"not TASK=RUN with each task once: {text!r}",
                where="--expert",
                hint="Write e.g. --expert chemprot=runs/chemprot",
            )
        folders[task] = find_results_folder(Path(folder))
    found = compare_with_experts(find_results_folder(run), folders)
    if json_file is not None:
        write_json(json_file, found.to_json())
    stdout.print(_table(found))


def _table(found: ExpertComparison) -> Table:
    from rich.table import Table
    from rich.text import Text

    from eval.leaderboard.text import harmless

    absent = ", ".join(found.without_expert)
    table = Table(
        title=Text(f"{harmless(found.run)} against single-task experts"),
        caption=Text(f"without an expert: {harmless(absent)}") if absent else None,
        caption_justify="left",
    )
    table.add_column("task", overflow="fold")
    for heading in ("metric", "n", "expert", "run", "difference", "95 % interval", "p", ""):
        table.add_column(heading, justify="left" if heading in {"metric", ""} else "right")
    for item in found.tasks:
        is_worse = item.task in found.negative_transfer
        numbers = comparison_numbers(item.comparison, scale=100.0 if item.higher_is_better else 1.0)
        table.add_row(
            Text(harmless(item.task)),
            item.metric,
            str(item.comparison.num_rows),
            *numbers,
            "negative transfer" if is_worse else "",
            style="red" if is_worse else "",
        )
    if found.mean is not None:
        table.add_section()
        numbers = comparison_numbers(found.mean, scale=100.0)
        table.add_row("mean over tasks", "", "", *numbers, "", style="bold")
    return table
