"""`taskloom lm-eval-export`: annotated tasks for lm-eval."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipeline.cli.shared import catalogue_of, settings_of, split_of, stderr, stdout


def lm_eval_export(
    context: typer.Context,
    *,
    tasks: Annotated[str, typer.Argument(help="Task ids, with commas between.")],
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    style: Annotated[str, typer.Option(help="Name of the wording.")] = "plain",
) -> None:
    """Write tasks as a folder that `lm_eval --include_path` runs.

    Ask the model with --apply_chat_template: prompts are then those of `taskloom eval`, and the
    accuracy of tasks with choices is equal, but for DNA units and choices that begin others, which
    are named. Other answers are scored by exact match. The files name their folder in full, as
    lm-eval wants it: export again in place of moving them.

    Examples:
        taskloom --data-root embedded lm-eval-export chemprot,gue/emp_H3 --out exported
        lm_eval --model hf --model_args pretrained=M --include_path exported
        --tasks taskloom_chemprot --apply_chat_template
    """
    from eval.lm_eval_export import check_export_folder, export_for_lm_eval
    from pipeline.cli.eval_tasks import build_eval_tasks
    from pipeline.sources.data_root import resolve_data_root

    check_export_folder(out)
    settings = settings_of(context)
    names = [name.strip() for name in tasks.split(",") if name.strip()]
    built = build_eval_tasks(
        catalogue_of(settings),
        names,
        split=split_of(split),
        data_root=resolve_data_root(settings.data_root),
    )
    for item in export_for_lm_eval(built, out, style=style):
        if item.name:
            stdout.print(f"{item.name}: {item.num_rows} rows", markup=False)
            if item.note:
                stderr.print(f"{item.name}: {item.note}", markup=False, soft_wrap=True)
        else:
            stderr.print(f"left out {item.task}: {item.reason}", markup=False, soft_wrap=True)
