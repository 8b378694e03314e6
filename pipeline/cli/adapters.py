"""`taskloom adapters`: what can be done with a trained multi-task adapter."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.shared import stderr, stdout
from pipeline.errors import AdapterError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from pipeline.recipe import Recipe

app = typer.Typer(help="Multi-task adapters.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """Keep `export` a verb of its own."""


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder with a trained adapter.")],
    *,
    task: Annotated[str, typer.Option(help="Task whose LoRA is wanted.")],
    to: Annotated[Path, typer.Option(help="Folder of the LoRA.")],
    lossy: Annotated[
        bool, typer.Option("--lossy", help="Let mean gates stand for a router of tokens.")
    ] = False,
    rows: Annotated[
        int, typer.Option(min=1, help="With --lossy: held-out examples to measure on.")
    ] = 64,
) -> None:
    """Write one task of a multi-task adapter as a plain PEFT LoRA.

    Exact for mtlora, mtl_lora, and routers of tasks; with --lossy also for routers of tokens, with
    the KL from the live adapter measured on held-out examples.

    Examples:
        taskloom adapters export runs/mine --task pubmedqa --to exported/pubmedqa
        taskloom adapters export runs/smora --task clinc_oos --to exported/clinc --lossy --rows 200
    """
    from pipeline.adapters.lora_export import export_lora, is_exactly_exportable
    from pipeline.models.quiet import quiet_libraries
    from pipeline.recipe import load_recipe
    from pipeline.training.run_folder import RECIPE_FILE

    quiet_libraries()
    if not (run / RECIPE_FILE).is_file():
        raise AdapterError(
            "ADP003",
            f"no {RECIPE_FILE} here, so this is no run",
            where=run,
            hint="Give the folder of a run, such as runs/mine",
        )
    recipe = load_recipe(run / RECIPE_FILE)
    model = _load(recipe, run / "adapter")
    measured: list[Tensor] = []
    if lossy and not is_exactly_exportable(model):
        measured = _held_out_rows(recipe, task, rows)
    with stderr.status("exporting"):
        report = export_lora(model, task, to, rows=measured)
    how = "exact" if report.is_exact else f"lossy, KL {report.kl_nats:.4f} nats per token"
    stdout.print(f"{task}: {how}; {to}", soft_wrap=True)


def _load(recipe: Recipe, adapter: Path) -> PeftModel:
    from pipeline.adapters.registry import load_adapter
    from pipeline.models.loading import load_model, resolve_model

    source = resolve_model(recipe.model_name_or_path)
    model = load_model(source, revision=recipe.model_revision, dtype=recipe.dtype)
    loaded = load_adapter(model, adapter)
    loaded.peft_config["default"].base_model_name_or_path = source
    return loaded


def _held_out_rows(recipe: Recipe, task: str, num_rows: int) -> list[Tensor]:
    """Return token ids of validation examples, or of training examples where there are none."""
    import torch

    from pipeline.models.loading import load_tokenizer, resolve_model
    from pipeline.training.task_tokens import load_tasks

    entries = tuple(entry for entry in recipe.tasks if entry.task == task)
    if not entries:
        return []
    template = recipe.chat_template_path
    tokenizer = load_tokenizer(
        resolve_model(recipe.model_name_or_path),
        revision=recipe.model_revision,
        chat_template_path=None if template is None else Path(template),
        dna_unit=recipe.dna_unit,
    )
    narrowed = recipe.model_copy(update={"tasks": entries})
    for split in ("validation", "train"):
        for found in load_tasks(narrowed, tokenizer, split=split):
            count = min(num_rows, len(found))
            return [torch.tensor(found.ids_and_mask(row)[0].tolist()) for row in range(count)]
    return []
