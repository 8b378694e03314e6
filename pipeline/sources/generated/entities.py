"""Sentences with marked diseases, chemicals and proteins, in three public column schemas.

`ncbi/ncbi_disease` and `tner/bc5cdr` are lists of words with BIO tags; `zapsdcn/chemprot` is a
text whose two mentions are marked. Plain names (places, groups) stand beside the mentions, so the
answer is not simply "every invented word".
"""

from __future__ import annotations

import random
from collections.abc import Callable

from pipeline.sources.generated.names import NameMaker, Side
from pipeline.types import Json

Row = dict[str, Json]

DISEASE_SENTENCES = (
    "We describe {number} patients with {disease} .",
    "{disease} is caused by changes in the {protein} gene .",
    "Screening for {disease} and {disease} was done at {place} .",
    "Patients with {disease} often develop {disease} .",
    "The {place} group reported {number} cases of {disease} .",
    "Loss of {protein} leads to {disease} in most families .",
    "Of {number} families from {place} , most had {disease} .",
    "{disease} , {disease} and {disease} share the same gene .",
    "The {protein} gene was studied in {number} families from {place} .",
    "The {place} hospital and the {place} group worked together .",
)
MIXED_SENTENCES = (
    "{chemical} caused {disease} in {number} patients .",
    "{disease} was treated with {chemical} .",
    "Treatment with {chemical} and {chemical} reduced {disease} .",
    "Of {number} patients who took {chemical} , most had {disease} and {disease} .",
    "No {disease} was seen after {chemical} .",
    "{disease} and {disease} are side effects of {chemical} .",
    "The {place} group gave {chemical} to {number} patients .",
    "The patients were followed for {number} weeks at {place} hospital .",
)
NCBI_TAGS = {"disease": (1, 2)}
"""Slot -> class indices of its first and its further words."""
BC5CDR_TAGS = {"chemical": (1, 4), "disease": (2, 3)}

RELATION_CLAUSES: dict[str, tuple[str, ...]] = {
    "INHIBITOR": (
        "{chemical} inhibits {protein}",
        "{protein} is blocked by {chemical}",
        "inhibition of {protein} by {chemical} was seen",
    ),
    "ACTIVATOR": (
        "{chemical} activates {protein}",
        "{protein} is stimulated by {chemical}",
        "activation of {protein} by {chemical} was seen",
    ),
    "SUBSTRATE": (
        "{chemical} is degraded by {protein}",
        "{protein} breaks down {chemical}",
        "{chemical} is a substrate of {protein}",
    ),
    "PRODUCT-OF": (
        "{chemical} is formed by {protein}",
        "{protein} produces {chemical}",
        "{chemical} is a product of {protein}",
    ),
    "AGONIST": (
        "{chemical} is an agonist of {protein}",
        "{chemical} binds {protein} as an agonist",
    ),
    "ANTAGONIST": (
        "{chemical} is an antagonist of {protein}",
        "{chemical} binds {protein} as an antagonist",
    ),
}
"""ChemProt labels that are generated (6 of its 13), each with its wordings."""


def disease_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `ncbi/ncbi_disease`."""
    names = NameMaker(side, generator)
    rows: list[Row] = []
    for index in range(num_rows):
        tokens, tags = _tagged_words(generator.choice(DISEASE_SENTENCES), NCBI_TAGS, names)
        rows.append({"id": str(index), "tokens": list(tokens), "ner_tags": list(tags)})
    return rows


def chemical_disease_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `tner/bc5cdr`."""
    names = NameMaker(side, generator)
    rows: list[Row] = []
    for _ in range(num_rows):
        tokens, tags = _tagged_words(generator.choice(MIXED_SENTENCES), BC5CDR_TAGS, names)
        rows.append({"tokens": list(tokens), "tags": list(tags)})
    return rows


def relation_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `zapsdcn/chemprot`, all generated labels equally often.

    Half of the texts hold a second, unmarked pair in another relation.
    """
    names = NameMaker(side, generator)
    labels = list(RELATION_CLAUSES)
    rows: list[Row] = []
    for index in range(num_rows):
        label = labels[index % len(labels)]
        clauses = [_relation_clause(label, "[[ {} ]]", "<< {} >>", names)]
        if generator.random() < 0.5:
            other = generator.choice([name for name in labels if name != label])
            clauses.insert(generator.randrange(2), _relation_clause(other, "{}", "{}", names))
        rows.append({"text": " , and ".join(clauses) + " .", "label": label, "metadata": []})
    generator.shuffle(rows)
    return rows


def fill_slot(slot: str, names: NameMaker) -> list[str]:
    """Return the words that stand for `{slot}` in a sentence.

    Raises:
        KeyError: No slot has this name.
    """
    makers: dict[str, Callable[[], list[str]]] = {
        "disease": names.disease,
        "chemical": names.chemical,
        "protein": lambda: [names.protein()],
        "place": lambda: [names.word()],
        "number": lambda: [str(names.number(2, 99))],
    }
    return makers[slot]()


def _tagged_words(
    sentence: str, tags_of_slot: dict[str, tuple[int, int]], names: NameMaker
) -> tuple[list[str], list[int]]:
    tokens: list[str] = []
    tags: list[int] = []
    for word in sentence.split(" "):
        if not word.startswith("{"):
            tokens.append(word)
            tags.append(0)
            continue
        slot = word.strip("{}")
        words = fill_slot(slot, names)
        first, further = tags_of_slot.get(slot, (0, 0))
        tokens.extend(words)
        tags.extend([first] + [further] * (len(words) - 1))
    return tokens, tags


def _relation_clause(label: str, chemical_mark: str, protein_mark: str, names: NameMaker) -> str:
    clause = names.choice(RELATION_CLAUSES[label])
    chemical = chemical_mark.format(" ".join(names.chemical()))
    return clause.format(chemical=chemical, protein=protein_mark.format(names.protein()))
