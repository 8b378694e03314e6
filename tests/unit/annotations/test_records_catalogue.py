"""Predictions from hospital events, on patients made up here."""

import json
import random

import pytest

from eval.metrics import METRICS
from eval.parsers import parse_answer
from pipeline.annotations.catalogue import load_catalogue
from pipeline.examples import load_examples
from pipeline.templates.styles import render_conversation

TASKS = {task.id: task for task in load_catalogue() if task.id.startswith("records/")}
SOURCES = ("mimic_iii", "mimic_iv", "eicu")
NAMES = sorted({name.rsplit("/", 1)[1] for name in TASKS})
LAB = {
    "mimic_iii": ("labevents", "label", "valuenum", "valueuom"),
    "mimic_iv": ("labevents", "label", "valuenum", "valueuom"),
    "eicu": ("lab", "labname", "labresult", "labmeasurenamesystem"),
}
DRUG = {
    "mimic_iii": ("prescriptions", "drug", "dose_val_rx", "dose_unit_rx"),
    "mimic_iv": ("prescriptions", "drug", "dose_val_rx", "dose_unit_rx"),
    "eicu": ("medication", "drugname", "dosage", "dosageunit"),
}
OTHER = {
    "mimic_iii": ("inputevents_mv", "inputevents_cv"),
    "mimic_iv": ("inputevents",),
    "eicu": ("infusiondrug",),
}


def patients(count, seed=0):
    """Return made-up stays: events of two tables and a class, or none, for every task."""
    generator = random.Random(seed)
    for stay in range(count):
        labs = [
            (round(generator.uniform(0, 12), 2), generator.choice(["Glucose", "Sodium"]))
            for _ in range(generator.randint(0, 6))
        ]
        yield {
            "stay": stay,
            "labs": [(time, item, round(generator.uniform(1, 200), 5), "u") for time, item in labs],
            "drugs": [(round(generator.uniform(0, 12), 2), "heparin", "5000", "units")],
            "classes": {
                name: None if generator.random() < 0.3 else generator.randrange(2) for name in NAMES
            },
        }


def in_layout(patient, source):
    """Return a made-up stay in the columns of a source, with its events in some order."""
    tables = {name: [] for name in OTHER[source]}
    for (table, *columns), events in ((LAB[source], "labs"), (DRUG[source], "drugs")):
        rows = [
            {"hours": time, **dict(zip(columns, rest, strict=True))}
            for time, *rest in patient[events]
        ]
        random.Random(source).shuffle(rows)
        tables[table] = rows
    labels = {
        name: [found] if name == "diagnosis" and found is not None else found
        for name, found in patient["classes"].items()
    }
    return {"stay_id": patient["stay"], "tables": tables, "labels": labels}


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    made = list(patients(40))
    for source in SOURCES:
        folder = tmp_path / "mirror" / "physionet-gated" / f"{source}_events"
        folder.mkdir(parents=True)
        text = "".join(f"{json.dumps(in_layout(patient, source))}\n" for patient in made)
        for split in ("train", "validation", "test"):
            (folder / f"{split}.jsonl").write_text(text)
    return tmp_path / "mirror"


def worded(source, name, root):
    examples = load_examples(TASKS[f"records/{source}/{name}"], "test", data_root=root)
    found = {}
    for example in examples:
        stay = int(example.key.rsplit("/", 1)[1])
        conversation = render_conversation(example, examples.spec)
        found[stay] = (conversation.messages[0].content, example.target)
    return found


def test_there_are_twelve_tasks_over_three_layouts():
    assert len(NAMES) == 12
    assert sorted(TASKS) == sorted(
        f"records/{source}/{name}" for source in SOURCES for name in NAMES
    )
    assert {task.access for task in TASKS.values()} == {"gated"}


@pytest.mark.parametrize("name", ["mortality", "diagnosis", "wbc"])
def test_layouts_with_the_same_content_give_the_same_text_and_target(name, mirror):
    expected = worded("mimic_iv", name, mirror)
    for source in ("mimic_iii", "eicu"):
        assert worded(source, name, mirror) == expected


@pytest.mark.parametrize("name", NAMES)
def test_stays_without_a_label_are_left_out_of_that_task_alone(name, mirror):
    examples = load_examples(TASKS[f"records/eicu/{name}"], "test", data_root=mirror)
    known = [patient["stay"] for patient in patients(40) if patient["classes"][name] is not None]
    assert [int(example.key.rsplit("/", 1)[1]) for example in examples] == known
    assert examples.report.skipped == {"fields.target: label is null": 40 - len(known)}


def test_events_are_in_order_with_digits_apart(mirror):
    for text, _ in worded("mimic_iv", "mortality", mirror).values():
        lines = [line for line in text.split("\n") if line.startswith("- +")]
        assert lines
        assert lines[0].startswith("- +0 | ")
        assert any("5 0 0 0" in line for line in lines)


def test_scores_of_labels_give_areas_under_curves(mirror):
    task = TASKS["records/eicu/mortality"]
    examples = load_examples(task, "test", data_root=mirror)
    assert examples.spec.metrics == ("auroc", "auprc", "accuracy")
    perfect, blind = [], []
    for example in examples:
        answer = render_conversation(example, examples.spec).messages[-1].content
        label = parse_answer(answer, example, examples.spec)
        scores = [-0.1, -3.0] if label == "no" else [-3.0, -0.1]
        perfect.append(({"label": label, "scores": scores}, example.target))
        blind.append(({"label": "no", "scores": [-1.0, -1.0]}, example.target))
    assert METRICS["auroc"].corpus(perfect, examples.spec) == 1.0
    assert METRICS["auprc"].corpus(perfect, examples.spec) == 1.0
    assert METRICS["auroc"].corpus(blind, examples.spec) == 0.5
