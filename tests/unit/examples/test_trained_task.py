"""A recipe may vary the functions that its function-calling tasks are shown."""

from __future__ import annotations

import json

import pytest

from pipeline.annotations.catalogue import load_catalogue
from pipeline.errors import AnnotationError
from pipeline.examples.cache import load_examples
from pipeline.examples.golden import golden_examples
from pipeline.examples.trained_task import trained_task
from pipeline.recipe import load_recipe

LAKES = """schema_version: 1
id: lakes/{view}
task: function_calling
source: {files: {train: lakes.jsonl}, licence: mit, commercial: "yes", language: en}
splits: {train: train}
fields:
  query: query
  functions: {function: library, of: {record: {functions: {function: function_specs, of: tools}, calls: calls}}, options: {size: 3}}
  target: {function: function_calls, of: calls}
  response: answer
views: [calls, names, response]
golden:
  - row: {query: How deep is blue?, tools: [{name: depth, parameters: {lake: str}}, {name: sing, parameters: {}}, {name: hum, parameters: {}}, {name: nap, parameters: {}}], calls: [{name: depth, arguments: {lake: blue}}], answer: 12 metres.}
    example: {target: [{name: depth, arguments: {lake: blue}}]}
verified: golden
"""  # noqa: E501 - one row
MOOD = """schema_version: 1
id: mood
task: classification
source: {files: {train: mood.jsonl}, licence: mit, commercial: "yes", language: en}
splits: {train: train}
fields: {text: text, target: label}
labels: [sad, happy]
instruction: Name the mood.
"""


@pytest.fixture
def catalogue(tmp_path):
    (tmp_path / "lakes.yaml").write_text(LAKES)
    (tmp_path / "mood.yaml").write_text(MOOD)
    talk = LAKES.replace("lakes/", "talk/").replace(
        "query: query", "query: {function: dialogue, of: turns, options: {form: share}}"
    )
    (tmp_path / "talk.yaml").write_text(talk[: talk.index("golden:")])
    rows = [
        {
            "query": f"How deep is lake {number}?",
            "tools": [{"name": "depth", "parameters": {"lake": {"type": "string"}}}],
            "calls": [{"name": "depth", "arguments": {"lake": str(number)}}],
            "answer": "Deep.",
        }
        for number in range(200)
    ]
    (tmp_path / "lakes.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return load_catalogue([tmp_path])


@pytest.fixture
def task(catalogue, tmp_path):
    """Return a task as a recipe trains on it."""

    def build(entry, *more):
        path = tmp_path / "recipe.yaml"
        path.write_text("\n".join(["model_name_or_path: embedded", f"tasks: [{entry}]", *more]))
        recipe = load_recipe(path)
        return trained_task(catalogue, recipe, recipe.tasks[0])

    return build


def test_masked_names_are_the_same_in_functions_and_calls(task):
    (example,) = golden_examples(task("lakes/calls", "function_library: {mask: all}"))
    shown = {spec["name"] for spec in example.inputs["functions"]}
    (call,) = example.target
    assert call["name"] in shown
    assert call["name"].startswith("f_")
    assert [*call["arguments"].values()] == ["blue"]
    assert len(shown) == 3  # as the annotation says, where the recipe says nothing


def test_a_task_has_its_own_options_before_those_of_the_recipe(task):
    entry = "{task: lakes/names, function_library: {size: 1}}"
    (example,) = golden_examples(task(entry, "function_library: {mask: functions}"))
    assert [spec["name"] for spec in example.inputs["functions"]] == ["depth"]
    assert example.target == ["depth"]


def test_some_rows_lose_their_functions_and_then_want_no_call(task, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    plain = load_examples(task("lakes/calls"), "train", data_root=None)
    abstaining = load_examples(
        task("lakes/calls", "function_library: {abstain: 0.25}"), "train", data_root=None
    )
    assert len(plain) == len(abstaining) == 200
    num_without = sum(example.target == [] for example in abstaining)
    assert num_without == sum(example.inputs["functions"] == [] for example in abstaining)
    assert 30 <= num_without <= 70
    assert all(example.target for example in plain)


def test_answers_in_words_keep_their_calls(task):
    (example,) = golden_examples(task("lakes/response", "function_library: {abstain: 1.0}"))
    assert example.target == "12 metres."
    assert [call["name"] for call in example.inputs["calls"]] == ["depth"]


def test_other_kinds_of_task_are_left_alone(task):
    assert task("mood", "function_library: {mask: all}").id == "mood"


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        (
            "{task: mood, function_library: {shuffle: true}}",
            "mood: the library of a task can be varied only where functions and calls are its own. "
            "Leave `function_library` out of this task. [ANN148]",
        ),
        (
            "{task: talk/calls, function_library: {mask: functions}}",
            "talk/calls: names cannot be masked in dialogues, which tell them in earlier turns. "
            "Set `mask: none` for this task. [ANN148]",
        ),
    ],
)
def test_where_functions_cannot_be_varied_the_recipe_is_refused(task, entry, message):
    with pytest.raises(AnnotationError) as caught:
        task(entry)
    assert str(caught.value) == message
