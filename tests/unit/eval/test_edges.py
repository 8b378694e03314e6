"""Edges between adapters, as the report reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from eval.leaderboard.charts import edge_chart
from eval.leaderboard.edges import Edge, find_edges


@dataclass(frozen=True)
class Run:
    folder: Path | None


EDGE = Edge(
    first="a",
    second="b",
    weights=(0.0, 0.5, 1.0),
    scores={"x": (0.8, 0.85, 0.1), "y": (0.2, 0.6, 0.6)},
)


def test_steps_towards_an_adapter_count_where_its_task_does_not_fall():
    # x falls towards b in one of two steps, y rises or stays in both.
    assert EDGE.monotone_share() == pytest.approx(3 / 4)


def test_an_edge_is_found_above_its_evaluations_once(tmp_path):
    (tmp_path / "edge.json").write_text(json.dumps(EDGE.to_json()))
    runs = [Run(tmp_path / point / "eval" / "adapter") for point in ("one", "two")]
    assert find_edges([*runs, Run(None)]) == [EDGE]


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weights": [0, 1], "scores": {"x": [1]}}', '{"weights": [0], "scores": {}}',
     '{"weights": [0, 1], "scores": {"x": [1, NaN]}}'],
)  # fmt: skip
def test_a_damaged_edge_is_left_out(text, tmp_path):
    (tmp_path / "edge.json").write_text(text)
    assert find_edges([Run(tmp_path / "one" / "eval" / "adapter")]) == []


def test_a_chart_tells_its_numbers_in_words():
    drawn = str(edge_chart("<task>", EDGE.scores["x"], EDGE.weights))
    assert 'aria-label="&lt;task&gt;: 80.0, 85.0, 10.0"' in drawn
    assert "80.0 → 10.0" in drawn
    # The highest of the three stands at the top.
    assert "110.0,0.0" in drawn
