"""All rows of BFCL's categories of one turn: right answers, and the time it takes to score them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from eval.bfcl.categories import SCORED_CATEGORIES, find_category
from eval.bfcl.data import FOLDER

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
FOREIGN_SHARE = 0.6
"""Java and JavaScript: values written as Python literals are right in so many rows at least."""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not (MIRROR / FOLDER).is_dir(), reason=f"no mirror of BFCL at {MIRROR}"),
]

RUN = """
import sys
from pipeline.cli.main import app
try:
    app(sys.argv[1:], standalone_mode=False)
finally:
    print("torch" in sys.modules)
"""


def first_accepted(answer: dict) -> str:
    ((name, parameters),) = answer.items()
    given = {key: options[0] for key, options in parameters.items() if options and options[0] != ""}
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})"


def outputs():
    """Yield an output for every row: the calls of the answer key, none where there is no key."""
    for category in SCORED_CATEGORIES:
        name = f"BFCL_v4_{category}.json"
        keys = MIRROR / FOLDER / "possible_answer" / name
        answers = {}
        if keys.is_file():
            rows = map(json.loads, keys.read_text(encoding="utf-8").splitlines())
            answers = {row["id"]: row["ground_truth"] for row in rows}
        for line in (MIRROR / FOLDER / name).read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            calls = [first_accepted(answer) for answer in answers.get(row["id"], [])]
            yield {
                "row": row["id"],
                "category": category,
                "id": row["id"],
                "format": "python_call",
                "underscore_to_dot": False,
                "model_output": f"[{', '.join(calls)}]",
            }


def test_all_categories_of_one_turn_are_scored_in_ten_seconds_without_torch(tmp_path):
    given, made = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    rows = [*outputs()]
    given.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    command = ["--data-root", str(MIRROR), "bfcl", "verdicts", str(given), str(made)]
    started = time.monotonic()
    run = subprocess.run(
        [sys.executable, "-c", RUN, *command], cwd=ROOT, capture_output=True, text=True, check=True
    )
    seconds = time.monotonic() - started
    assert run.stdout.strip() == "False"
    assert seconds < 10
    verdicts = [json.loads(line) for line in made.read_text(encoding="utf-8").splitlines()]
    num_right = Counter(
        row["category"] for row, made in zip(rows, verdicts, strict=True) if made["verdict"]
    )
    assert len(verdicts) == sum(find_category(name).num_rows for name in SCORED_CATEGORIES) == 3641
    assert num_right["live_relevance"] == 0  # asks for a call, and gets none
    for name in SCORED_CATEGORIES:
        if name != "live_relevance":
            # A first accepted value is not right everywhere: option lists inside of dicts.
            share = 0.9 if find_category(name).language == "python" else FOREIGN_SHARE
            assert num_right[name] >= share * find_category(name).num_rows, name
