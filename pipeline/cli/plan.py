"""`taskloom plan`: what a recipe would train on, before any device time is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pipeline.cli.shared import settings_of, stderr, stdout

if TYPE_CHECKING:
    from pipeline.mixture.plan import MixturePlan
    from pipeline.recipe import Recipe


def plan(
    context: typer.Context,
    *,
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs, as for training.")
    ] = None,
    num_processes: Annotated[int, typer.Option(min=1, help="Processes that would train.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Show rows, rates, epochs, tokens and loss share of every task. Nothing is trained.

    Examples:
        taskloom plan recipes/quickstart/embedded.yaml
        taskloom plan recipes/mixed/real_rows.yaml --mixture.temperature 3 --max_steps 500
    """
    from pipeline.recipe import load_recipe

    given = list(overrides or [])
    data_root = settings_of(context).data_root
    if data_root is not None:
        given += ["--data_root", data_root]
    loaded = load_recipe(recipe, given)
    with stderr.status("reading and tokenising the tasks"):
        made = _build(loaded, num_processes)
    if as_json:
        stdout.print_json(json.dumps(made.to_json()))
        return
    stdout.print(_table(made))
    rows = f"{made.num_steps} steps of {made.global_batch_size} rows"
    filled = f"{made.fill_fraction:.1%} filled" if loaded.packing else "not packed"
    stdout.print(f"{rows}, {made.num_draws} examples, {made.num_tokens} tokens, {filled}")
    for warning in made.warnings:
        stdout.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _build(recipe: Recipe, num_processes: int) -> MixturePlan:
    from pipeline.models.quiet import quiet_libraries
    from pipeline.training.early_checks import check_recipe

    check_recipe(recipe)
    quiet_libraries()
    from pipeline.mixture.build import build_batches
    from pipeline.mixture.plan import build_plan
    from pipeline.models.loading import load_tokenizer, resolve_model
    from pipeline.training.data import batch_shape, load_tasks, mixture_settings

    template = recipe.chat_template_path
    tokenizer = load_tokenizer(
        resolve_model(recipe.model_name_or_path),
        revision=recipe.model_revision,
        chat_template_path=None if template is None else Path(template),
    )
    batches = build_batches(
        load_tasks(recipe, tokenizer),
        mixture_settings(recipe),
        batch_shape(recipe, world_size=num_processes, rank=0),
        pad_token_id=tokenizer.pad_token_id,
    )
    is_even = recipe.loss_reduction != "token"
    return build_plan(batches, max_epochs=recipe.mixture.max_epochs_per_task, task_loss=is_even)


def _table(made: MixturePlan) -> Table:
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("task", no_wrap=True)
    for name in (
        "rows",
        "skipped",
        "cut",
        "rate",
        "examples drawn",
        "epochs",
        "tokens",
        "answer tokens",
        "loss share",
    ):
        table.add_column(name, justify="right")
    for task in made.tasks:
        table.add_row(
            task.task,
            f"{task.num_rows}",
            f"{task.num_skipped}",
            f"{task.num_truncated}",
            f"{task.rate:.1%}",
            f"{task.num_draws}",
            f"{task.epochs:.2f}",
            f"{task.num_tokens}",
            f"{task.num_loss_tokens}",
            f"{task.loss_share:.1%}",
        )
    return table
