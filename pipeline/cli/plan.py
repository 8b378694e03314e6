"""`taskloom plan`: what a recipe would train on, before any device time is spent."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table

from pipeline.cli.prepare import progress_bar
from pipeline.cli.shared import settings_of, stderr, stdout

if TYPE_CHECKING:
    from pipeline.mixture.plan import MixturePlan
    from pipeline.recipe import Recipe
    from pipeline.training.memory_estimate import MemoryEstimate


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
    from pipeline.training.leakage import leakage_notes, leakage_of, leakage_to_json

    given = list(overrides or [])
    data_root = settings_of(context).data_root
    if data_root is not None:
        given += ["--data_root", data_root]
    loaded = load_recipe(recipe, given)
    made, memory = _build(loaded, num_processes)
    with stderr.status("comparing training and evaluated rows"):
        leakage = leakage_of(loaded)
    if as_json:
        overlap = leakage_to_json(loaded, leakage)
        found = {**made.to_json(), "memory": memory.to_json(), "overlap": overlap}
        stdout.print_json(json.dumps(found))
        return
    stdout.print(_table(made))
    rows = f"{made.num_steps} steps of {made.global_batch_size} rows"
    filled = f"{made.fill_fraction:.1%} filled" if loaded.packing else "not packed"
    stdout.print(f"{rows}, {made.num_draws} examples, {made.num_tokens} tokens, {filled}")
    stdout.print(_memory_line(memory))
    for warning in [*made.warnings, *leakage_notes(loaded, leakage)]:
        stdout.print(f"warning: {warning}", style="yellow", soft_wrap=True)


def _build(recipe: Recipe, num_processes: int) -> tuple[MixturePlan, MemoryEstimate]:
    from pipeline.models.quiet import quiet_libraries
    from pipeline.training.early_checks import check_recipe

    check_recipe(recipe, writes_run=False)
    quiet_libraries()
    from pipeline.examples.workers import automatic_num_proc
    from pipeline.mixture.build import build_batches
    from pipeline.mixture.plan import build_plan
    from pipeline.training.data import batch_shape, mixture_settings
    from pipeline.training.memory_estimate import estimate_memory
    from pipeline.training.preparing import Maker, prepare
    from pipeline.training.task_tokens import load_tasks

    with progress_bar() as progress:
        most_workers = automatic_num_proc(recipe.dataset_num_proc)
        prepare(recipe, most_workers=most_workers, progress=progress)
    tokenizer = Maker(recipe).tokenizer
    batches = build_batches(
        load_tasks(recipe, tokenizer),
        mixture_settings(recipe),
        batch_shape(recipe, world_size=num_processes, rank=0),
        pad_token_id=tokenizer.pad_token_id,
    )
    made = build_plan(
        batches,
        max_epochs=recipe.mixture.max_epochs_per_task,
        loss_reduction=recipe.loss_reduction,
        update_steps=dynamic.update_steps if (dynamic := recipe.mixture.dynamic) else None,
    )
    num_answer_tokens = sum(task.num_loss_tokens for task in made.tasks)
    memory = estimate_memory(
        recipe,
        recipe.model_name_or_path,
        answer_fraction=num_answer_tokens / max(1, made.num_tokens),
    )
    return made, memory


def _memory_line(memory: MemoryEstimate) -> str:
    parts = {
        "weights": memory.weights,
        "adapter": memory.adapter,
        "activations": memory.activations,
        "answers": memory.answers,
    }
    unit, size = ("GiB", 2**30) if memory.total >= 2**30 else ("MiB", 2**20)
    told = ", ".join(f"{name} {part / size:.1f}" for name, part in parts.items())
    return f"about {memory.total / size:.1f} {unit} on one device without sharding ({told})"


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
            f"{task.truncation_rate:.1%}",
            f"{task.rate:.1%}",
            f"{task.num_draws}",
            f"{task.epochs:.2f}",
            f"{task.num_tokens}",
            f"{task.num_loss_tokens}",
            f"{task.loss_share:.1%}",
        )
    return table
