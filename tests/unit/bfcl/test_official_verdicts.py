"""Our verdicts against those of the official evaluator, see `scripts/make_bfcl_golden.py`."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from eval.bfcl.categories import SCORED_CATEGORIES
from eval.bfcl.decode import FORMATS
from eval.bfcl.verdicts import check_answer

GOLDEN = Path(__file__).resolve().parents[2] / "golden"


def load(name: str) -> list[dict]:
    return [json.loads(line) for line in (GOLDEN / name).read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def verdicts() -> list[dict]:
    return load("bfcl_verdicts.jsonl")


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], dict]:
    return {(row["category"], row["id"]): row for row in load("bfcl_rows.jsonl")}


def test_verdicts_and_error_types_are_the_official_ones_on_every_golden_output(verdicts, rows):
    different = []
    for golden in verdicts:
        row = rows[golden["category"], golden["id"]]
        ours = check_answer(
            golden["model_output"],
            functions=row["functions"],
            ground_truth=row["ground_truth"],
            category=golden["category"],
            output_format=golden["format"],
            underscore_to_dot=golden["underscore_to_dot"],
        )
        if ours != (golden["verdict"], golden["error_type"]):
            different.append((golden["row"], ours, golden["verdict"], golden["error_type"]))
    assert different == []


def test_golden_outputs_cover_every_category_format_and_most_error_types(verdicts):
    assert {golden["category"] for golden in verdicts} == set(SCORED_CATEGORIES)
    assert {golden["format"] for golden in verdicts} == set(FORMATS)
    assert len(verdicts) >= 3000
    error_types = Counter(golden["error_type"] for golden in verdicts)
    assert len(error_types) >= 19, error_types
    assert sum(golden["verdict"] for golden in verdicts) >= 900
