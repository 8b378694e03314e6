"""The whole way from rows to a reloaded adapter, on folders of three public architectures.

The weights are random, so nothing is said about quality; what is proved is that loading, chat
templates, tokenising, training and saving work for each family from a local folder.
"""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch.nn.functional import cross_entropy

from pipeline.adapters.registry import load_adapter
from pipeline.errors import CheckpointError, TrainingError
from pipeline.models.loading import load_model, load_tokenizer
from pipeline.recipe import Recipe, load_recipe
from pipeline.training import run as run_module
from pipeline.training.data import validation_batches
from pipeline.training.run import run_training
from pipeline.training.task_tokens import load_tasks
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

PROMPT = torch.arange(5, 25).reshape(1, 20)


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> tuple[Path, Path]:
    return write_tiny_mirror(tmp_path_factory.mktemp("mirror"))


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))


def make_recipe(model: Path, mirror: tuple[Path, Path], output: Path, **fields: object) -> Recipe:
    values: dict[str, object] = {
        "model_name_or_path": str(model),
        "annotations": [str(mirror[0])],
        "data_root": str(mirror[1]),
        "tasks": ["tiny/colour"],
        "output_dir": str(output),
        "run_name": "family",
        "max_length": 256,
        "max_steps": 3,
        "logging_steps": 1,
        "learning_rate": 1e-2,
        "lr_scheduler_type": "constant",
        "save_strategy": "no",
        "per_device_train_batch_size": 2,
        "bf16": False,
    }
    return Recipe.model_validate(values | fields)


def losses_in(folder: Path) -> list[float]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [line["loss"] for line in map(json.loads, lines) if "loss" in line]


@pytest.mark.parametrize(
    ("family", "tasks"),
    [
        ("llama", ["tiny/colour", "tiny/calls"]),
        ("qwen3", ["tiny/colour", "tiny/calls"]),
        # Gemma's template shows no functions.
        ("gemma3", ["tiny/colour"]),
    ],
)
def test_a_family_loads_trains_saves_and_reloads(tmp_path, mirror, monkeypatch, family, tasks):
    base = save_tiny_model(tmp_path / "base", family)
    trainers = []
    save = run_module.save_adapter

    def remember(trainer, folder, **options):
        trainers.append(trainer)
        save(trainer, folder, **options)

    monkeypatch.setattr(run_module, "save_adapter", remember)
    recipe = make_recipe(base, mirror, tmp_path / "run", tasks=tasks)
    result = run_training(recipe)

    losses = losses_in(result.folder)
    assert len(losses) == 3
    assert all(math.isfinite(loss) for loss in losses)
    assert losses[-1] < losses[0]
    assert sorted(path.name for path in result.folder.iterdir()) == [
        "adapter",
        "data_report.json",
        "environment.json",
        "metrics.jsonl",
        "recipe.resolved.yaml",
    ]
    assert load_recipe(result.folder / "recipe.resolved.yaml") == recipe

    trained = trainers[0].model.eval()
    reloaded = load_adapter(load_model(str(base)), result.adapter).eval()
    with torch.no_grad():
        expected = trained(input_ids=PROMPT).logits
        assert torch.equal(reloaded(input_ids=PROMPT).logits, expected)
        assert not torch.equal(load_model(str(base))(input_ids=PROMPT).logits, expected)
    tokenizer = load_tokenizer(str(base))
    saved = json.loads((result.adapter / "tokenizer.json").read_text())
    assert saved["model"]["vocab"] == tokenizer.backend_tokenizer.get_vocab(False)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
def test_packing_changes_no_loss_in_any_family(tmp_path, mirror, family):
    base = save_tiny_model(tmp_path / "base", family)
    tokenizer = load_tokenizer(str(base))
    (task,) = load_tasks(make_recipe(base, mirror, tmp_path / "run"), tokenizer)
    model = load_model(str(base))

    def losses(batches) -> list[float]:
        found = []
        for batch in batches:
            inputs = {"input_ids": batch["input_ids"], "position_ids": batch["position_ids"]}
            with torch.no_grad():
                logits = model(**inputs, use_cache=False).logits[:, :-1]
            labels = batch["labels"][:, 1:]
            each = cross_entropy(logits.flatten(0, 1), labels.flatten(), reduction="none")
            found += each[labels.flatten() != -100].tolist()
        return sorted(found)

    packed, single = (
        validation_batches(
            [task],
            [task.name],
            rows_per_batch=2,
            max_length=max_length,
            pad_token_id=tokenizer.pad_token_id,
        )
        for max_length in (200, max(len(task.ids_and_mask(i)[0]) for i in range(len(task))))
    )
    assert len(packed) < len(single) / 2
    assert losses(packed) == pytest.approx(losses(single), rel=1e-4)


