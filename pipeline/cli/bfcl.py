"""`taskloom bfcl`: verdicts of the Berkeley Function-Calling Leaderboard's single-turn checker."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.shared import settings_of, stderr

app = typer.Typer(help="Berkeley Function-Calling Leaderboard.", no_args_is_help=True)


@app.callback()
def group() -> None:
    """Berkeley Function-Calling Leaderboard."""


@app.command()
def verdicts(
    context: typer.Context,
    predictions: Annotated[Path, typer.Argument(help="JSON lines of model outputs.")],
    out: Annotated[Path, typer.Argument(help="JSON lines file to write.")],
) -> None:
    """Judge model outputs as the official checker does, without running any of them.

    Reads {row, category, id, format, underscore_to_dot, model_output} per line, writes
    {row, verdict, error_type}. The questions come from --data-root.

    Examples:
        taskloom --data-root /data/mirror bfcl verdicts outputs.jsonl verdicts.jsonl
    """
    from eval.bfcl.verdicts import verdicts_file
    from pipeline.sources.data_root import resolve_data_root

    data_root = resolve_data_root(settings_of(context).data_root)
    summary = verdicts_file(predictions, out, data_root)
    stderr.print(str(summary), soft_wrap=True)
