"""What the documentation says of the soak tests is what they printed."""

from __future__ import annotations

import json
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_page_tells_every_line_with_its_cases_and_failures():
    lines = (ROOT / "benchmarks" / "results" / "soak.jsonl").read_text().splitlines()
    printed = [json.loads(line) for line in lines]
    rows = [
        [cell.strip() for cell in line.strip("| ").split("|")]
        for line in (ROOT / "docs" / "reliability.md").read_text().splitlines()
        if line.startswith("| `")
    ]
    told = [(name.strip("`"), int(cases), int(failures)) for name, _, cases, failures in rows]
    assert told == [(each["name"], each["cases"], each["failures"]) for each in printed]
