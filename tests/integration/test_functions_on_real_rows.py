"""What requests of the mirror are shown with neither tells the answer nor lacks what it needs."""

from __future__ import annotations

import json
import math
import os
import re
from collections import Counter
from pathlib import Path

import pytest

from eval.metrics import METRICS
from pipeline.annotations.catalogue import load_catalogue
from pipeline.examples.cache import load_examples
from pipeline.examples.real_rows import tasks_in_mirror
from pipeline.examples.registered import specs_in_text
from pipeline.types import SPLITS

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of public data at {MIRROR}"),
]

TASKS = [
    task
    for task in (tasks_in_mirror(load_catalogue(), MIRROR) if MIRROR.is_dir() else [])
    if task.task == "function_calling" and task.spec().settings.get("checker") is None
]
BY_ID = {task.id: task for task in TASKS}
MAX_ROWS = 3000
MAX_DEVIATIONS = 4
"""How far a share may be above chance, in standard deviations."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        yield


def examples_of(task_id):
    task = BY_ID[task_id]
    for split in SPLITS:
        if task.splits.named(split):
            loaded = load_examples(task, split, data_root=MIRROR)
            yield from (loaded[index] for index in range(min(len(loaded), MAX_ROWS)))


def positions(example):
    """Return where the called functions stand, each once in call order, and how many there are."""
    shown = [spec["name"] for spec in example.inputs["functions"]]
    names = [item["name"] if isinstance(item, dict) else item for item in example.target]
    called = list(dict.fromkeys(names))
    return [shown.index(name) for name in called if name in shown], len(shown)


def deviations_above_chance(seen):
    """Return how far hits are above chance, of (hit, probability by chance) per row."""
    spread = math.sqrt(sum(chance * (1 - chance) for _, chance in seen))
    return (sum(hit - chance for hit, chance in seen) / spread) if spread else 0.0


@pytest.mark.parametrize(
    "task_id", sorted(task.id for task in TASKS if task.view in {None, "calls", "names"})
)
def test_where_functions_stand_does_not_tell_which_are_called(task_id):
    first, last, in_order = [], [], []
    for example in examples_of(task_id):
        places, num_shown = positions(example)
        if not places:
            continue
        chance = 1 / math.comb(num_shown, len(places))
        first.append((sorted(places) == list(range(len(places))), chance))
        tail = range(num_shown - len(places), num_shown)
        last.append((sorted(places) == list(tail), chance))
        in_order.append((places == sorted(places), 1 / math.factorial(len(places))))
    found = [deviations_above_chance(seen) for seen in (first, last, in_order)]
    assert max(found) < MAX_DEVIATIONS, dict(zip(("first", "last", "in order"), found, strict=True))


@pytest.mark.parametrize("task_id", sorted(task.id for task in TASKS if task.view == "nested"))
def test_nested_calls_are_right_as_they_are_and_wrong_backwards(task_id):
    spec = BY_ID[task_id].spec()
    for example in examples_of(task_id):
        target = example.target
        assert METRICS["call_exact_match"].row_value(target, target, spec) == 1.0
        assert METRICS["call_exact_match"].row_value(target[::-1], target, spec) == 0.0


@pytest.mark.parametrize(
    ("task_id", "most"),
    [
        ("nestful/executable/nested", 0),
        ("nestful/non_executable_sgd/nested", 0),
        ("nestful/non_executable_glaive/nested", 4),  # not in the specs of the source either
        ("seal_tools/nested", 0),
    ],
)
def test_fields_of_results_that_answers_name_are_shown(task_id, most):
    hidden = 0
    for example in examples_of(task_id):
        shown = json.dumps(example.inputs)
        parts = re.findall(r"\$var\d+((?:\.[^$.\[\]]+|\[\d+\])*)\$", json.dumps(example.target))
        fields = {field for part in parts for field in re.findall(r"[^.\[\]]+", part)}
        hidden += any(not field.isdigit() and field not in shown for field in fields)
    assert hidden <= most


EVALUATED_AS_THEY_ARE = ("hammer/", "nestful/", "toolbench/")
"""Tasks whose answers are kept although some call functions that no request is shown."""


@pytest.mark.parametrize(
    "task_id",
    sorted(
        task.id
        for task in TASKS
        if task.view in {None, "calls", "names"} and not task.id.startswith(EVALUATED_AS_THEY_ARE)
    ),
)
def test_called_functions_are_among_those_that_are_shown(task_id):
    for example in examples_of(task_id):
        shown = {spec["name"] for spec in example.inputs["functions"]}
        names = {item["name"] if isinstance(item, dict) else item for item in example.target}
        assert names <= shown, example.key


def test_the_torch_hub_is_asked_with_declared_arguments_and_all_that_are_required():
    for example in examples_of("apibench_torchhub/calls"):
        (spec,), (call,) = example.inputs["functions"], example.target
        assert set(spec["parameters"]["required"]) <= set(call["arguments"])
        assert set(call["arguments"]) <= set(spec["parameters"]["properties"])


def test_toolalpaca_requires_what_its_openapi_text_requires():
    """The OpenAPI text of the same rows is the oracle, for parameters in paths and queries."""
    found = Counter()
    for file in sorted((MIRROR / "tangqiaoyu" / "ToolAlpaca").glob("*.jsonl")):
        for line in file.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            specs = {spec["name"]: spec for spec in specs_in_text(row["NLDocumentation"])}
            for spec, parameter in openapi_parameters(json.loads(row["Documentation"]), specs):
                is_required = parameter["name"] in spec["parameters"]["required"]
                found[is_required, parameter.get("required", False)] += 1
    assert found[True, False] == 0
    assert found[False, True] <= 3  # not marked in the text that requests are shown with
    assert found[True, True] > 50
    assert found[False, False] > 60


def openapi_parameters(openapi, specs):
    for methods in openapi["paths"].values():
        for operation in methods.values():
            spec = specs.get(operation.get("operationId"))
            for parameter in operation.get("parameters", []) if spec else []:
                if parameter["name"] in spec["parameters"]["properties"]:
                    yield spec, parameter
