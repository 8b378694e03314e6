"""`taskloom prepare`: normalise and tokenise a recipe's data ahead of training, also in shards."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import settings_of, stderr, stdout
from pipeline.errors import RecipeError

if TYPE_CHECKING:
    from rich.progress import Progress


def prepare(
    context: typer.Context,
    *,
    recipe: Annotated[Path, typer.Argument(help="Recipe file.")],
    overrides: Annotated[
        list[str] | None, typer.Argument(help="--field value pairs, as for training.")
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option(metavar="I/N", help="Make only shard I of N; shards count from 0."),
    ] = None,
    join: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Join N shards; tell which are not whole."),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes to use; one per core by default.")
    ] = None,
) -> None:
    """Normalise and tokenise the data of a recipe; training then finds it in the cache.

    Any number of jobs can share the work through a common TASKLOOM_CACHE; once joined, the bytes
    are those of a single run. What is whole is never made again, so a shard can be repeated.

    Examples:
        taskloom prepare recipes/quickstart/embedded.yaml
        taskloom prepare recipes/mixed/real_rows.yaml --shard 3/16
        taskloom prepare recipes/mixed/real_rows.yaml --join 16
    """
    from pipeline.models.quiet import quiet_libraries
    from pipeline.recipe import load_recipe
    from pipeline.training.early_checks import check_recipe

    given = list(overrides or [])
    data_root = settings_of(context).data_root
    if data_root is not None:
        given += ["--data_root", data_root]
    which = _shard_of(shard, join)
    loaded = load_recipe(recipe, given)
    check_recipe(loaded, writes_run=False)
    quiet_libraries()
    from pipeline.examples.workers import automatic_num_proc
    from pipeline.training import preparing

    most_workers = workers or automatic_num_proc(loaded.dataset_num_proc)
    with progress_bar() as progress:
        if which is not None:
            num_parts = preparing.prepare_shard(
                loaded,
                shard=which[0],
                num_shards=which[1],
                most_workers=most_workers,
                progress=progress,
            )
            message = f"shard {which[0]}/{which[1]}: {num_parts} parts are ready"
        elif join is not None:
            num_tasks = preparing.join_shards(loaded, join, progress=progress)
            message = f"{num_tasks} tasks joined from {join} shards"
        else:
            num_tasks = preparing.prepare(loaded, most_workers=most_workers, progress=progress)
            message = f"{num_tasks} tasks are ready"
    stdout.print(message)


def _shard_of(text: str | None, join: int | None) -> tuple[int, int] | None:
    """Return number and count of shards.

    Raises:
        RecipeError: The text is no shard, or shards are to be made and joined at once.
    """
    if text is None:
        return None
    if join is not None:
        raise RecipeError(
            "CLI041",
            "got both --shard and --join, allowed one of them",
            where="prepare",
            hint="Join once all shards are made",
        )
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not int(found[1]) < int(found[2]):
        raise RecipeError(
            "CLI040",
            f"got {text!r}, allowed I/N with I from 0 to N-1",
            where="--shard",
            hint="The first of 16 shards is 0/16, the last 15/16",
        )
    return int(found[1]), int(found[2])


@contextlib.contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar; give the function that moves it, as `pipeline.training.preparing` wants it."""
    with _bar() as bar:
        line = bar.add_task("reading the tasks", total=None)

        def progress(what: str, done: int, total: int) -> None:
            bar.update(line, description=what, completed=done, total=total)

        yield progress


def _bar() -> Progress:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=stderr,
        transient=True,
    )
