"""`taskloom card`: the model card of a trained adapter."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.shared import Settings, catalogue_of, settings_of, stdout
from pipeline.errors import EvalError


def card(
    context: typer.Context,
    *,
    run: Annotated[Path, typer.Argument(help="Run folder of a finished training.")],
    to_stdout: Annotated[
        bool, typer.Option("--print", help="Print the card in place of writing it.")
    ] = False,
) -> None:
    """Write README.md into a run's adapter folder: data, licences, scores, limits.

    Keys, passwords and folders of this machine are left out.

    Examples:
        taskloom card runs/quickstart
        taskloom card runs/quickstart --print
    """
    from eval.model_card import CARD_NAME, build_card
    from pipeline.adapter_folder import check_adapter_folder
    from pipeline.files import staged_folder, write_text
    from pipeline.recipe import load_recipe

    adapter = run / "adapter"
    if not adapter.is_dir():
        raise EvalError(
            "CLI004",
            "the run has no adapter yet",
            where=run,
            hint="Give the run folder of a finished training",
        )
    recipe = load_recipe(run / "recipe.resolved.yaml", [])
    settings = settings_of(context)
    folders = (*settings.annotation_folders, *(Path(name) for name in recipe.annotations))
    catalogue = catalogue_of(Settings(annotation_folders=folders))
    tasks = [catalogue.get(entry.task) for entry in recipe.tasks]
    text = build_card(run, recipe.model_dump(), tasks)
    if to_stdout:
        stdout.print(text, markup=False, soft_wrap=True)
        return
    # The folder is sealed by its manifest, so it is built again as a whole; damage stays told.
    check_adapter_folder(adapter)
    with staged_folder(adapter) as staged:
        for path in adapter.iterdir():
            if path.is_dir():
                shutil.copytree(path, staged / path.name)
            elif path.name not in {CARD_NAME, "manifest.json"}:
                shutil.copy2(path, staged / path.name)
        write_text(staged / CARD_NAME, text)
    stdout.print(f"card: {adapter / CARD_NAME}", soft_wrap=True)
