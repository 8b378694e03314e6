"""A recipe may vary the functions that its function-calling tasks are shown."""

from __future__ import annotations

import json

import pytest

from pipeline.annotations.catalogue import load_catalogue
from pipeline.errors import AnnotationError
from pipeline.examples.cache import load_examples
from pipeline.examples.golden import golden_examples
from pipeline.examples.registered import library
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


CHAINS = """schema_version: 1
id: chains/{view}
task: function_calling
source: {files: {train: chains.jsonl}, licence: mit, commercial: "yes", language: en}
splits: {train: train}
fields: {query: query, functions: {function: function_specs, of: tools}, target: {function: function_calls, of: calls}}
views: [calls, names, chaining, nested, parallel, parameters, next]
"""  # noqa: E501 - one row


@pytest.fixture
def chains(catalogue, tmp_path, monkeypatch):
    """Return the targets of a view of 300 rows, with functions shown as the options say."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "chains.yaml").write_text(CHAINS)
    first = {"name": "depth", "arguments": {"lake": "blue"}, "label": "var1"}
    kinds = {
        "chain": [first, {"name": "sing", "arguments": {}}],
        "nested": [first, {"name": "sing", "arguments": {"depth": "$var1$"}}],
        "parallel": [first, {"name": "depth", "arguments": {"lake": "red"}}],
        "single": [first],
        "none": [],
    }
    tools = [{"name": name, "parameters": {}} for name in ("depth", "sing", "nap")]
    rows = [
        {"query": f"{kind} {number}?", "tools": tools, "calls": calls}
        for number in range(300)
        for kind, calls in kinds.items()
    ]
    (tmp_path / "chains.jsonl").write_text("\n".join(map(json.dumps, rows)))
    tasks = load_catalogue([tmp_path])

    def targets(view, **options):
        task = next(task for task in tasks if task.id == f"chains/{view}")
        found = task.with_library(options) if options else task
        examples = load_examples(found, "train", data_root=None)
        return [
            (examples[i].inputs["query"], examples[i].target, examples[i].inputs["functions"])
            for i in range(len(examples))
        ]

    return targets


@pytest.mark.parametrize("view", ["calls", "names", "chaining", "nested", "parallel"])
def test_rows_that_abstain_feed_the_views_that_their_calls_feed(chains, view):
    plain, varied = chains(view), chains(view, abstain=0.3)
    assert [query for query, _, _ in varied] == [query for query, _, _ in plain]
    asks = [(before, after) for before, after in zip(plain, varied, strict=True) if before[1]]
    lost = [after for before, after in asks if before[1] and not after[1]]
    assert 0.2 * len(asks) < len(lost) < 0.4 * len(asks)
    assert all("depth" not in {spec["name"] for spec in shown} for _, _, shown in lost)
    kept = [(before[1], after[1]) for before, after in asks if after[1]]
    assert all(before == after for before, after in kept)


@pytest.mark.parametrize("view", ["parameters", "next"])
def test_views_of_a_part_of_the_calls_have_no_abstentions(chains, view):
    assert chains(view, abstain=1.0) == chains(view)


def test_an_annotation_may_abstain_by_itself(catalogue, tmp_path, monkeypatch):
    row = "{record: {functions: {function: function_specs, of: tools}, calls: calls, query: query}}"
    text = CHAINS.replace(
        "{function: function_specs, of: tools}, target: {function: function_calls, of: calls}",
        f"{{function: library, of: {row}, options: {{abstain: 1.0}}}}, "
        f"target: {{function: library, of: {row}, options: {{abstain: 1.0, part: calls}}}}",
    )
    (tmp_path / "chains.yaml").write_text(text)
    calls = [{"name": "depth", "arguments": {"lake": lake}} for lake in ("blue", "red")]
    tools = [{"name": name, "parameters": {}} for name in ("depth", "nap")]
    (tmp_path / "chains.jsonl").write_text(
        json.dumps({"query": "How deep?", "tools": tools, "calls": calls})
    )
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    found = {}
    for task in load_catalogue([tmp_path]):
        if task.id in {"chains/parallel", "chains/next"}:
            (example,) = load_examples(task, "train", data_root=None)
            found[task.view] = example
    assert found["parallel"].target == []
    assert [spec["name"] for spec in found["parallel"].inputs["functions"]] == ["nap"]
    assert found["next"].target == "depth"
    assert len(found["next"].inputs["functions"]) == 2


def test_turns_without_calls_stay_no_examples_when_functions_are_varied():
    row = {"functions": [], "calls": None, "query": "Hello."}
    assert library(row, part="calls", abstain=0.5) is None
    assert library(row) == []


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
