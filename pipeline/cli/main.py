"""Entry point of the `taskloom` command: options shared by all verbs, exit codes, error lines.

Heavy packages are imported inside the verbs, so that `taskloom --help` answers at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from pipeline import __version__
from pipeline.cli import adapters, bfcl, catalogue, evaluation, inspect
from pipeline.cli.add_task import add_task
from pipeline.cli.card import card
from pipeline.cli.chain import chain
from pipeline.cli.compare import compare
from pipeline.cli.continual import continual
from pipeline.cli.doctor import doctor
from pipeline.cli.experts import experts
from pipeline.cli.general import general
from pipeline.cli.lm_eval import lm_eval_export
from pipeline.cli.merge import merge, prefer, transfer
from pipeline.cli.mirror import mirror
from pipeline.cli.new import new
from pipeline.cli.overlap import overlap
from pipeline.cli.plan import plan
from pipeline.cli.prepare import prepare
from pipeline.cli.report import report
from pipeline.cli.resume import resume
from pipeline.cli.shared import Settings, stderr
from pipeline.errors import EXIT_OK, PipelineError
from pipeline.models.quiet import quiet_imports
from pipeline.process_group import leave_process, tell_once

app = typer.Typer(
    name="taskloom",
    help="Many annotated datasets in, one multi-task fine-tuned language model out.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"taskloom {__version__}")
        raise typer.Exit(EXIT_OK)


@app.callback()
def common(
    context: typer.Context,
    *,
    data_root: Annotated[
        str | None,
        typer.Option(
            envvar="TASKLOOM_DATA_ROOT",
            help="Local mirror: dataset owner/name is looked for in DIR/owner/name first. "
            "'embedded' is the generated data of the quickstart.",
        ),
    ] = None,
    annotations: Annotated[
        list[Path] | None,
        typer.Option(help="Folder of annotations beside the built-in ones; repeatable."),
    ] = None,
    _version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Show the version and exit."
        ),
    ] = False,
) -> None:
    """Keep the options that every verb shares."""
    quiet_imports()
    context.obj = Settings(data_root=data_root, annotation_folders=tuple(annotations or ()))


app.command()(catalogue.check)
app.command(name="list")(catalogue.list_tasks)
app.command()(new)
app.command()(mirror)
app.command()(inspect.show)
app.command()(inspect.export)
app.command(context_settings={"ignore_unknown_options": True})(plan)
app.command(context_settings={"ignore_unknown_options": True})(prepare)
app.command(context_settings={"ignore_unknown_options": True})(resume)
app.command(context_settings={"ignore_unknown_options": True})(overlap)
app.command(name="eval", context_settings={"ignore_unknown_options": True})(
    evaluation.evaluate_model
)
app.command()(evaluation.score)
app.command()(report)
app.command()(compare)
app.command()(chain)
app.command()(experts)
app.command()(card)
app.command()(lm_eval_export)
app.command()(general)
app.command(context_settings={"ignore_unknown_options": True})(merge)
app.command()(transfer)
app.command(context_settings={"ignore_unknown_options": True})(add_task)
app.command()(prefer)
app.command(context_settings={"ignore_unknown_options": True})(continual)
app.command()(doctor)
app.add_typer(bfcl.app, name="bfcl")
app.add_typer(adapters.app, name="adapters")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command and leave with its exit code: 0 ok, 2 user error, 1 bug."""
    try:
        app(args=list(arguments) if arguments is not None else None)
    except PipelineError as error:
        leave_process(tell_once(error, _tell))
    except SystemExit as stop:
        # Typer ends every command so; what it would tell is an integer.
        leave_process(int(stop.code or EXIT_OK))


def _tell(text: str) -> None:
    stderr.print(text, markup=False, highlight=False, soft_wrap=True)


if __name__ == "__main__":
    main()
