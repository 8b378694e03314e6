"""Questions about invented drugs and diseases whose answer stands in the row.

`qiaojin/PubMedQA` asks about a short context (yes, no, maybe); `bigbio/mediqa_rqe` asks whether
two questions want to know the same thing.
"""

from __future__ import annotations

import random

from pipeline.sources.generated.names import CHEMICAL_ENDINGS, DISEASE_ENDINGS, NameMaker, Side
from pipeline.types import Json

Row = dict[str, Json]

FINDINGS: dict[str, tuple[str, ...]] = {
    "yes": (
        "{chemical} reduced {disease} in most patients .",
        "{chemical} was effective against {disease} .",
        "{chemical} clearly improved {disease} .",
    ),
    "no": (
        "{chemical} did not change {disease} .",
        "{chemical} had no effect on {disease} .",
        "{chemical} failed against {disease} .",
    ),
    "maybe": (
        "{chemical} gave mixed results in {disease} .",
        "{chemical} may help some patients with {disease} .",
        "{chemical} needs more study in {disease} .",
    ),
}
"""Final decision -> wordings of the finding that decides it."""
PAPER_QUESTIONS = (
    "Does {chemical} help against {disease} ?",
    "Is {chemical} a treatment for {disease} ?",
    "Can {chemical} be used in {disease} ?",
)
DECOY_FRACTION = 0.4
"""Share of the contexts that also report another drug."""

PATIENT_STORIES = (
    "I was told that I have {disease} .",
    "My father has {disease} .",
    "A friend of mine has {disease} .",
    "My child may have {disease} .",
)
ASPECTS: dict[str, tuple[tuple[str, ...], str]] = {
    "treatment": (("Can it be cured ?", "Which drugs help ?"), "How is {disease} treated ?"),
    "cause": (("Why did it start ?", "Where does it come from ?"), "What causes {disease} ?"),
    "symptoms": (("How does it feel ?", "What will I notice ?"), "What are signs of {disease} ?"),
}
"""What is asked: wordings of the patient, and the wording of the frequent question."""


def paper_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `qiaojin/PubMedQA` (pqa_labeled), decisions balanced.

    No name occurs in two rows, because the split is made later, by whoever annotates the task.
    """
    names = NameMaker(side, generator, is_unique=True)
    decisions = list(FINDINGS)
    rows = [
        _paper_row(index, decisions[index % len(decisions)], names, generator)
        for index in range(num_rows)
    ]
    generator.shuffle(rows)
    return rows


def question_pair_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `bigbio/mediqa_rqe` (source), half of them `true`.

    A pair is `false` because of another disease (7 of 10) or another aspect.
    """
    names = NameMaker(side, generator)
    rows: list[Row] = []
    for index in range(num_rows):
        is_same = index % 2 == 0
        disease = _word_disease(names)
        aspect = asked = generator.choice(list(ASPECTS))
        asked_disease = disease
        if not is_same and generator.random() < 0.7:
            asked_disease = _word_disease(names)
        elif not is_same:
            asked = generator.choice([name for name in ASPECTS if name != aspect])
        story = generator.choice(PATIENT_STORIES).format(disease=disease)
        request = generator.choice(ASPECTS[aspect][0])
        rows.append(
            {
                "pid": str(index + 1),
                "value": "true" if is_same else "false",
                "chq": f"{story} {request}",
                "faq": ASPECTS[asked][1].format(disease=asked_disease),
            }
        )
    generator.shuffle(rows)
    return rows


def _paper_row(index: int, decision: str, names: NameMaker, generator: random.Random) -> Row:
    disease = _word_disease(names)
    chemical = _word_chemical(names)
    findings = [_finding(decision, chemical, disease, generator)]
    if generator.random() < DECOY_FRACTION:
        other = generator.choice([name for name in FINDINGS if name != decision])
        decoy = _finding(other, _word_chemical(names), disease, generator)
        findings.insert(generator.randrange(2), decoy)
    number = generator.randint(20, 99)
    contexts: list[Json] = [f"We followed {number} patients with {disease} .", " ".join(findings)]
    question = generator.choice(PAPER_QUESTIONS).format(chemical=chemical, disease=disease)
    return {
        "pubid": 10_000_000 + index,
        "question": question,
        "context": {
            "contexts": contexts,
            "labels": ["METHODS", "RESULTS"],
            "meshes": [],
            "reasoning_required_pred": list(decision),
            "reasoning_free_pred": list(decision),
        },
        "long_answer": _finding(decision, chemical, disease, generator),
        "final_decision": decision,
    }


def _finding(decision: str, chemical: str, disease: str, generator: random.Random) -> str:
    wording = generator.choice(FINDINGS[decision])
    return wording.format(chemical=chemical, disease=disease)


def _word_disease(names: NameMaker) -> str:
    return names.word(endings=DISEASE_ENDINGS)


def _word_chemical(names: NameMaker) -> str:
    return names.word(endings=CHEMICAL_ENDINGS)
