"""`taskloom mirror`: what tasks read, copied into a folder for a machine without a network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from pipeline.cli.shared import Settings, catalogue_of, settings_of, stderr, stdout
from pipeline.errors import (
    EXIT_USER_ERROR,
    AnnotationError,
    OutputError,
    PipelineError,
    SourceError,
)

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation
    from pipeline.sources.mirroring import MirrorPlan


def mirror(
    context: typer.Context,
    *,
    tasks: Annotated[
        list[str] | None, typer.Argument(help="Task ids, see `taskloom list`.")
    ] = None,
    to: Annotated[Path | None, typer.Option(help="Folder of the mirror.")] = None,
    recipe: Annotated[
        Path | None, typer.Option(help="Also the tasks that this recipe trains and evaluates.")
    ] = None,
    check: Annotated[
        Path | None, typer.Option(help="Check this mirror against its lock file; copy nothing.")
    ] = None,
) -> None:
    """Copy the files that tasks read into a folder that --data-root reads.

    Beside them lies taskloom.lock.json with revision, row counts, sizes and SHA-256. A run that
    was stopped goes on where it was. Tasks that fail are told at the end; the others are complete.

    Examples:
        taskloom mirror glue/rte piqa --to /data/mirror
        taskloom mirror --recipe recipes/mixed/real_rows.yaml --to /data/mirror
        taskloom mirror --check /data/mirror
    """
    if check is not None:
        _check(check)
        return
    settings = settings_of(context)
    chosen = _tasks(settings, tasks or [], recipe)
    if to is None or not chosen:
        raise OutputError(
            "CLI012",
            "tasks and a folder are needed",
            where="mirror",
            hint="Write `taskloom mirror TASK --to DIR`, or `--recipe FILE --to DIR`",
        )
    errors = _fill(settings, chosen, to)
    for error in errors:
        stderr.print(str(error), markup=False, soft_wrap=True)
    if errors:
        raise typer.Exit(EXIT_USER_ERROR)


def _tasks(
    settings: Settings, names: list[str], recipe: Path | None
) -> dict[str, DatasetAnnotation]:
    """Return the annotations of the named tasks and of a recipe's, each once."""
    folders, wanted = settings.annotation_folders, list(names)
    if recipe is not None:
        from pipeline.recipe import load_recipe

        loaded = load_recipe(recipe)
        folders = (*folders, *(Path(name) for name in loaded.annotations))
        wanted += [entry.task for entry in loaded.tasks]
        wanted += (loaded.evaluation.tasks or ()) if loaded.evaluation is not None else ()
    catalogue = catalogue_of(Settings(annotation_folders=folders))
    return {name: catalogue.get(name) for name in dict.fromkeys(wanted)}


def _fill(
    settings: Settings, tasks: dict[str, DatasetAnnotation], folder: Path
) -> list[PipelineError]:
    from pipeline.sources.data_root import resolve_data_root
    from pipeline.sources.mirroring import verify_task

    data_root = resolve_data_root(settings.data_root)
    errors: list[PipelineError] = []
    done: list[MirrorPlan] = []
    with _bar() as bar:
        for name, annotation in tasks.items():
            if annotation.source.hub is None:
                bar.print(f"{name}: reads files of its own beside the annotation; take them along")
                continue
            try:
                done.append(_one(annotation, data_root, folder, bar))
            except (SourceError, AnnotationError) as error:
                error.where = f"{name}: {error.where}" if error.where else name
                errors.append(error)
    shared = Counter(plan.dataset for plan in done)
    for plan in done:
        if shared[plan.dataset] > 1:
            try:
                verify_task(plan, folder)
            except SourceError as error:
                error.where = f"{plan.annotation.id}: {error.where}"
                errors.append(error)
    num_wanted = sum(task.source.hub is not None for task in tasks.values())
    if num_wanted:
        stdout.print(f"{len(done)} of {num_wanted} tasks are in {folder}", soft_wrap=True)
    else:
        stdout.print("nothing to copy: no task reads a dataset of the hub", soft_wrap=True)
    return errors


def _one(
    annotation: DatasetAnnotation, data_root: Path | None, folder: Path, bar: Progress
) -> MirrorPlan:
    from pipeline.sources.mirroring import mirror_task, plan_mirror

    row = bar.add_task(annotation.id, total=None)
    plan = plan_mirror(annotation, data_root)
    bar.update(row, total=len(plan.files))
    num_copied = 0

    def progress(name: str, *, is_copied: bool) -> None:
        nonlocal num_copied
        num_copied += is_copied
        bar.update(row, advance=1, description=f"{annotation.id}: {name}")

    locked = mirror_task(plan, folder, progress)
    bar.remove_task(row)
    names = {split.split for split in plan.splits}
    rows = ", ".join(
        f"{split.split} {split.rows}"
        for split in locked.splits
        if split.split in names and split.config == annotation.config
    )
    at = f" at {plan.place.revision[:12]}" if plan.place.revision else ""
    copied = f"{num_copied} of {len(plan.files)} files copied"
    bar.print(f"{annotation.id}: {plan.dataset}{at}, {copied}; rows: {rows}", soft_wrap=True)
    return plan


def _check(folder: Path) -> None:
    from pipeline.sources.lock import read_lock
    from pipeline.sources.mirroring import check_mirror

    num_files = sum(len(entry.files) for entry in read_lock(folder).datasets.values())
    with _bar() as bar:
        row = bar.add_task("checking", total=num_files)
        errors = check_mirror(folder, lambda name: bar.update(row, advance=1, description=name))
    for error in errors:
        stderr.print(str(error), markup=False, soft_wrap=True)
    stdout.print(f"{num_files} files checked, {len(errors)} errors")
    if errors:
        raise typer.Exit(EXIT_USER_ERROR)


def _bar() -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        console=stderr,
        transient=True,
    )
