"""Sequences inside of questions: found whole, cleaned as every other, and counted."""

import json
import random

from pipeline.annotations.catalogue import load_catalogue
from pipeline.annotations.sequences import SequenceRules
from pipeline.examples import load_examples

TASK = load_catalogue().get("omni_dna/function")
LETTERS = "ACGTUNRYKMBVDHSW"


def sequences_of(texts, folder, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
    place = folder / TASK.source.hub
    place.mkdir(parents=True)
    rows = [{"instruction": text, "output": "olfactory receptor"} for text in texts]
    for split in ("train", "test"):
        (place / f"{split}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    examples = load_examples(TASK, "test", data_root=folder)
    found = {int(e.key.rsplit("/", 1)[1]): e.inputs["sequence"] for e in examples}
    return [found.get(number) for number in range(len(texts))], examples.report


def test_other_letters_rna_and_line_breaks_are_changed_and_counted(tmp_path, monkeypatch):
    texts = [
        "ACGTACGTTARACGTACGTAC",
        "What is the function of this sequence? ACGUACGUUA",
        "What does this RNA acguacguua do?",
        "Sequence:\nACGTACGTAC\nGTACGTACGT\nACG\nWhat is its function?",
        "ATG GCC ATT GTA ATG",
        "ACGTACGTacgtnnACGT",
        "What was that, and has the DNA a hat?",
    ]
    found, report = sequences_of(texts, tmp_path, monkeypatch)
    assert found == [
        "ACGTACGTTANACGTACGTAC",
        "ACGTACGTTA",
        "ACGTACGTTA",
        "ACGTACGTACGTACGTACGTACG",
        "ATGGCCATTGTAATG",
        "ACGTACGTACGTNNACGT",
        None,
    ]
    assert report.changed == {
        "fields.sequence: IUPAC code": 1,
        "fields.sequence: U": 2,
        "fields.sequence: lower case": 2,
        "fields.sequence: blanks": 2,
    }
    assert sum(report.skipped.values()) == 1


def test_no_base_of_a_sequence_is_lost_beside_a_question(tmp_path, monkeypatch):
    draw = random.Random(5)
    questions = ("What is the function of this sequence? {}", "Describe the gene: {}", "{}", "{} ?")
    texts, expected = [], []
    for _ in range(300):
        width = draw.choice([3, 10, 60, 200])
        # A word of three letters may be DNA or RNA itself.
        letters = "".join(draw.choices("ACGT" if width == 3 else LETTERS, k=120))
        lines = draw.choice([" ", "\n"]).join(
            letters[i : i + width] for i in range(0, len(letters), width)
        )
        texts.append(draw.choice(questions).format(lines))
        expected.append(SequenceRules().read(letters)[0])
    assert sequences_of(texts, tmp_path, monkeypatch)[0] == expected
