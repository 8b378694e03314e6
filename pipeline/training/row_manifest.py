"""Which rows a run trains and validates on, where they are chosen from more: `rows.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pipeline.files import write_text
from pipeline.recipe import Recipe
from pipeline.training.task_tokens import data_of, load_source
from pipeline.types import Json, Split

ROWS_FILE = "rows.jsonl"


def write_row_manifest(recipe: Recipe, folder: Path) -> None:
    """Write one line per task and split of which not all examples are used.

    A line names task, split, how many examples there are, the seed, and the chosen rows by their
    names, which are the last part of an example's key. Without such tasks there is no file.

    Raises:
        PipelineError: Data cannot be read, or the folder not written.
    """
    lines = [json.dumps(entry) for entry in _entries(recipe)]
    if lines:
        write_text(folder / ROWS_FILE, "\n".join(lines) + "\n")
    else:
        (folder / ROWS_FILE).unlink(missing_ok=True)


def _entries(recipe: Recipe) -> Iterator[dict[str, Json]]:
    splits: tuple[Split, ...] = ("train", "validation")
    if recipe.eval_strategy == "no":
        splits = ("train",)
    for split in splits:
        for data in data_of(recipe, split):
            examples = load_source(recipe, data).examples
            report = getattr(examples, "report", None)
            if report is None or len(examples) == report.num_available:
                continue
            prefix = len(f"{data.name}/{split}/")
            yield {
                "task": data.name,
                "split": split,
                "num_available": report.num_available,
                "num_used": len(examples),
                "seed": recipe.seed,
                "rows": [example.key[prefix:] for example in examples],
            }
