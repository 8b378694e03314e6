"""The leaderboard row of an evaluated run, and the name that stands for all categories."""

from __future__ import annotations

import json

from eval.bfcl.aggregate import section_scores
from eval.bfcl.categories import SCORED_CATEGORIES
from eval.results import RESULTS_NAME, SCHEMA_VERSION
from pipeline.annotations.catalogue import load_catalogue
from pipeline.cli.bfcl import print_benchmark_row
from pipeline.cli.eval_tasks import without_groups
from pipeline.cli.shared import stdout


def write_results(folder, tasks, kind="mirror"):
    entries = {
        name: {
            "settings": {"checker": checker} if checker else {},
            "headline": "m",
            "metrics": {"m": {"value": value, "standard_error": 0.0}},
            "num_rows": num_rows,
        }
        for name, checker, value, num_rows in tasks
    }
    value = {"schema_version": SCHEMA_VERSION, "data_root_kind": kind, "tasks": entries}
    (folder / RESULTS_NAME).write_text(json.dumps(value))


def printed(folder):
    with stdout.capture() as capture:
        print_benchmark_row(folder)
    return capture.get()


def test_the_name_of_the_benchmark_stands_for_every_category_that_is_scored():
    names = without_groups(["codah", "bfcl", "bfcl/multiple"])
    assert names == ["codah", *(f"bfcl/{category}" for category in SCORED_CATEGORIES)]
    assert all(name in load_catalogue() for name in names)


def test_a_run_with_categories_prints_the_row_and_says_what_was_not_run(tmp_path):
    tasks = [("bfcl/irrelevance", "bfcl", 0.5, 240), ("bfcl/live_irrelevance", "bfcl", 1.0, 20)]
    write_results(tmp_path, [*tasks, ("codah", None, 0.1, 5)])
    text = printed(tmp_path)
    assert "75.00%" in text  # the irrelevance section
    assert "7.50%" in text  # a tenth of it is the overall
    assert "20 of 884" in text
    assert "multi_turn_base" in text
    assert "codah" not in text


def test_a_run_without_categories_prints_nothing(tmp_path):
    write_results(tmp_path, [("codah", None, 0.1, 5)])
    assert printed(tmp_path) == ""


def test_generated_rows_are_no_benchmark(tmp_path):
    write_results(tmp_path, [("bfcl/multiple", "bfcl", 0.5, 200)], kind="embedded")
    assert printed(tmp_path) == ""


def test_the_row_weighs_categories_by_the_rows_that_were_run(tmp_path):
    tasks = [("bfcl/live_simple", "bfcl", 1.0, 100), ("bfcl/live_multiple", "bfcl", 0.0, 100)]
    write_results(tmp_path, tasks)
    accuracies = {"live_simple": 1.0, "live_multiple": 0.0}
    wanted = section_scores(accuracies, dict.fromkeys(accuracies, 100))["live"].accuracy
    assert wanted != section_scores(accuracies)["live"].accuracy
    (line,) = [line for line in printed(tmp_path).splitlines() if " live " in line]
    assert f"{wanted:.2%}" in line


def test_a_users_own_task_with_the_benchmarks_checker_is_no_category(tmp_path):
    write_results(tmp_path, [("mine/calls", "bfcl", 0.5, 10)])
    assert printed(tmp_path) == ""
