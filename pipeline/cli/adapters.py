"""`taskloom adapters`: the types there are, and what can be done with a trained one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer
from rich.table import Table
from rich.text import Text

from pipeline.cli.shared import recipe_of_run, stderr, stdout
from pipeline.errors import AdapterError

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

    from pipeline.adapters.parameter_counts import AdapterSize
    from pipeline.recipe import Recipe
    from pipeline.recipe.schema import AdapterType

app = typer.Typer(no_args_is_help=True)


@app.callback()
def group() -> None:
    """Multi-task adapters: their types and sizes, and what a trained one can become.

    Examples:
        taskloom adapters list
        taskloom adapters export runs/mine --task pubmedqa --to exported/pubmedqa
    """


@app.command(name="list")
def list_types(
    model: Annotated[
        str, typer.Argument(help="Base: embedded, a model folder, or a hub id.")
    ] = "embedded",
    *,
    r: Annotated[int, typer.Option("--r", min=1, help="Ranks of each adapted layer.")] = 64,
    num_active_ranks: Annotated[
        int | None, typer.Option(min=1, help="Ranks a token uses, for smora and moe_lora.")
    ] = None,
    tasks: Annotated[int, typer.Option(min=1, help="Tasks, for types that know tasks.")] = 8,
    target_modules: Annotated[
        str, typer.Option(help="Modules that get an adapter, as `lora_target_modules`.")
    ] = "all-linear",
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Also write the numbers to this file.")
    ] = None,
) -> None:
    """List the adapter types with their numbers of weights on a base; no weights are loaded.

    Trainable: what the optimizer moves. Activated: what one token goes through. Router: what
    decides it. Beside them the rank of the plain LoRA with as many trainable weights.

    Examples:
        taskloom adapters list
        taskloom adapters list Qwen/Qwen3-8B --r 64 --num-active-ranks 8 --json sizes.json
    """
    from pipeline.files import write_json
    from pipeline.models.quiet import quiet_libraries

    quiet_libraries()
    with stderr.status("counting"):
        found = _sizes(model, r, num_active_ranks, tasks=tasks, target_modules=target_modules)
    sizes = [size.to_json() for size, _ in found if size is not None]
    if json_file is not None:
        write_json(json_file, {"model": model, "types": [*sizes]})
    table = Table(title=Text(f"{model}, {r} ranks, {tasks} tasks"))
    table.add_column("type")
    for heading in ("trainable", "activated", "router", "equal LoRA"):
        table.add_column(heading, justify="right")
    table.add_column("what a token uses")
    for kind, (size, words) in zip(_WORDS, found, strict=True):
        if size is None:
            table.add_row(kind, "-", "-", "-", "-", words)
            continue
        numbers = (size.trainable, size.activated, size.router)
        shown = (f"{number:,}" for number in numbers)
        table.add_row(kind, *shown, f"r={size.equal_lora_rank}", words)
    stdout.print(table)


_WORDS = {
    "lora": "all ranks",
    "smora": "a few ranks, by token",
    "moe_lora": "a few blocks of ranks, by token",
    "hydra": "one A, a mixture of B, by token",
    "mtlora": "shared ranks and its task's own",
    "mtl_lora": "one A, its task's matrix and mixture of B",
}


def _sizes(
    model: str, r: int, num_active_ranks: int | None, *, tasks: int, target_modules: str
) -> list[tuple[AdapterSize | None, str]]:
    """Return size and words of each type; words say why where a type has no such rank."""
    from pipeline.adapters.parameter_counts import measure_adapter
    from pipeline.models.loading import build_skeleton
    from pipeline.recipe.schema import AdapterSettings

    base = build_skeleton(model)
    names = [f"task {number}" for number in range(tasks)]
    modules = target_modules.split(",")
    found: list[tuple[AdapterSize | None, str]] = []
    for kind, words in _WORDS.items():
        chosen = num_active_ranks if kind in {"smora", "moe_lora"} else None
        settings = AdapterSettings(
            type=cast("AdapterType", kind),
            rank=r,
            num_active_ranks=chosen,
            target_modules=target_modules if len(modules) == 1 else tuple(modules),
        )
        try:
            found.append((measure_adapter(base, settings, names), words))
        except AdapterError as error:
            # Where plain LoRA does not fit either, the modules are wrong, not the rank.
            if kind == "lora":
                raise
            found.append((None, error.message.rpartition("model: ")[2]))
    return found


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
    from pipeline.adapter_folder import EXPORT_FILE, check_adapter_folder
    from pipeline.files import check_replaceable
    from pipeline.models.quiet import quiet_libraries

    check_replaceable(to, record=EXPORT_FILE, sources=[run])
    recipe = recipe_of_run(run)
    check_adapter_folder(run / "adapter")
    quiet_libraries()
    from pipeline.adapters.lora_export import export_lora, is_exactly_exportable

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

    from pipeline.training.recipe_tokenizer import load_recipe_tokenizer
    from pipeline.training.task_tokens import load_tasks

    entries = tuple(entry for entry in recipe.tasks if entry.task == task)
    if not entries:
        return []
    tokenizer = load_recipe_tokenizer(recipe)
    narrowed = recipe.model_copy(update={"tasks": entries})
    for split in ("validation", "train"):
        for found in load_tasks(narrowed, tokenizer, split=split):
            count = min(num_rows, len(found))
            return [torch.tensor(found.ids_and_mask(row)[0].tolist()) for row in range(count)]
    return []