def test_modules_trained_in_full_are_saved_with_the_adapter(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "llama")
    recipe = make_recipe(base, mirror, tmp_path / "run", lora_modules_to_save=["model.norm"])
    result = run_training(recipe)
    with safe_open(result.adapter / "adapter_model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
    assert [name for name in names if "lora" not in name] == ["base_model.model.model.norm.weight"]
    load_adapter(load_model(str(base)), result.adapter)


@pytest.mark.parametrize(
    ("quantised", "other", "layer"),
    [
        ("load_in_4bit", {"use_bnb_nested_quant": True}, "Linear4bit"),
        ("load_in_8bit", {}, "Linear8bitLt"),
    ],
)
def test_a_quantised_base_trains_an_adapter(tmp_path, mirror, quantised, other, layer):
    pytest.importorskip("bitsandbytes")
    base = save_tiny_model(tmp_path / "base", "llama")
    options = {quantised: True}
    recipe = make_recipe(base, mirror, tmp_path / "run", max_steps=2, **options, **other)
    result = run_training(recipe)
    assert all(math.isfinite(loss) for loss in losses_in(result.folder))
    model = load_adapter(load_model(str(base), **options), result.adapter)
    up = model.get_base_model().model.layers[0].mlp.up_proj
    assert type(up.base_layer).__name__ == layer
    assert any(weight.any() for name, weight in up.named_parameters() if "lora_B" in name)


def test_a_second_run_gives_the_same_adapter_byte_for_byte(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    weights = []
    for name in ("first", "second"):
        recipe = make_recipe(base, mirror, tmp_path / name, lora_dropout=0.1)
        result = run_training(recipe)
        weights.append((result.adapter / "adapter_model.safetensors").read_bytes())
    assert weights[0] == weights[1]


def test_a_run_goes_on_from_its_newest_checkpoint(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    fields = {"save_strategy": "steps", "save_steps": 2, "max_steps": 4, "lora_dropout": 0.1}
    whole = run_training(make_recipe(base, mirror, tmp_path / "whole", **fields))
    recipe = make_recipe(base, mirror, tmp_path / "run", **fields)
    run_training(recipe)
    folder = tmp_path / "run"
    for path in sorted((folder / "checkpoint-4").iterdir()):
        path.unlink()
    (folder / "checkpoint-4").rmdir()
    resumed = run_training(recipe.model_copy(update={"resume_from_checkpoint": "auto"}))
    assert losses_in(resumed.folder) == losses_in(whole.folder)
    assert (resumed.adapter / "adapter_model.safetensors").read_bytes() == (
        whole.adapter / "adapter_model.safetensors"
    ).read_bytes()


def test_going_on_with_another_recipe_is_refused(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    fields = {"save_strategy": "steps", "save_steps": 2}
    run_training(make_recipe(base, mirror, tmp_path / "run", **fields))
    checkpoint = str(tmp_path / "run" / "checkpoint-2")
    other = make_recipe(
        base, mirror, tmp_path / "other", seed=7, resume_from_checkpoint=checkpoint, **fields
    )
    with pytest.raises(CheckpointError, match=r"differs in: seed.*CKP004"):
        run_training(other)
    assert not (tmp_path / "other").exists()


def test_a_checkpoint_that_is_none_is_refused(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    recipe = make_recipe(
        base, mirror, tmp_path / "run", resume_from_checkpoint=str(tmp_path / "nowhere")
    )
    with pytest.raises(CheckpointError, match=r"nowhere: this is no whole checkpoint.*\[CKP001\]"):
        run_training(recipe)


def test_the_loss_on_validation_rows_is_measured_per_task(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    recipe = make_recipe(
        base,
        mirror,
        tmp_path / "run",
        tasks=["tiny/colour", "tiny/calls"],
        eval_strategy="steps",
        eval_steps=3,
    )
    result = run_training(recipe)
    lines = map(json.loads, (result.folder / "metrics.jsonl").read_text().splitlines())
    (evaluation,) = [line for line in lines if "eval_loss" in line]
    # Only one of the two tasks has a validation split.
    assert [name for name in evaluation if "/" in name] == ["eval_loss/tiny/colour"]


def test_a_run_without_any_validation_split_is_refused(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    recipe = make_recipe(
        base, mirror, tmp_path / "run", tasks=["tiny/calls"], eval_strategy="steps"
    )
    with pytest.raises(TrainingError, match=r"none of the tasks has a validation split.*TRN008"):
        run_training(recipe)
    assert not (tmp_path / "run").exists()


def test_data_that_is_missing_leaves_no_run_folder_and_one_line(tmp_path, mirror):
    base = save_tiny_model(tmp_path / "base", "embedded")
    (tmp_path / "empty").mkdir()
    recipe = tmp_path / "bad.yaml"
    recipe.write_text(
        f"model_name_or_path: {base}\ndata_root: {tmp_path / 'empty'}\n"
        f"annotations: [{mirror[0]}]\ntasks: [tiny/colour]\noutput_dir: {tmp_path / 'run'}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pipeline.train", str(recipe)],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "TASKLOOM_CACHE": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if line]
    assert len(lines) == 1, done.stderr
    assert "[SRC" in lines[0]
    assert not (tmp_path / "run").exists()
