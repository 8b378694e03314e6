"""Texts from which the tokenizer learns its whole words.

They show the words of prompts and answers of the generated tasks, so that a prompt is short. Only
the tokenizer sees them: the base is trained on exercises alone.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

from pipeline.sources.generated import entities, intents, questions
from pipeline.types import Json

NUM_ROWS = 600
"""Rows of each kind that are read; enough to see every sentence form often."""

INSTRUCTION_WORDS = """
List every disease chemical protein gene entity in the text with its type . Do both questions ask
for the same thing ? What does the user want How is it used Answer the question from the context
Is the sequence a promoter without TATA box present Yeast histone mark H Which splice site is in
the middle Name the functions function to call Give the parameters arguments of Text a b Context
Question Query Options Sequence Head Tail Label Class Choose one following relation between and or
not no none None if there are any all that this these be by from on at as an each write using only
first last next Copy Find Tell mention marked order appears
yes maybe true false acceptor donor neither Disease Chemical Protein name string integer number
boolean array object any
ACTIVATOR AGONIST INHIBITOR ANTAGONIST DOWNREGULATOR INDIRECT UPREGULATOR PRODUCT OF SUBSTRATE
"""

ANSWER_FORMS = """
{"name": "f", "arguments": {"f": "f", "f": 8}}
{"name": "f", "arguments": {"f": 8, "f": "f"}}
["f"]
{"f": "f"}
f <Disease>, f <Chemical>
"""


def vocabulary_texts(seed: int) -> Iterator[str]:
    """Yield texts whose frequent words the tokenizer should hold whole."""
    makers = (
        entities.disease_rows,
        entities.chemical_disease_rows,
        entities.relation_rows,
        questions.paper_rows,
        questions.question_pair_rows,
        intents.intent_rows,
    )
    for make in makers:
        for row in make("train", NUM_ROWS, random.Random(seed)):
            yield from _strings(row)
    for _ in range(NUM_ROWS // 10):
        words = [*INSTRUCTION_WORDS.split(), *intents.REQUESTS]
        yield " ".join(words)
        yield "\n".join(words)  # without the leading space, as at a line start or after a comma
        yield ANSWER_FORMS


def _strings(value: Json) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from _strings(list(value.values()))
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        yield " ".join(str(item) for item in value)
    elif isinstance(value, list):
        for item in value:
            yield from _strings(item)
