"""`taskloom general`: lm-eval's benchmarks beside our tasks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.compare import find_results_folder
from pipeline.cli.shared import stderr, stdout


def general(
    *,
    run: Annotated[Path, typer.Argument(help="Evaluation that gets the numbers.")],
    model: Annotated[str, typer.Argument(help="Folder or hub id of the base model.")],
    benchmarks: Annotated[str, typer.Option(help="Names in lm-eval, with commas between.")],
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder on top of MODEL.")] = None,
    python: Annotated[str, typer.Option(help="Python that has lm-eval.")] = sys.executable,
    limit: Annotated[int | None, typer.Option(min=1, help="Rows per benchmark.")] = None,
) -> None:
    """Run lm-eval's own benchmarks, and keep the numbers for the report of a run.

    Examples:
        taskloom general runs/mine/eval/adapter Qwen/Qwen3-0.6B --adapter runs/mine/adapter
        --benchmarks mmlu,hellaswag --python ~/lm-eval/bin/python
    """
    from eval.general import run_general

    names = [name.strip() for name in benchmarks.split(",") if name.strip()]
    scores, unread = run_general(
        names,
        find_results_folder(run),
        model=model,
        adapter=adapter,
        python=python,
        limit=limit,
    )
    for score in scores:
        stdout.print(f"{score.benchmark} {score.metric}: {score}", markup=False)
    if unread:
        stderr.print(
            f"no number known here, so not in the report: {', '.join(unread)}",
            markup=False,
            soft_wrap=True,
        )
