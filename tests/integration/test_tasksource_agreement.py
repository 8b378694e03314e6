"""What annotations and tasksource agreed on, replayed without tasksource.

`scripts/compare_with_tasksource.py` writes the file: invented source rows, and the examples whose
texts, options, right option and label names were the same on both sides.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from pipeline.annotations.catalogue import Catalogue, builtin_folder, load_catalogue
from pipeline.annotations.check import check_golden, functions_used, golden_values
from pipeline.annotations.parts import Golden
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from scripts.general_catalogue.known import RAN_ON_ROWS

AGREEMENT = Path(__file__).resolve().parents[1] / "golden" / "tasksource_agreement.jsonl"


@cache
def catalogue() -> Catalogue:
    return load_catalogue()


@cache
def records() -> list[dict[str, Any]]:
    lines = AGREEMENT.read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def test_at_least_three_hundred_annotations_were_compared() -> None:
    assert len({record["id"] for record in records()}) >= 300
    assert AGREEMENT.stat().st_size < 1_000_000


@pytest.mark.parametrize("part", range(8))
def test_annotations_still_agree_with_tasksource(part: int) -> None:
    for record in records()[part::8]:
        annotation = catalogue().get(record["id"])
        for row, expected in zip(record["rows"], record["examples"], strict=True):
            golden = Golden(row=row, skipped=True)
            found = golden_values(annotation, golden, REGISTERED_FUNCTIONS)
            got = [
                {key: value[key] for key in example}
                for value, example in zip(found, expected, strict=False)
            ]
            assert got == expected, record["id"]
            assert len(found) == len(expected), record["id"]


def test_the_whole_catalogue_loads_in_two_seconds_and_its_golden_rows_hold() -> None:
    start = time.process_time()
    found = load_catalogue()
    seconds = time.process_time() - start
    general = [a for a in found if a.family == "general"]
    assert len(general) > 1000
    assert seconds < 2.0
    broken = [
        error
        for annotation in general
        if annotation.golden and annotation.config is None
        for error in check_golden(
            annotation, lambda task, row: golden_values(task, row, REGISTERED_FUNCTIONS)
        )
    ]
    assert broken == []


def test_annotations_are_many_and_honest_about_their_verification() -> None:
    files = {a.path: a for a in catalogue() if a.family == "general"}
    assert len(files) >= 560
    counts = Counter(annotation.verified for annotation in files.values())
    assert counts["golden"] >= 480
    generated = [a for a in files.values() if a.path and a.path.parent.name != "general"]
    assert {a.id for a in generated if a.verified == "rows"} == RAN_ON_ROWS
    assert all(a.source.licence and a.instruction for a in files.values())


def test_few_annotations_need_a_function_and_none_needs_code() -> None:
    used = Counter(
        name
        for annotation in {a.path: a for a in catalogue() if a.family == "general"}.values()
        for name in functions_used(annotation)
    )
    assert set(used) == {"python_literal"}
    assert used["python_literal"] <= 10


def test_no_general_annotation_trains_on_a_test_split() -> None:
    assert builtin_folder().is_dir()
    for annotation in catalogue():
        source = annotation.splits.train
        names = (source,) if isinstance(source, str) else source or ()
        assert not {"test"} & set(names if isinstance(names, tuple) else ()), annotation.id
