"""Golden rows: an invented source row and what the project makes of it."""

from __future__ import annotations

import hashlib
import re
from typing import Any

from pipeline.annotations.check import golden_values
from pipeline.annotations.schema import Golden, annotation_from
from pipeline.errors import PipelineError, PipelineErrors
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.yaml_reader import read_yaml
from scripts.general_catalogue.invent import CannotInvent, Inventor
from scripts.general_catalogue.render import yaml_text

Annotation = dict[str, Any]

_SENTENCES = {
    "nli": ["A woman plays the violin on a stage.", "A woman plays an instrument."],
    "paraphrase": ["The shop opens at nine.", "At nine the shop opens."],
    "sentiment": ["The soup was cold and the waiter rude.", "the soup"],
    "toxicity": ["Nobody wants to read your boring posts.", "Please be kind."],
    "topic": ["The new stadium opens next spring.", "The mayor cut the ribbon on Friday."],
    "intent": ["Set an alarm for seven."],
    "emotion": ["I got the job and cannot stop smiling!", "Well done!", "Thank you."],
    "answer": ["The Elbe flows through Dresden to the sea.", "Which river flows through Dresden?"],
    "choice": ["Water freezes when it gets", "cold", "warm", "loud", "green", "dry", "late"],
    "preference": ["How do I boil an egg?", "Put it into hot water for eight minutes.",
                   "Eggs come from hens."],
    "fact": ["The bridge was built in 1893.", "The bridge dates from 1893."],
    "stance": ["Buses should be free because they clear the roads.", "Buses should be free."],
    "reasoning": ["All cats sleep. Tom is a cat.", "Tom sleeps."],
    "safety": ["Delete every file in the folder.", "I cannot do that."],
    "rating": ["What is the capital of Norway?", "The capital of Norway is Oslo."],
    "search": ["red rain boots", "Rubber boots, red, for rainy days"],
    "dialogue": ["Could you pass me the map?", "Here it is."],
    "grammar": ["The boy read the book."],
    "language": ["Good morning, how are you?"],
    "ethics": ["I gave my seat to an old man.", "polite"],
    "code": ["int f(int a) { return a + 1; }", "int g(int b) { return 1 + b; }"],
    "similarity": ["A dog runs in the park.", "A dog is running outside."],
    "relation": ["The rain caused the flood.", "flood"],
    "biomedical": ["The patient took aspirin and the fever fell.", "aspirin"],
}  # fmt: skip
_OTHER = ["The train leaves at nine.", "It stops in Dresden.", "Then it goes on to Prague.",
          "The trip takes two hours.", "A dog sleeps under the seat."]  # fmt: skip


def texts_of(family: str) -> Any:  # noqa: ANN401
    """Return the text source of a family."""
    sentences = [*_SENTENCES.get(family, []), *_OTHER]

    def text(column: str, number: int) -> str:
        if number < len(sentences):
            return sentences[number]
        return f"Line {number + 1} of the text."

    return text


def add_golden(annotation: Annotation, family: str, rows: list[Annotation] | None = None) -> str:
    """Add golden rows to an annotation where the project can make examples of them.

    Args:
        annotation: Changed in place.
        family: Family of the task, for the choice of the texts.
        rows: Rows written by hand; instead of invented ones.

    Returns:
        An empty text, or why there are none.
    """
    try:
        given = rows or [_invented(annotation, family)]
        found = [{"row": row, **_examples(annotation, row)} for row in given]
    except (CannotInvent, PipelineError, PipelineErrors) as reason:
        return str(reason).splitlines()[0]
    if not any("example" in entry or "examples" in entry for entry in found):
        return "the row gives no example"
    at = list(annotation).index("verified")
    items = list(annotation.items())
    annotation.clear()
    annotation.update([*items[:at], ("golden", found), *items[at:]])
    annotation["verified"] = "golden"
    return ""


_LIKELY = {
    "nli": "entail|very likely|true$|supports|strengthens|answer: yes",
    "paraphrase": "paraphrase|same|similar",
    "sentiment": "negative|bad|1 star",
    "answer": "answers|answer|correct|yes|relevant as",
    "fact": "support|entail|true",
    "stance": "favor|pro$|agree|for$|support",
    "reasoning": "true|entail|proved|yes",
    "emotion": "joy|happ",
    "toxicity": "not |no |none|benign|neither|nothate",
    "intent": "alarm",
    "ethics": "acceptable|reasonable|trait shown|right",
    "grammar": "accept",
}  # fmt: skip
"""Which label suits the sentences of a family."""


def _invented(annotation: Annotation, family: str) -> Annotation:
    names = annotation.get("labels") or []
    names = list(names.values() if isinstance(names, dict) else names)
    number = hashlib.sha256(annotation["id"].encode()).digest()[0] % 3
    if family in _LIKELY:
        fitting = [i for i, name in enumerate(names) if re.match(_LIKELY[family], name.lower())]
        number = fitting[0] if fitting else 0
    elif annotation["task"] == "multiple_choice":
        number = 0
    return Inventor(annotation, texts_of(family), label=number).make()


def _examples(annotation: Annotation, row: Annotation) -> Annotation:
    document = read_yaml(yaml_text(annotation), name=annotation["id"])
    task = annotation_from(document, family="general")
    values = golden_values(task, Golden(row=row, skipped=True), REGISTERED_FUNCTIONS)
    examples = []
    for value in values:
        example: Annotation = {"inputs": value["inputs"], "target": value["target"]}
        if annotation["task"] == "multiple_choice":
            example = {
                "inputs": value["inputs"],
                "choices": value["choices"],
                "target": value["target"],
            }
        examples.append(example)
    if not examples:
        return {"skipped": True}
    return {"example": examples[0]} if len(examples) == 1 else {"examples": examples}
