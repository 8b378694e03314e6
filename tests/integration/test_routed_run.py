"""A run with a routed adapter: trained, saved, loaded, evaluated by task, exported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from peft import PeftModel

from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.registry import load_adapter
from pipeline.cli.main import main
from pipeline.models.loading import load_model
from pipeline.recipe import Recipe, write_resolved
from pipeline.training.run import run_training
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

PROMPT = torch.arange(5, 25).reshape(1, 20)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a finished run of each adapter type."""
    folder = tmp_path_factory.mktemp("place")
    annotations, mirror = write_tiny_mirror(folder)
    save_tiny_model(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
        for kind in ("mtlora", "smora"):
            recipe = Recipe.model_validate(
                {
                    "model_name_or_path": str(folder / "base"),
                    "annotations": [str(annotations)],
                    "data_root": str(mirror),
                    "tasks": ["tiny/colour", "tiny/calls"],
                    "run_name": kind,
                    "output_dir": str(folder / kind),
                    "max_length": 192,
                    "max_steps": 4,
                    "logging_steps": 2,
                    "learning_rate": 1e-2,
                    "save_strategy": "no",
                    "per_device_train_batch_size": 2,
                    "bf16": False,
                    "adapter": {"type": kind},
                }
            )
            write_resolved(recipe, folder / "recipe.yaml")
            run_training(recipe)
    return folder


def test_the_saved_adapter_knows_its_tasks_and_says_how_to_load_it(place):
    config = json.loads((place / "mtlora" / "adapter" / "adapter_config.json").read_text())
    assert config["peft_type"].startswith("MTLORA: install taskloom")
    assert config["task_names"] == ["tiny/colour", "tiny/calls"]
    assert "import pipeline.adapters" in (place / "mtlora" / "adapter" / "README.md").read_text()


def test_the_run_folder_tells_how_experts_were_used(place):
    assert not (place / "mtlora" / "routing.json").exists()
    report = json.loads((place / "smora" / "routing.json").read_text())
    assert report["tasks"] == ["tiny/colour", "tiny/calls"]
    assert report["num_steps"] == 4
    lines = map(json.loads, (place / "smora" / "metrics.jsonl").read_text().splitlines())
    logged = [line for line in lines if "num_tokens" in line]
    assert all("routing_violation" in line for line in logged)
    for layer in report["layers"]:
        total = sum(map(sum, layer["by_task"]))
        assert total == layer["num_active"] * logged[-1]["num_tokens"]
        assert len(layer["strength"]) == layer["num_experts"]


def test_an_evaluation_tells_how_experts_were_used_on_its_rows(place, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(place / "cache"))
    recipe = place / "smora" / "recipe.resolved.yaml"
    with pytest.raises(SystemExit) as caught:
        main(["eval", "--recipe", str(recipe), "--evaluation.include_base", "false"])
    assert caught.value.code == 0
    folder = place / "smora" / "eval" / "adapter"
    report = json.loads((folder / "evaluated_routing.json").read_text())
    assert report["tasks"] == ["tiny/colour", "tiny/calls"]
    for layer in report["layers"]:
        colour, calls, other = map(sum, layer["by_task"])
        assert min(colour, calls) > 0
        assert other == 0
    assert "Experts of smora in evaluation" in (place / "smora" / "report.html").read_text()


def test_tasks_get_different_answers_from_one_adapter(place):
    model = load_adapter(load_model(str(place / "base")), place / "mtlora" / "adapter").eval()
    logits = []
    for task in ("tiny/colour", "tiny/calls"):
        with active_task(model, task):
            logits.append(model(input_ids=PROMPT).logits)
    assert not torch.allclose(*logits)
    with active_task(model, "unseen/task", or_none=True):
        assert torch.isfinite(model(input_ids=PROMPT).logits).all()


def test_the_command_exports_one_task_exactly(place, capsys, monkeypatch):
    target = place / "exported"
    arguments = ["adapters", "export", str(place / "mtlora"), "--task", "tiny/calls", "--to"]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, str(target)])
    assert caught.value.code == 0
    assert "tiny/calls: exact" in capsys.readouterr().out
    live = load_adapter(load_model(str(place / "base")), place / "mtlora" / "adapter").eval()
    plain = PeftModel.from_pretrained(load_model(str(place / "base")), str(target)).eval()
    with active_task(live, "tiny/calls"):
        expected = live(input_ids=PROMPT).logits
    assert torch.allclose(plain(input_ids=PROMPT).logits, expected, atol=1e-5)


def test_the_command_refuses_a_lossy_export_unless_asked(place, capsys, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(place / "cache"))
    target = place / "lossy"
    arguments = ["adapters", "export", str(place / "smora"), "--task", "tiny/colour", "--to"]
    with pytest.raises(SystemExit) as caught:
        main([*arguments, str(target)])
    assert caught.value.code == 2
    assert "[ADP008]" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main([*arguments, str(target), "--lossy", "--rows", "3"])
    assert caught.value.code == 0
    assert "lossy, KL" in capsys.readouterr().out
    report = json.loads((target / "export.json").read_text())
    assert report["kl_nats"] >= 0
    assert report["num_tokens"] > 0


def test_a_folder_that_is_no_run_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit) as caught:
        main(["adapters", "export", str(tmp_path), "--task", "a", "--to", str(tmp_path / "b")])
    assert caught.value.code == 2
    assert "[ADP003]" in capsys.readouterr().err


def add_task(place: Path, *arguments: str) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["add-task", *arguments])
    return int(caught.value.code or 0)


def answers(place: Path, run: str, task: str) -> torch.Tensor:
    model = load_adapter(load_model(str(place / "base")), place / run / "adapter").eval()
    with torch.no_grad(), active_task(model, task, or_none=True):
        return model(input_ids=PROMPT).logits


def test_a_task_is_added_and_the_old_ones_answer_bit_by_bit_as_before(place, monkeypatch, capsys):
    monkeypatch.setenv("TASKLOOM_CACHE", str(place / "cache"))
    colour = (place / "annotations/general/colour.yaml").read_text()
    (place / "annotations/general/hue.yaml").write_text(
        colour.replace("tiny/colour", "tiny/hue", 1)
    )
    options = ["--task", "tiny/hue", "--out", str(place / "grown"), "--max_steps", "3"]
    assert add_task(place, str(place / "mtlora"), *options) == 0
    config = json.loads((place / "grown/adapter/adapter_config.json").read_text())
    assert config["task_names"] == ["tiny/colour", "tiny/calls", "tiny/hue"]
    for task in ("tiny/colour", "tiny/calls", "unseen/task"):
        assert torch.equal(answers(place, "grown", task), answers(place, "mtlora", task)), task
    new = answers(place, "grown", "tiny/hue")
    assert not torch.allclose(new, answers(place, "mtlora", "unseen/task"), atol=1e-3)
    assert add_task(place, str(place / "smora"), "--task", "a", "--out", str(place / "x")) == 2
    assert "of type 'smora' cannot take a task in" in capsys.readouterr().err
    assert add_task(place, str(place / "nowhere"), "--task", "a", "--out", str(place / "x")) == 2
    assert "[ADP003]" in capsys.readouterr().err
