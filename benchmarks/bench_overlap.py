"""Planted copies among clean rows: how many are found, how many clean rows are blamed, how fast.

python -m benchmarks.bench_overlap [MIRROR]

Beside ours stands what is most used: a training row is blamed when it shares any 13 words in a
row with an evaluated one. With a local mirror of public data, real test rows are planted too, and
the clean rows are real training rows of other sources than the evaluated ones.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmarks.planted_rows import Planted, make_sequences, make_texts, plant
from pipeline.examples.overlap.content import ComparedRow, compared_row
from pipeline.examples.overlap.index import IndexBuilder
from pipeline.examples.overlap.search import search
from pipeline.types import TaskExample

NUM_PLANTED = 1000
NUM_EVALUATED = 5000
NUM_CLEAN = 50_000
MIN_LENGTH = 50
"""Shorter texts are only found when they are the same; see docs/leakage.md."""

FIELDS = {
    "ncbi/ncbi_disease": "tokens",
    "qiaojin/PubMedQA": "question",
    "openai/gsm8k": "question",
    "clinc/clinc_oos": "text",
    "fairyshine/Seal-Tools": "query",
}
"""Where a mirror has texts; whatever of it is missing is passed over."""


def as_row(key: str, text: str, *, is_dna: bool) -> ComparedRow:
    name, kind = ("sequence", "dna_classification") if is_dna else ("text", "classification")
    example = TaskExample(key=key, task="t", split="train", inputs={name: text}, target=None)
    return compared_row(example, kind)


def measure(evaluated: Sequence[str], clean: Sequence[str], *, is_dna: bool) -> dict[str, object]:
    """Return recall by change, share of clean rows blamed, and rows searched per second."""
    builder = IndexBuilder()
    builder.add([as_row(str(n), text, is_dna=is_dna) for n, text in enumerate(evaluated)], 0)
    index = builder.build()
    planted = plant(evaluated, NUM_PLANTED, is_dna=is_dna, seed=1)
    rows = [as_row("", copy.text, is_dna=is_dna) for copy in planted]
    found = {
        match.position: {index.rows[n].key for n in (*match.exact, *match.near)}
        for match in search(index, rows)
    }
    grams = set().union(*map(thirteen_words, evaluated))
    peer_recall = sum(not grams.isdisjoint(thirteen_words(c.text)) for c in planted) / len(planted)
    start = time.perf_counter()
    clean_rows = [as_row("", text, is_dna=is_dna) for text in clean]
    blamed = sum(1 for _ in search(index, clean_rows))
    seconds = time.perf_counter() - start
    return {
        "planted": len(planted),
        "recall": sum(is_found(copy, found.get(n)) for n, copy in enumerate(planted))
        / len(planted),
        "missed": dict(
            Counter(c.change for n, c in enumerate(planted) if not is_found(c, found.get(n)))
        ),
        "recall_of_13_words": peer_recall,
        "clean": len(clean),
        "false_alarms": blamed / len(clean),
        "rows_per_second": round(len(clean) / seconds),
        "megabytes_per_second": round(sum(map(len, clean)) / seconds / 1e6, 1),
    }


def thirteen_words(text: str) -> set[tuple[str, ...]]:
    words = re.findall(r"[a-z0-9]+", text.lower())
    return {tuple(words[n : n + 13]) for n in range(max(1, len(words) - 12))}


def is_found(copy: Planted, keys: set[str] | None) -> bool:
    return keys is not None and str(copy.source) in keys


def rows_of_mirror(mirror: Path, split: str) -> dict[str, list[str]]:
    """Return texts by dataset."""
    found: dict[str, list[str]] = {}
    for dataset, field in FIELDS.items():
        texts = []
        for file in sorted((mirror / dataset).rglob(f"{split}*.jsonl")):
            with file.open(encoding="utf-8") as lines:
                values = [json.loads(line).get(field, "") for line in lines]
            joined = (" ".join(v) if isinstance(v, list) else str(v) for v in values)
            texts += [text for text in joined if len(text) >= MIN_LENGTH]
        if texts:
            found[dataset] = texts
    return found


def main(arguments: Sequence[str]) -> None:
    results = {
        "generated text": measure(
            make_texts(NUM_EVALUATED, seed=1), make_texts(NUM_CLEAN, seed=2), is_dna=False
        ),
        "generated DNA": measure(
            make_sequences(NUM_EVALUATED, seed=1), make_sequences(NUM_CLEAN, seed=2), is_dna=True
        ),
    }
    if arguments:
        mirror = Path(arguments[0])
        for dataset, texts in rows_of_mirror(mirror, "test").items():
            others = rows_of_mirror(mirror, "train").items()
            clean = [text for name, rows in others if name != dataset for text in rows]
            results[f"real {dataset}"] = measure(texts, clean, is_dna=False)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main(sys.argv[1:])
