"""Predictions from hospital events, on patients made up here."""

import json
import random

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, roc_auc_score
from typer.testing import CliRunner

from eval.metrics import METRICS
from eval.parsers import parse_answer
from eval.results import read_results, read_samples_by_task
from pipeline.annotations.catalogue import load_catalogue
from pipeline.cli.main import app
from pipeline.examples import load_examples
from pipeline.templates.styles import render_conversation
from tests.fixtures.tiny_models import save_tiny_model

TASKS = {task.id: task for task in load_catalogue() if task.id.startswith("records/")}
SOURCES = ("mimic_iii", "mimic_iv", "eicu")
NUM_GROUPS = 17
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
        conversation = render_conversation(example, examples.spec)
        found[example.key.rsplit("/", 1)[1]] = (conversation.messages[0].content, example.target)
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
    stays = [int(example.key.rsplit("/", 1)[1].split(".")[0]) for example in examples]
    assert list(dict.fromkeys(stays)) == known
    assert len(stays) == len(known) * (NUM_GROUPS if name == "diagnosis" else 1)
    assert list(examples.report.skipped.values()) == [40 - len(known)]


def test_each_group_of_diagnoses_is_a_question_of_its_own(mirror):
    examples = load_examples(TASKS["records/mimic_iii/diagnosis"], "test", data_root=mirror)
    groups = {}
    for example in examples:
        stay = int(example.key.rsplit("/", 1)[1].split(".")[0])
        groups.setdefault(stay, []).append((example.inputs["group"], example.target))
    made = {patient["stay"]: patient["classes"]["diagnosis"] for patient in patients(40)}
    for stay, told in groups.items():
        assert len({group for group, _ in told}) == NUM_GROUPS
        # The made-up stays have the first or the second group.
        yes = [group for group, target in told if target == "yes"]
        assert yes == [("infection", "tumour")[made[stay]]]


def test_events_are_in_order_with_digits_apart(mirror):
    for text, _ in worded("mimic_iv", "mortality", mirror).values():
        lines = [line for line in text.split("\n") if line.startswith("- +")]
        assert lines
        assert lines[0].startswith("- +0 | ")
        assert any("5 0 0 0" in line for line in lines)


def test_scores_of_labels_give_areas_under_curves(mirror):
    assert {task.spec().metrics for task in TASKS.values()} == {("auroc", "auprc", "accuracy")}
    examples = load_examples(TASKS["records/eicu/mortality"], "test", data_root=mirror)
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


def test_a_model_is_scored_by_its_label_probabilities_through_the_command(mirror, tmp_path):
    base, out = save_tiny_model(tmp_path / "base"), tmp_path / "out"
    names = [f"records/mimic_iv/{name}" for name in ("mortality", "wbc", "diagnosis")]
    command = ["--data-root", str(mirror), "eval", str(base), "--tasks", ",".join(names)]
    command += ["--max-rows", "40", "--out", str(out)]
    assert CliRunner().invoke(app, command, catch_exceptions=False).exit_code == 0
    results = read_results(out / "base")["tasks"]
    samples = read_samples_by_task(out / "base", results)
    for name in names:
        labels = TASKS[name].spec().labels
        gold = [labels.index(row["target"]) for row in samples[name]]
        # Softmax over the labels, as scikit-learn wants probabilities.
        scores = np.asarray([row["choices"]["log_likelihood"] for row in samples[name]])
        shares = np.exp(scores - scores.max(axis=1, keepdims=True))
        shares /= shares.sum(axis=1, keepdims=True)
        # Stays of one class only, which are all there are of three, count in no area.
        present = [1] if len(labels) == 2 else sorted(set(gold))
        for metric, oracle in (("auroc", roc_auc_score), ("auprc", average_precision_score)):
            areas = [oracle([place == c for place in gold], shares[:, c]) for c in present]
            assert results[name]["metrics"][metric]["value"] == pytest.approx(np.mean(areas))
        assert results[name]["decoding"]["requests"] == {"choices": len(gold)}
