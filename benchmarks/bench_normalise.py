"""Rows to cached examples: ours against a hand-written `datasets.map` over the same file."""

from __future__ import annotations

import json
import os
import random
import shutil
import tempfile
from pathlib import Path

from benchmarks.paired import compare, report

NUM_ROWS = 50_000
WORDS = "river stone quiet morning signal copper garden winter letter engine".split()
ANNOTATION = """\
schema_version: 1
id: bench
task: pair_classification
source: {{files: {{train: rows.jsonl}}, licence: cc0-1.0}}
splits: {{train: train}}
fields: {{text_a: {premise}, text_b: hypothesis, target: label}}
labels: [entailment, neutral, contradiction]
instruction: Does the second text follow from the first?
"""


def write_rows(path: Path) -> None:
    generator = random.Random(0)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(NUM_ROWS):
            row = {
                "premise": " ".join(generator.choices(WORDS, k=24)),
                "hypothesis": " ".join(generator.choices(WORDS, k=10)),
                "label": generator.randrange(3),
            }
            stream.write(json.dumps(row) + "\n")


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / "rows.jsonl")
        variants = {
            "columns": "premise",
            "expressions": '{text: "Text: {premise}"}',
        }
        report(
            [_comparison(folder, title, premise) for title, premise in variants.items()],
            file="normalise.json",
        )


def _comparison(folder: Path, title: str, premise: str):
    from pipeline.annotations.schema import load_annotation
    from pipeline.examples.cache import load_examples

    file = folder / f"{title}.yaml"
    file.write_text(ANNOTATION.format(premise=premise), encoding="utf-8")
    annotation = load_annotation(file)
    os.environ["TASKLOOM_CACHE"] = str(folder / "cache")

    def ours() -> None:
        shutil.rmtree(folder / "cache", ignore_errors=True)
        assert len(load_examples(annotation, "train")) == NUM_ROWS

    labels = ["entailment", "neutral", "contradiction"]

    def make(row: dict, index: int) -> dict:
        text = f"Text: {row['premise']}" if title == "expressions" else row["premise"]
        return {
            "key": f"bench/train/{index}",
            "inputs": {"text_a": text, "text_b": row["hypothesis"]},
            "target": labels[row["label"]],
        }

    def theirs() -> None:
        import datasets

        datasets.disable_progress_bars()
        cache = folder / "hf"
        shutil.rmtree(cache, ignore_errors=True)
        rows = datasets.load_dataset(
            "json", data_files=str(folder / "rows.jsonl"), split="train", cache_dir=str(cache)
        )
        made = rows.map(make, with_indices=True, remove_columns=rows.column_names)
        assert len(made) == NUM_ROWS

    return compare(
        f"normalise, {title}",
        ours,
        theirs,
        peer="datasets.map",
        unit="rows",
        num_items=NUM_ROWS,
    )
