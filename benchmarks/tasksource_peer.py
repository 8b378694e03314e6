"""tasksource at work on local rows, in an environment of its own: `python tasksource_peer.py`.

Reads one JSON request `{"case", "file"}` per line, does the work cold, and answers with the seconds
it took, the number of rows and the first one. Imports are not timed. Knows nothing of this project.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")

LABELS = {0: "entailment", 1: "neutral", 2: "contradiction"}
GRADES = {"A": "entailment", "B": "neutral", "C": "contradiction"}
BUILDERS = {"jsonl": "json", "parquet": "parquet"}


def tasks():
    from tasksource.preprocess import Classification, MultipleChoice, cat, get

    shared = {"splits": ("train", None, None), "complete_splits": False}
    return {
        "columns and labels": lambda: Classification(
            sentence1="premise",
            sentence2="hypothesis",
            labels="label",
            label_values=LABELS,
            **shared,
        ),
        "paths and labels": lambda: Classification(
            sentence1=get.record.text,
            sentence2="hypothesis",
            labels=get.record.inner.label,
            label_values=LABELS,
            **shared,
        ),
        "hashed options": lambda: MultipleChoice(
            inputs="premise", choices_list="options", labels="answer", **shared
        ),
        "template": lambda: Classification(
            sentence1=lambda row: f"Premise: {row['premise']}\nHypothesis: {row['hypothesis']}",
            labels="label",
            label_values=LABELS,
            **shared,
        ),
        "where, join and map": lambda: Classification(
            sentence1=cat(["premise", "hypothesis"], " "),
            labels="grade",
            label_values=GRADES,
            pre_process=lambda rows: rows.filter(lambda row: row["label"] != 1),
            **shared,
        ),
    }


def main() -> None:
    import datasets

    datasets.disable_caching()
    made = tasks()
    for line in sys.stdin:
        request = json.loads(line)
        file = request["file"]
        task = made[request["case"].rpartition(", ")[0]]()
        with tempfile.TemporaryDirectory() as cache:
            started = time.perf_counter()
            rows = datasets.load_dataset(
                BUILDERS[file.rpartition(".")[2]], data_files={"train": file}, cache_dir=cache
            )
            rows = task(rows)["train"]
            seconds = time.perf_counter() - started
            answer = {"seconds": seconds, "num_rows": len(rows), "first": rows[0]}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
