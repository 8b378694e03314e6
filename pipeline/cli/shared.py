"""What all verbs share: settings, consoles, and the way from a task name to its examples."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import typer
from rich.console import Console

from pipeline.errors import AdapterError, AnnotationError, EvalError, did_you_mean
from pipeline.types import SPLITS, Split

if TYPE_CHECKING:
    from pipeline.annotations.catalogue import Catalogue
    from pipeline.recipe import Recipe

PIPED_WIDTH = 160
"""Columns of a table that goes into a file or another program."""

stdout = Console(highlight=False, width=None if sys.stdout.isatty() else PIPED_WIDTH)
stderr = Console(stderr=True, highlight=False, width=None if sys.stderr.isatty() else PIPED_WIDTH)


@dataclass(frozen=True, slots=True)
class Settings:
    """Options given before the verb."""

    data_root: str | None = None
    annotation_folders: tuple[Path, ...] = ()


def settings_of(context: typer.Context) -> Settings:
    """Return the options given before the verb."""
    return cast("Settings", context.obj)


def results_below(run: Path) -> list[Path]:
    """Return every folder with results in or below `run`, sorted.

    Raises:
        EvalError: There is none (CLI006).
    """
    from eval.results import RESULTS_NAME

    found = sorted({file.parent for file in run.rglob(RESULTS_NAME)})
    if not found:
        raise EvalError(
            "CLI006",
            f"no {RESULTS_NAME} in or below this folder",
            where=run,
            hint="Evaluate it first: taskloom eval --recipe ...",
        )
    return found


def catalogue_of(settings: Settings) -> Catalogue:
    """Return the built-in annotations together with the user's folders."""
    from pipeline.annotations.catalogue import builtin_folder, load_catalogue

    return load_catalogue([builtin_folder(), *settings.annotation_folders])


def recipe_of_run(run: Path) -> Recipe:
    """Return the recipe that a run was started with.

    Raises:
        AdapterError: This is no run folder (ADP003).
    """
    from pipeline.recipe import load_recipe
    from pipeline.training.run_folder import RECIPE_FILE

    if not (run / RECIPE_FILE).is_file():
        raise AdapterError(
            "ADP003",
            f"no {RECIPE_FILE} here, so this is no run",
            where=run,
            hint="Give the folder of a run, such as runs/mine",
        )
    return load_recipe(run / RECIPE_FILE)


def split_of(name: str) -> Split:
    """Return `name` as a split.

    Raises:
        AnnotationError: It is none of train, validation and test.
    """
    if name not in SPLITS:
        raise AnnotationError(
            "CLI001", f"no split {name!r}", where="--split", hint=did_you_mean(name, SPLITS)
        )
    return name
