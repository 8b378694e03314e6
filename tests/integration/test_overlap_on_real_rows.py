"""Rows that public data sets share, in a local mirror: known leaks are found and dropped."""

import os
from pathlib import Path

import pytest

from pipeline.annotations import load_catalogue
from pipeline.examples import load_examples
from pipeline.examples.overlap import compare, find_leakage
from pipeline.examples.overlap.content import reverse_complement
from pipeline.recipe import Recipe
from pipeline.training.task_tokens import data_of, load_source

ROOT = Path(os.environ.get("TASKLOOM_DATA_ROOT") or Path(__file__).parents[3] / "shared" / "data")
MARKS = [
    "H3", "H3K14ac", "H3K36me3", "H3K4me1", "H3K4me2", "H3K4me3", "H3K79me3", "H3K9ac", "H4", "H4ac"
]  # fmt: skip
TASKS = [f"gue/emp_{mark}" for mark in MARKS]

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(
        not (ROOT / "leannmlindsey" / "GUE" / "emp_H3").is_dir(),
        reason="no mirror of public data: set TASKLOOM_DATA_ROOT, or put one at ../shared/data",
    ),
]


@pytest.fixture(scope="module")
def catalogue():
    return load_catalogue()


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def recipe_of(tasks, **fields):
    return Recipe.model_validate(
        {"model_name_or_path": "unused", "tasks": tasks, "data_root": str(ROOT), **fields}
    )


def strands(sequence):
    return sequence, reverse_complement(sequence.encode()).decode()


def sequences_of(examples):
    """Return every sequence on both strands."""
    return {strand for e in examples for strand in strands(e.inputs["sequence"])}


def test_every_shared_histone_window_is_found_and_none_is_left_after_drop(catalogue):
    recipe = recipe_of(TASKS, decontaminate="drop")
    tests = {t: load_examples(catalogue.get(t), "test", data_root=ROOT) for t in TASKS}
    trains = {t: load_examples(catalogue.get(t), "train", data_root=ROOT) for t in TASKS}
    trained = {task: sequences_of(examples) for task, examples in trains.items()}
    report = find_leakage(recipe, catalogue).report
    for overlap, (task, examples) in zip(report.evaluated, tests.items(), strict=True):
        windows = [example.inputs["sequence"] for example in examples]
        others = set().union(*(found for name, found in trained.items() if name != task))
        shared = sum(window in others for window in windows)
        assert 160 <= shared <= 196
        assert (overlap.task, overlap.num_exact) == (task, shared)
        assert not trained[task] & set(windows)
    kept = [load_source(recipe, data).examples for data in data_of(recipe, "train")]
    left = set().union(*map(sequences_of, kept))
    assert left.isdisjoint(sequences_of(e for examples in tests.values() for e in examples))
    again = compare(kept, list(tests.values()))
    assert again.report.pairs == ()
    assert sum(map(len, kept)) > 0.75 * sum(map(len, trains.values()))


def test_core_promoters_stand_inside_the_longer_promoters(catalogue):
    recipe = recipe_of(
        ["gue/prom_300_tata"],
        evaluation={"tasks": ["gue/prom_core_tata", "gue/splice_reconstructed"]},
    )
    pairs = {p.evaluated_task: p for p in find_leakage(recipe, catalogue).report.pairs}
    core = pairs["gue/prom_core_tata"]
    examples = load_examples(catalogue.get("gue/prom_core_tata"), "test", data_root=ROOT)
    longer = sequences_of(
        load_examples(catalogue.get("gue/prom_300_tata"), "train", data_root=ROOT)
    )
    inside = sum(any(e.inputs["sequence"] in text for text in longer) for e in examples)
    assert inside > 100
    assert core.num_near >= inside
    assert pairs.get("gue/splice_reconstructed") is None or (
        pairs["gue/splice_reconstructed"].share < 0.01
    )


def test_unrelated_sources_share_next_to_nothing(catalogue):
    trained = ["gsm8k", "codah", "clinc_oos", "gue/human_tf_0"]
    evaluated = ["ncbi_disease", "pubmedqa", "chemprot", "gue/emp_H4"]
    report = find_leakage(recipe_of(trained, evaluation={"tasks": evaluated}), catalogue).report
    num_rows = sum(task.num_rows for task in report.training)
    assert num_rows > 5000
    assert sum(task.num_repeated for task in report.training) <= 0.001 * num_rows
