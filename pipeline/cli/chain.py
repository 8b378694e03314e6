"""`taskloom chain`: one task finds a context, the next answers from it."""

from __future__ import annotations

import random
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from pipeline.cli.backends import model_backends
from pipeline.cli.evaluation import RUNS_FOLDER
from pipeline.cli.shared import catalogue_of, settings_of, split_of, stderr, stdout

if TYPE_CHECKING:
    from eval.tasks import EvalTask

RESULT_NAME = "chain.json"


def chain(
    context: typer.Context,
    *,
    model: Annotated[str, typer.Argument(help="'embedded', a folder, or a hub id.")],
    find: Annotated[str, typer.Option(help="Task that ranks what may be read.")],
    answer: Annotated[str, typer.Option(help="Task over the same rows that reads the first.")],
    adapter: Annotated[Path | None, typer.Option(help="Adapter folder on top of MODEL.")] = None,
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    max_rows: Annotated[int | None, typer.Option(min=1, help="Rows, sampled.")] = None,
    style: Annotated[str, typer.Option(help="Name of the wording.")] = "plain",
    out: Annotated[Path | None, typer.Option(help="Folder for the results.")] = None,
) -> None:
    """Evaluate two tasks as a chain: with the right context, and with the one that was found.

    Both numbers are told. A row counts end to end at most what it counts with the right context.

    Examples:
        taskloom --data-root /data/mirror chain Qwen/Qwen3-0.6B
        --find manuals/section_retrieval/s10 --answer manuals/answer_extraction/s10
    """
    from eval.chains import evaluate_chain
    from eval.tasks import Asking
    from pipeline.adapter_folder import check_adapter_folder
    from pipeline.cli.eval_tasks import build_eval_tasks
    from pipeline.examples.contexts import contexts_of
    from pipeline.files import write_json
    from pipeline.models.loading import resolve_model
    from pipeline.models.quiet import quiet_libraries
    from pipeline.sources.data_root import resolve_data_root
    from pipeline.templates.styles import parse_style

    quiet_libraries()
    parse_style(style)
    catalogue = catalogue_of(settings_of(context))
    data_root = resolve_data_root(settings_of(context).data_root)
    context_of = contexts_of(catalogue.get(answer), data_root)
    (finding,), (answering,) = (
        build_eval_tasks(catalogue, [name], split=split_of(split), data_root=data_root)
        for name in (find, answer)
    )
    if adapter is not None:
        check_adapter_folder(adapter)
    backends = model_backends(
        model, resolve_model(model), adapter=adapter, include_base=adapter is None
    )
    _, backend = next(backends)
    name = re.sub(r"[^A-Za-z0-9.]+", "-", f"{model}-{adapter or ''}-{find}").strip("-.")
    folder = out or RUNS_FOLDER / f"chain-{name}"
    stderr.print(f"{find}, then {answer}: {model}", soft_wrap=True)
    result = evaluate_chain(
        backend,
        *_sampled(finding, answering, max_rows),
        context_of=context_of,
        output_folder=folder,
        asking=Asking(style=style),
    )
    write_json(folder / RESULT_NAME, result.to_json() | {"answering": answer})
    for line in result.lines():
        stdout.print(line, soft_wrap=True)
    stdout.print(f"results: {folder}", soft_wrap=True)


def _sampled(
    finding: EvalTask, answering: EvalTask, max_rows: int | None
) -> tuple[EvalTask, EvalTask]:
    """Return both tasks with the same rows: all of them, or a seeded sample."""
    num_rows = len(finding.examples)
    if max_rows is None or max_rows >= num_rows or num_rows != len(answering.examples):
        return finding, answering
    places = sorted(random.Random(0).sample(range(num_rows), max_rows))
    first, second = (
        replace(task, examples=[task.examples[place] for place in places])
        for task in (finding, answering)
    )
    return first, second
