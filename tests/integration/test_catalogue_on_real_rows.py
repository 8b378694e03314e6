"""Every annotation whose dataset is in the local mirror runs on all of its rows."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from eval.parsers import parse_answer
from pipeline.annotations.catalogue import load_catalogue
from pipeline.annotations.row_operations import SplitBy
from pipeline.annotations.sequences import either_strand
from pipeline.examples.cache import load_examples
from pipeline.examples.real_rows import markdown_table, run_on_rows, tasks_in_mirror
from pipeline.templates.styles import render_conversation
from pipeline.types import ParseFailure

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of public data at {MIRROR}"),
]

CATALOGUE = load_catalogue()
TASKS = tasks_in_mirror(CATALOGUE, MIRROR) if MIRROR.is_dir() else []
PAGE = ROOT / "docs" / "real_rows.md"
NOT_COMPARED = {"function_calling", "chat"}
"""Kinds whose answers are turns of their own, tested elsewhere."""
MAX_COMPARED = 50


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        found = {task.id: run_on_rows(task, data_root=MIRROR) for task in TASKS}
        yield {name: [run for run in made if not run.is_absent] for name, made in found.items()}


def test_every_annotation_of_the_mirror_runs_without_an_error(runs):
    errors = [str(run.error) for made in runs.values() for run in made if run.error is not None]
    assert errors == []


def test_every_row_is_an_example_or_counted_as_skipped(runs):
    for task in TASKS:
        # An operation that divides rows anew reads all of them for each split.
        is_divided = any(isinstance(operation, SplitBy) for operation in task.rows)
        for run in runs[task.id]:
            assert run.num_examples > 0, run
            if not is_divided:
                assert run.num_examples + sum(run.skipped.values()) >= run.num_rows, run


def test_what_says_that_it_ran_on_rows_did_and_the_rest_says_so_too(runs):
    ran = {name for name, made in runs.items() if made}
    says = {task.id for task in TASKS if task.verified == "rows"}
    assert says == ran
    elsewhere = [task.id for task in CATALOGUE if task.verified == "rows" and task not in TASKS]
    assert elsewhere == []


def test_the_page_in_the_docs_tells_what_happened(runs):
    expected = markdown_table([run for task in TASKS for run in runs[task.id]])
    table = "".join(re.findall(r"^\|.*\n", PAGE.read_text(encoding="utf-8"), re.MULTILINE))
    hint = "run `python -m scripts.real_rows --data-root MIRROR`"
    assert table == expected, hint


def test_a_strand_and_its_other_are_in_one_split(runs):
    divided = [
        task
        for task in TASKS
        if task.settings.get("reverse_complement")
        and any(isinstance(operation, SplitBy) for operation in task.rows)
        and runs[task.id]
    ]
    assert divided
    for task in divided:
        train, validation = (
            {
                either_strand(str(example.inputs["sequence"]))
                for example in load_examples(task, split, data_root=MIRROR)
            }
            for split in ("train", "validation")
        )
        assert validation
        assert not train & validation


@pytest.mark.parametrize("dataset", sorted({str(task.source.hub) for task in TASKS}))
def test_answers_made_of_real_rows_are_read_back_as_they_were(dataset, runs):
    for task in TASKS:
        for run in runs[task.id] if task.source.hub == dataset else ():
            examples = load_examples(task, run.split, data_root=MIRROR)
            assert len({example.key for example in examples}) == len(examples)
            step = max(1, len(examples) // MAX_COMPARED)
            for index in range(0, len(examples), step):
                check_answer(examples[index], examples.spec)


def check_answer(example, spec):
    answer = render_conversation(example, spec).messages[-1].content
    if spec.kind in NOT_COMPARED:
        return
    parsed = parse_answer(answer, example, spec)
    assert not isinstance(parsed, ParseFailure), (example.key, answer, parsed)
    target = example.target
    if spec.kind == "token_classification" and spec.settings.get("scheme") == "bio":
        parsed = [(span["text"], span["type"]) for span in parsed]
        target = [(" ".join(span["text"].split()), span["type"]) for span in target]
    elif spec.kind == "regression":
        parsed, target = round(parsed, 2), round(target, 2)
    elif spec.kind == "extractive_qa":
        target = (target or [""])[0].strip()
    elif spec.kind == "soft_label":
        parsed, target = target[parsed], max(target.values())
    elif spec.kind == "text":
        target = target.strip()
    assert parsed == target, example.key
