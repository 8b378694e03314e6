"""What the benchmarks of normalising do: one task per case, said in three ways.

`annotation` is ours, `make` what a person would write for `datasets.map`; the third way, the same
task as an object of tasksource, is in `tasksource_peer`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WORDS = "river stone quiet morning signal copper garden winter letter engine".split()
LABELS = ["entailment", "neutral", "contradiction"]
HEADER = """\
schema_version: 1
id: bench
source: {{files: {{train: {file}}}, licence: cc0-1.0}}
splits: {{train: train}}
instruction: Answer.
"""

Row = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """One task."""

    name: str
    kind: str
    """`columns`: only columns, paths and labels are mapped; `expressions`: values are computed."""
    form: str
    """Format of the file: jsonl or parquet."""
    annotation: str
    make: Callable[[Row], Row]
    keep: Callable[[Row], bool] | None = None

    @property
    def file(self) -> str:
        """Name of the file that the rows are in."""
        return f"rows.{self.form}"

    @property
    def text(self) -> str:
        """The annotation as YAML."""
        return HEADER.format(file=self.file) + self.annotation


def make_rows(count: int) -> list[Row]:
    """Return rows that every case can read."""
    generator = random.Random(0)

    def text(num_words: int) -> str:
        return " ".join(generator.choices(WORDS, k=num_words))

    return [
        {
            "premise": text(24),
            "hypothesis": text(10),
            "label": generator.randrange(3),
            "record": {"text": text(24), "inner": {"label": generator.randrange(3)}},
            "options": [text(4) for _ in range(4)],
            "answer": generator.randrange(4),
            "grade": generator.choice("ABC"),
        }
        for _ in range(count)
    ]


def write_rows(rows: list[Row], folder: Path) -> None:
    """Write rows as JSON Lines and as Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (folder / "rows.jsonl").open("w", encoding="utf-8") as stream:
        stream.writelines(json.dumps(row) + "\n" for row in rows)
    pq.write_table(pa.Table.from_pylist(rows), folder / "rows.parquet")


PAIR = """\
task: pair_classification
fields: {text_a: premise, text_b: hypothesis, target: label}
labels: [entailment, neutral, contradiction]
"""
PATHS = """\
task: pair_classification
fields: {text_a: record.text, text_b: hypothesis, target: record.inner.label}
labels: [entailment, neutral, contradiction]
"""
CHOICE = """\
task: multiple_choice
fields: {question: premise, choices: options, target: answer}
settings: {choice_order: hashed}
"""
TEMPLATE = """\
task: classification
fields:
  text: {text: "Premise: {premise}\\nHypothesis: {hypothesis}"}
  target: label
labels: [entailment, neutral, contradiction]
"""
TABLE = """\
task: classification
rows: [{where: {of: label, ne: 1}}]
fields:
  text: {join: [premise, hypothesis], sep: " "}
  target: {map: grade, to: {A: {const: entailment}, B: {const: neutral}, C: {const: contradiction}}}
labels: [entailment, neutral, contradiction]
"""
GRADES = dict(zip("ABC", LABELS, strict=True))


def _pair(row: Row) -> Row:
    inputs = {"text_a": row["premise"], "text_b": row["hypothesis"]}
    return {"inputs": inputs, "target": LABELS[row["label"]]}


def _paths(row: Row) -> Row:
    inputs = {"text_a": row["record"]["text"], "text_b": row["hypothesis"]}
    return {"inputs": inputs, "target": LABELS[row["record"]["inner"]["label"]]}


def _choice(row: Row) -> Row:
    order = sorted(range(4), key=lambda i: row["options"][i])
    return {
        "inputs": {"question": row["premise"]},
        "choices": [row["options"][i] for i in order],
        "target": order.index(row["answer"]),
    }


def _template(row: Row) -> Row:
    text = f"Premise: {row['premise']}\nHypothesis: {row['hypothesis']}"
    return {"inputs": {"text": text}, "target": LABELS[row["label"]]}


def _table(row: Row) -> Row:
    text = f"{row['premise']} {row['hypothesis']}"
    return {"inputs": {"text": text}, "target": GRADES[row["grade"]]}


CASES = (
    Case("columns and labels, jsonl", "columns", "jsonl", PAIR, _pair),
    Case("columns and labels, parquet", "columns", "parquet", PAIR, _pair),
    Case("paths and labels, parquet", "columns", "parquet", PATHS, _paths),
    Case("hashed options, parquet", "expressions", "parquet", CHOICE, _choice),
    Case("template, jsonl", "expressions", "jsonl", TEMPLATE, _template),
    Case(
        "where, join and map, parquet",
        "expressions",
        "parquet",
        TABLE,
        _table,
        keep=lambda row: row["label"] != 1,
    ),
)
