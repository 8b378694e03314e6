"""Instructions in our own words, by family of tasks and by the beginning of a task's id.

`wording.tsv` holds one line per group of tasks: a regular expression for the beginning of the id,
the family and the instruction. The first line that fits wins; `{0}` in an instruction is the first
group of the expression, with blanks for underscores.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

# Text A and text B are the two texts of a pair as a prompt shows them.
_NLI3 = "Does text A entail text B, contradict it, or neither?"
_NLI2 = "Does text B follow from text A?"

_BY_LABELS: list[tuple[frozenset[str], str, str]] = [
    (frozenset({"entailment", "neutral", "contradiction"}), "nli", _NLI3),
    (frozenset({"entailment"}), "nli", _NLI2),
    (frozenset({"entailed"}), "nli", _NLI2),
    (frozenset({"negative", "positive"}), "sentiment", "What is the sentiment of the text?"),
]

_BY_KIND: dict[str, tuple[str, str]] = {
    "pair_classification": ("nli", _NLI2),
    "classification": ("text", "Which label fits the text?"),
    "multiple_choice": ("choice", "Choose the right option."),
    "token_classification": ("ner", "List every marked phrase with its type."),
    "multi_label": ("topic", "Name every label that fits the text."),
    "regression": ("similarity", "Give the score of the text."),
}


@cache
def _lines() -> list[tuple[str, ...]]:
    text = Path(__file__).with_name("wording.tsv").read_text(encoding="utf-8")
    return [tuple(line.split("\t")) for line in text.splitlines() if line]


def wording(task_id: str, kind: str, labels: Any) -> tuple[str, str]:  # noqa: ANN401
    """Return the family and the instruction of a task.

    Args:
        task_id: Its id.
        kind: Its kind.
        labels: Its labels, a list or a map, if it lists any.
    """
    for pattern, family, text in _lines():
        match = re.match(pattern, task_id)
        if match:
            group = match[1] if "{0}" in text else ""
            return family, text.replace("{0}", group.replace("_", " "))
    values = labels.values() if isinstance(labels, dict) else labels or []
    names = {str(value).lower() for value in values}
    for wanted, family, text in _BY_LABELS:
        if wanted <= names:
            return family, text
    if kind == "pair_classification" and re.search(r"nli|entail|rte|equate|scone|natlog", task_id):
        return "nli", _NLI3 if not names else _NLI2
    return _BY_KIND[kind]
