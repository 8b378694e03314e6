"""The use of experts on the page comes from the run's own file, and text in it stays text."""

from __future__ import annotations

import json

import pytest

from eval.leaderboard import build_leaderboard, write_leaderboard
from eval.leaderboard.routing import find_routing
from eval.leaderboard.routing_section import MAX_LAYERS, routing_section, shown_layers
from eval.leaderboard.text import harmless
from tests.unit.eval.test_leaderboard import HOSTILE, check_page, make_task, nodes_of, run

TASKS = ["red", "green"]


def layer_of(name="model.layers.0.q_proj", by_task=None, **fields):
    rows = by_task or [[8.0, 0, 0, 0], [2.0, 2.0, 4.0, 0], [0, 0, 0, 0]]
    return {
        "layer": name,
        "num_active": 2,
        "num_shared_ranks": 0,
        "num_private_experts": 0,
        "violation": 1.5,
        "entropy": [0.0, 1.04, 0.0],
        "by_task": rows,
        **fields,
    }


def flag_of(**fields):
    flag = {"fault": "underfitting", "layer": "model.layers.0.q_proj", "experts": [3]}
    return {**flag, "task": None, "value": 0.0, "threshold": 0.1, **fields}


def report_of(layers=None, flags=(), tasks=TASKS):
    layers = [layer_of()] if layers is None else layers
    return {"num_steps": 4, "tasks": list(tasks), "layers": layers, "flags": list(flags)}


def board_with(folder, report):
    """Return the leaderboard of an adapter whose run has left `report`."""
    results = run(folder / "runs/x/eval/adapter", [make_task()], "yes", adapter="x")
    text = report if isinstance(report, str) else json.dumps(report)
    (folder / "runs/x/routing.json").write_text(text, encoding="utf-8")
    return build_leaderboard([results])


def page_of(folder, report):
    return write_leaderboard(board_with(folder, report), folder / "out").read_text("utf-8")


def test_the_page_shows_tasks_by_experts_and_the_faults(tmp_path):
    flag = flag_of(experts=list(range(20)), task="red", value=0.0123)
    page = page_of(tmp_path, report_of(flags=[flag]))
    nodes = check_page(page)
    shown = " ".join(nodes.text)
    assert "Experts of x" in shown
    assert "1 of 4 experts never used; over 4 steps" in shown
    assert "underfitting" in shown
    assert "0.0123" in shown
    assert "0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11 and 8 more" in shown
    cells = page.split('class="cells"')
    # red uses one expert four times as much as evenly, the others not at all.
    assert cells[1].count("<rect") == 2
    assert '<rect class="u5" x="0.00%" width="25.00%"' in cells[1]
    assert '<rect class="u0" x="25.00%" width="75.00%"' in cells[1]
    # green: 1, 1, 2, 0 times an even share.
    assert [part[:2] for part in cells[2].split('class="')[1:4]] == ["u3", "u4", "u0"]


def test_the_use_on_evaluated_rows_stands_behind_that_of_training(tmp_path):
    board = board_with(tmp_path, report_of())
    path = tmp_path / "runs/x/eval/adapter/evaluated_routing.json"
    path.write_text(json.dumps(report_of([layer_of(violation=0.5)])), encoding="utf-8")
    assert [report.is_evaluation for report in find_routing(board.runs)] == [False, True]
    page = write_leaderboard(board, tmp_path / "out").read_text("utf-8")
    shown = " ".join(check_page(page).text)
    assert shown.index("Experts of x ") < shown.index("Experts of x in evaluation")
    assert "1 of 4 experts never used; over the evaluated rows." in shown
    assert "largest load 1.5 times the mean" in shown


def test_a_run_without_faults_says_so(tmp_path):
    assert "No collapse, degradation or underfitting" in page_of(tmp_path, report_of())


def test_private_experts_stand_behind_a_line(tmp_path):
    page = page_of(tmp_path, report_of([layer_of(num_private_experts=1, num_shared_ranks=2)]))
    assert '<line x1="75.00%" x2="75.00%"' in page
    assert "2 ranks always on, 1 experts of groups" in page
    check_page(page)


def test_of_many_layers_faulty_and_uneven_ones_are_shown_in_the_models_order(tmp_path):
    layers = [layer_of(f"layer {number}", violation=float(number)) for number in range(9)]
    board = board_with(tmp_path, report_of(layers, [flag_of(layer="layer 1")]))
    (report,) = find_routing(board.runs)
    names = [layer.name for layer in shown_layers(report)]
    assert names == ["layer 1", "layer 6", "layer 7", "layer 8"]
    assert len(names) == MAX_LAYERS


def test_the_page_stays_small_with_many_tasks_and_faults(tmp_path):
    tasks = [f"task {number}" for number in range(300)]
    by_task = [[float(i == j % 64) for i in range(64)] for j in range(301)]
    layers = [layer_of(f"l{n}", by_task, entropy=[0.0] * 301) for n in range(50)]
    board = board_with(tmp_path, report_of(layers, [flag_of()] * 500, tasks))
    (report,) = find_routing(board.runs)
    section = routing_section(report)
    assert len(section) < 200_000
    assert "276 tasks not shown" in section
    assert "and 470 more" in section


@pytest.mark.parametrize(
    "report",
    [
        "{",
        "[]",
        "[" * 100_000,
        report_of([]),
        report_of([layer_of(by_task=[[1.0], [1.0, 2.0], [0.0]])]),
        report_of([layer_of(by_task=[[], [], []])]),
        report_of([layer_of(by_task=[[float("nan")], [1.0], [0.0]])]),
        report_of([layer_of(by_task=[[-1.0], [1.0], [0.0]])]),
        report_of([layer_of(entropy=[])]),
        report_of([layer_of(num_active="many")]),
        report_of(["layer"]),
        report_of(flags=[{"fault": "collapse"}]),
        report_of(tasks=[]),
        {"layers": 3},
    ],
    ids=lambda report: json.dumps(report)[:30],
)
def test_a_damaged_report_is_left_out(tmp_path, report):
    page = page_of(tmp_path, report)
    assert "Experts of" not in page
    check_page(page)


@pytest.mark.parametrize("number", range(len(HOSTILE)))
def test_hostile_names_add_no_node_to_the_page(tmp_path, number):
    payload = HOSTILE[number]
    tags = []
    for folder, text in ((tmp_path / "hostile", payload), (tmp_path / "plain", "plain")):
        flag = flag_of(fault=text, layer=text, task=text or "x")
        report = report_of([layer_of(text)], [flag], [text, "green"])
        page = page_of(folder, report)
        nodes = check_page(page)
        tags.append(nodes_of(page).tags)
        assert harmless(text).strip()[:20] in "".join(nodes.text)
    assert tags[0] == tags[1]
