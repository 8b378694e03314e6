"""Routed adapters in two processes: the run of one process, balance and task weights included."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.recipe import Recipe, write_resolved
from pipeline.training.run import run_training
from tests.distributed.launching import CONFIGS, launch, logged, two_processes
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

NUM_STEPS = 12
ADAPTERS = {
    "smora": {"type": "smora", "num_active_ranks": 4, "router_task_input": True},
    "mtlora": {"type": "mtlora", "task_rank": 2},
}
LEARNING_RATES = {"smora": 1e-4, "mtlora": 5e-3}
"""A token between two ranks takes one or the other by the last bit of a sum; with large steps
such a difference grows, in one process as well as in two."""
ENGINES = {
    "ddp": "cpu_2_processes.yaml",
    "zero2": "deepspeed_zero2.yaml",
    "zero3": "deepspeed_zero3.yaml",
    "fsdp2": "fsdp2.yaml",
}
RUNS = [
    (engine, kind)
    for engine in ENGINES
    for kind in ADAPTERS
    # Nothing of it is peculiar to FSDP but what test_task_weights looks at.
    if (engine, kind) != ("fsdp2", "mtlora")
]

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def build_recipe(folder: Path, annotations: Path, mirror: Path, kind: str) -> Recipe:
    """A run in which one of the tasks is absent from many steps."""
    return Recipe.model_validate(
        {
            "model_name_or_path": str(folder / "base"),
            "annotations": [str(annotations)],
            "data_root": str(mirror),
            "tasks": [
                {"task": "tiny/colour", "weight": 0.97},
                {"task": "tiny/calls", "weight": 0.03},
            ],
            "mixture": {"policy": "explicit", "max_epochs_per_task": None},
            "run_name": f"one-{kind}",
            "output_dir": str(folder / f"one-{kind}"),
            "max_length": 192,
            "packing": False,
            "max_steps": NUM_STEPS,
            "logging_steps": 1,
            "learning_rate": LEARNING_RATES[kind],
            "weight_decay": 0.1,
            "save_strategy": "no",
            "per_device_train_batch_size": 4,
            "gradient_accumulation_steps": 2,
            "bf16": False,
            "adapter": ADAPTERS[kind],
        }
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, data, recipes and what one process makes of each."""
    folder = tmp_path_factory.mktemp("place")
    annotations, mirror = write_tiny_mirror(folder)
    save_tiny_model(folder / "base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
        for kind in ADAPTERS:
            recipe = build_recipe(folder, annotations, mirror, kind)
            write_resolved(recipe, folder / f"{kind}.yaml")
            run_training(recipe)
    return folder


def train(place: Path, engine: str, kind: str, *fields: str) -> Path:
    """Train in two processes and return the run's folder."""
    if engine.startswith("zero") and not importlib.util.find_spec("deepspeed"):
        pytest.skip("deepspeed is not installed")
    output = place / f"{engine}-{kind}"
    done = launch(
        two_processes(CONFIGS / ENGINES[engine], place),
        place / f"{kind}.yaml",
        "--run_name", output.name,
        "--output_dir", str(output),
        "--per_device_train_batch_size", "2",
        *fields,
        cache=place / "cache",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return output


@pytest.mark.parametrize(("engine", "kind"), RUNS)
def test_two_processes_give_the_run_of_one(place, kind, engine):
    saves = ["--save_strategy", "steps", "--save_steps", "7"] if engine == "fsdp2" else []
    output = train(place, engine, kind, *saves)
    expected = logged(place / f"one-{kind}", "loss")
    assert len(expected) == NUM_STEPS
    assert logged(output, "loss") == pytest.approx(expected, rel=1e-5)
    found = load_file(output / "adapter" / "adapter_model.safetensors")
    wanted = load_file(place / f"one-{kind}" / "adapter" / "adapter_model.safetensors")
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        if name.endswith("routed_bias"):
            assert value.any(), name
            assert torch.equal(found[name], value), name
        else:
            assert torch.allclose(found[name], value, atol=1e-4), name
    if engine == "fsdp2":
        routing = (output / "routing.json").read_bytes()
        for name in ("adapter", f"checkpoint-{NUM_STEPS}"):
            shutil.rmtree(output / name)
        train(place, engine, kind, "--resume", "auto", "--save_strategy", "no")
        again = load_file(output / "adapter" / "adapter_model.safetensors")
        assert all(torch.equal(value, again[name]) for name, value in found.items())
        assert (output / "routing.json").read_bytes() == routing
        assert len(logged(output, "loss")) == NUM_STEPS
