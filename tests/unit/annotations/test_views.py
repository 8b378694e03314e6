"""One annotation gives several tasks from the same rows of calls."""

from __future__ import annotations

import pytest

from pipeline.annotations.catalogue import load_catalogue
from pipeline.annotations.check import check_files
from pipeline.annotations.schema import annotation_from
from pipeline.annotations.task_kinds import TASK_KINDS
from pipeline.annotations.views import VIEWS
from pipeline.errors import AnnotationError
from pipeline.examples.golden import golden_examples
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.functions.granular import GRANULAR_TASKS
from pipeline.yaml_reader import read_yaml

LAKE = """schema_version: 1
id: lake/{view}
title: Lakes
task: function_calling
source: {files: {train: lakes.jsonl}, licence: mit, commercial: "yes", language: en}
splits: {train: train}
fields:
  query: query
  functions: {function: function_specs, of: tools}
  target: {function: function_calls, of: calls}
views:
  calls: null
  names: {title: Names, instruction: Which ones?, metrics: [set_match]}
  nested: null
  next: null
golden:
  - row:
      query: How warm is the deepest lake?
      tools:
        - {name: deepest, parameters: {}}
        - {name: warmth, parameters: {lake: {type: string}}}
        - {name: sing, parameters: {}}
      calls:
        - {name: deepest, arguments: {}, label: var1}
        - {name: warmth, arguments: {lake: $var1$}}
    example:
      target:
        - {name: deepest, arguments: {}, label: var1}
        - {name: warmth, arguments: {lake: $var1$}}
    views:
      names: {target: [deepest, warmth]}
      nested:
        target:
          - {name: deepest, arguments: {}, label: var1}
          - {name: warmth, arguments: {lake: $var1$}}
verified: golden
"""


def annotation(text=LAKE):
    return annotation_from(read_yaml(text.encode(), name="lake.yaml"))


def codes(text):
    try:
        annotation(text)
    except AnnotationError as error:
        return {error.code}
    except Exception as several:
        return {error.code for error in several.errors}
    return set()


def test_each_view_is_a_task_with_its_own_instruction_and_shape():
    tasks = {task.view: task.spec() for task in annotation().expanded()}
    assert [spec.id for spec in tasks.values()] == [
        "lake/calls",
        "lake/names",
        "lake/nested",
        "lake/next",
    ]
    assert tasks["names"].instruction == "Which ones?"
    assert tasks["nested"].instruction == VIEWS["nested"].instruction
    assert {view: spec.settings["granular"] for view, spec in tasks.items()} == {
        "calls": "calls",
        "names": "names",
        "nested": "calls",
        "next": "next",
    }
    assert tasks["names"].metrics == ("set_match",)
    assert tasks["next"].metrics == ("accuracy",)


def test_views_have_their_own_place_in_the_cache():
    prints = {task.data_fingerprint() for task in annotation().expanded()}
    assert len(prints) == 4


def test_the_next_function_is_the_one_after_the_calls_that_are_shown():
    task = next(task for task in annotation().expanded() if task.view == "next")
    (example,) = golden_examples(task)
    made = [call["name"] for call in example.inputs.get("calls", [])]
    assert [*made, example.target] == ["deepest", "warmth"][: len(made) + 1]
    assert golden_examples(task)[0] == example


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("lake/{view}", "lake", "ANN147"),
        ("  nested: null", "  nexted: null", "ANN147"),
        ("verified: golden", "settings: {granular: names}\nverified: golden", "ANN147"),
        ("verified: golden", "metrics: [name_f1]\nverified: golden", "ANN147"),
        ("  next: null", "  response: null", "ANN105"),
        ("      nested:\n", "      parallel:\n", "ANN147"),
        ("views:\n", "views: 3\nguide:\n", "ANN103"),
    ],
)
def test_views_that_do_not_fit_are_refused(old, new, code):
    assert code in codes(LAKE.replace(old, new, 1))


def test_views_need_their_key():
    assert "ANN147" in codes(LAKE[: LAKE.index("views:")])


def test_golden_rows_are_checked_in_every_view_they_name(tmp_path):
    file = tmp_path / "lake.yaml"
    file.write_text(LAKE.replace("names: {target: [deepest, warmth]}", "names: {target: [sing]}"))
    (error,) = check_files([file], functions=REGISTERED_FUNCTIONS)
    assert error.code == "ANN171"
    assert "view 'names'" in str(error)


def test_the_views_are_those_of_the_granular_tasks():
    by_task = {rule.task: rule for rule in VIEWS.values() if rule.task is not None}
    assert set(by_task) == set(GRANULAR_TASKS)
    assert all(by_task[name].granular == task.granular for name, task in GRANULAR_TASKS.items())
    assert len({rule.instruction for rule in by_task.values()}) == 7
    allowed = TASK_KINDS["function_calling"].settings["granular"].allowed
    assert {rule.granular for rule in VIEWS.values()} <= set(allowed)


def test_golden_rows_of_the_catalogue_cover_every_view():
    seen: dict[str, set[str]] = {}
    for task in load_catalogue():
        if task.view is not None:
            covered = {view for golden in task.golden for view in golden.views}
            seen.setdefault(str(task.path), set()).add(task.view)
            if task.view not in covered:
                assert golden_examples(task), f"{task.id} has no golden row"
    assert len(seen) >= 15
