"""What a run writes down about its router, also when it was stopped on the way."""

from __future__ import annotations

import json

import pytest

from pipeline.training.routing_record import RoutingRecord
from pipeline.training.run_folder import RunFolder
from pipeline.training.saving import save_adapter
from tests.fixtures.tiny_runs import LENGTHS, make_recipe, make_tasks, make_trainer

SMORA = {"type": "smora", "num_active_ranks": 2}


@pytest.fixture(scope="module")
def tasks(tmp_path_factory):
    return make_tasks(tmp_path_factory.mktemp("tasks"))


def train(folder, data, adapter=SMORA, **fields):
    """Train as a run does, and return the report, or `None`, and the lines of training steps."""
    recipe = make_recipe(folder, adapter=adapter, lr_scheduler_type="constant", **fields)
    record = RoutingRecord(list(LENGTHS))
    trainer = make_trainer(recipe, data, routing=record)
    trainer.train(resume_from_checkpoint=fields.get("resume_from_checkpoint"))
    run = RunFolder(folder)
    save_adapter(trainer, run.adapter, base_source="unused")
    record.write(run.routing, run.adapter)
    lines = map(json.loads, run.metrics.read_text().splitlines())
    report = json.loads(run.routing.read_text()) if run.routing.exists() else None
    return report, [line for line in lines if "num_tokens" in line]


def test_every_token_of_the_run_is_in_the_report_by_task(tmp_path, tasks):
    report, lines = train(tmp_path, tasks)
    assert report["num_steps"] == 4
    assert report["tasks"] == list(LENGTHS)
    assert len(report["layers"]) == 14
    for layer in report["layers"]:
        by_task = [sum(row) for row in layer["by_task"]]
        tokens = [sum(line.get(f"task_tokens/{task}", 0) for line in lines) for task in LENGTHS]
        assert by_task == [2.0 * count for count in (*tokens, 0)]
        assert len(layer["strength"]) == 4


def test_the_metrics_hold_three_numbers_of_the_steps_since_the_last_log(tmp_path, tasks):
    _, lines = train(tmp_path, tasks, logging_steps=2)
    assert [line["step"] for line in lines] == [2, 4]
    for line in lines:
        found = {name: value for name, value in line.items() if name.startswith("routing_")}
        assert set(found) == {"routing_idle_share", "routing_entropy", "routing_violation"}
        assert 0 <= found["routing_idle_share"] <= 1
        assert 0 < found["routing_entropy"] <= 1.3863
        assert found["routing_violation"] >= 0


def test_a_resumed_run_reports_what_an_uninterrupted_one_does(tmp_path, tasks):
    options = {"save_strategy": "steps", "save_steps": 1, "logging_steps": 2}
    whole, lines = train(tmp_path / "whole", tasks, **options)
    checkpoint = tmp_path / "whole" / "checkpoint-3"
    rest, last = train(tmp_path / "rest", tasks, **options, resume_from_checkpoint=str(checkpoint))
    assert rest == whole
    names = [name for name in lines[-1] if name.startswith("routing_")]
    assert [last[-1][name] for name in names] == [lines[-1][name] for name in names]


def test_the_state_in_a_checkpoint_is_enough_for_the_report(tmp_path, tasks):
    report, _ = train(tmp_path, tasks, save_strategy="steps", save_steps=4)
    states = json.loads((tmp_path / "checkpoint-4" / "run_state.json").read_text())
    record = RoutingRecord(list(LENGTHS))
    record.load_state(states["routing"])
    record.write(tmp_path / "again.json", tmp_path / "adapter")
    assert json.loads((tmp_path / "again.json").read_text()) == report


def test_an_adapter_without_a_learned_router_leaves_no_report(tmp_path, tasks):
    report, lines = train(tmp_path, tasks, {"type": "mtlora", "task_rank": 2})
    assert report is None
    assert not any(name.startswith("routing_") for line in lines for name in line)
