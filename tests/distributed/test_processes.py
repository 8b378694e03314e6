"""Two processes against one: the same global batch gives the same run, under every engine.

Real launches on the CPU with gloo, from the configurations that are shipped.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from pipeline.adapters.registry import load_adapter
from pipeline.errors import CheckpointError
from pipeline.models.loading import load_model
from pipeline.recipe import load_recipe
from pipeline.training.run import run_training
from tests.distributed.launching import CONFIGS, launch, logged, two_processes, write_place

NUM_STEPS = 50

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with a model, data, a recipe and what one process makes of it."""
    folder = tmp_path_factory.mktemp("place")
    recipe = write_place(folder, NUM_STEPS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(folder / "cache"))
        run_training(recipe)
    return folder


def train_in_two(place: Path, config: Path, name: str, *fields: str, as_a_user: bool) -> Path:
    """Train with half the batch per process, and return the run folder."""
    output = place / name
    done = launch(
        two_processes(config, place),
        place / "recipe.yaml",
        "--run_name", name,
        "--output_dir", str(output),
        "--per_device_train_batch_size", "2",
        *fields,
        cache=place / "cache",
        as_a_user=as_a_user,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return output


def check_same_run(place: Path, output: Path, distributed_type: str) -> None:
    environment = json.loads((output / "environment.json").read_text())
    assert environment["distributed_type"] == distributed_type
    assert environment["num_processes"] == 2
    names = ["loss", "task_loss/tiny/colour", "task_loss/tiny/calls", "num_tokens"]
    for name in names:
        expected = logged(place / "one", name)
        assert len(expected) == NUM_STEPS
        assert logged(output, name) == pytest.approx(expected, rel=1e-5), name
    found = load_file(output / "adapter" / "adapter_model.safetensors")
    wanted = load_file(place / "one" / "adapter" / "adapter_model.safetensors")
    assert found.keys() == wanted.keys()
    assert all(value.numel() for value in found.values())
    assert all(torch.allclose(found[name], wanted[name], atol=1e-4) for name in wanted)
    prompt = torch.arange(5, 25).reshape(1, 20)
    logits = [
        load_adapter(load_model(str(place / "base")), folder / "adapter")(prompt).logits
        for folder in (output, place / "one")
    ]
    assert torch.allclose(*logits, atol=1e-3)


def test_one_process_launched_by_accelerate_is_the_run_of_one_process(place):
    output = place / "launched"
    done = launch(
        CONFIGS / "cpu.yaml",
        place / "recipe.yaml",
        "--output_dir", str(output),
        "--max_steps", "3",
        "--lr_scheduler_type", "constant",
        cache=place / "cache",
        as_a_user=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(logged(output, "loss")) == 3
    # The first loss depends on neither schedule nor length.
    assert logged(output, "loss")[0] == logged(place / "one", "loss")[0]


def test_data_parallel_training_is_the_run_of_one_process(place):
    output = train_in_two(place, CONFIGS / "cpu_2_processes.yaml", "ddp", as_a_user=True)
    check_same_run(place, output, "MULTI_CPU")


@pytest.mark.skipif(not importlib.util.find_spec("deepspeed"), reason="deepspeed is not installed")
@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_training_is_the_run_of_one_process(place, stage):
    config = CONFIGS / f"deepspeed_zero{stage}.yaml"
    output = train_in_two(place, config, f"zero{stage}", as_a_user=stage == 3)
    check_same_run(place, output, "DEEPSPEED")


def test_fully_sharded_training_is_the_run_of_one_process(place):
    output = train_in_two(place, CONFIGS / "fsdp2.yaml", "fsdp2", as_a_user=True)
    check_same_run(place, output, "FSDP")


EVALUATED = [
    "--max_steps", "6", "--eval_strategy", "steps", "--eval_steps", "2", "--save_strategy", "steps",
    "--save_steps", "2", "--load_best_model_at_end", "true", "--early_stopping_patience", "9",
]  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(place) -> Path:
    """What one process makes of a run that is evaluated while it trains."""
    output = place / "evaluated-one"
    changes = [*EVALUATED, "--run_name", "one", "--output_dir", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(place / "cache"))
        run_training(load_recipe(place / "recipe.yaml", changes))
    return output


def numbers_of(folder: Path) -> list[dict[str, float]]:
    """Return what was logged in training and in evaluation, without speeds."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    kept = ("step", "loss", "num_tokens", "eval_", "task_")
    numbers = [{name: line[name] for name in line if name.startswith(kept)} for line in lines]
    return [each for each in numbers if len(each) > 1]


@pytest.mark.parametrize("config", ["cpu_2_processes", "deepspeed_zero2"])
def test_evaluation_during_training_is_that_of_one_process(place, evaluated, config):
    if "deepspeed" in config and not importlib.util.find_spec("deepspeed"):
        pytest.skip("deepspeed is not installed")
    output = train_in_two(
        place, CONFIGS / f"{config}.yaml", f"evaluated-{config}", *EVALUATED, as_a_user=False
    )
    expected, found = numbers_of(evaluated), numbers_of(output)
    assert [each["step"] for each in expected if "eval_loss" in each] == [2, 4, 6]
    assert [each.keys() for each in found] == [each.keys() for each in expected]
    for mine, theirs in zip(found, expected, strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)
    mine, theirs = (
        load_file(folder / "adapter" / "adapter_model.safetensors")
        for folder in (output, evaluated)
    )
    assert all(torch.allclose(mine[name], theirs[name], atol=1e-4) for name in theirs)
    check_goes_on_in_one(place, output, config, expected)


def check_goes_on_in_one(place: Path, output: Path, config: str, expected: list[dict]) -> None:
    """Go on in one process: under DDP it is the same run, under ZeRO it is refused."""
    again = place / f"again-{config}"
    changes = [*EVALUATED, "--resume_from_checkpoint", str(output / "checkpoint-4")]
    changes += ["--run_name", "again", "--output_dir", str(again)]
    recipe = load_recipe(place / "recipe.yaml", changes)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(place / "cache"))
        if config == "deepspeed_zero2":
            with pytest.raises(
                CheckpointError, match=r"ZeRO-2 in 2 processes.*one process.*CKP004"
            ):
                run_training(recipe)
            assert not again.exists()
            return
        run_training(recipe)
    for mine, theirs in zip(numbers_of(again), expected[-3:], strict=True):
        assert mine == pytest.approx(theirs, rel=1e-5)


@pytest.mark.parametrize("config", ["deepspeed_zero2", "fsdp2"])
def test_another_engine_does_not_go_on_with_a_run(place, evaluated, config):
    if "deepspeed" in config and not importlib.util.find_spec("deepspeed"):
        pytest.skip("deepspeed is not installed")
    output = place / f"other-{config}"
    done = launch(
        two_processes(CONFIGS / f"{config}.yaml", place),
        place / "recipe.yaml",
        *EVALUATED,
        "--output_dir", str(output),
        "--per_device_train_batch_size", "2",
        "--resume_from_checkpoint", str(evaluated / "checkpoint-4"),
        cache=place / "cache",
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("was made under DDP or one process, this run has ") == 1
    assert "[CKP004]" in done.stderr
    assert not output.exists()


NEW_TOKENS = ["--dna_unit", "kmer3", "--task_tokens", "true", "--max_steps", "3"]


@pytest.fixture(scope="module")
def new_rows(place) -> torch.Tensor:
    """The rows of new tokens as one process trains and saves them."""
    output = place / "tokens-one"
    changes = [*NEW_TOKENS, "--run_name", "one", "--output_dir", str(output)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TASKLOOM_CACHE", str(place / "cache"))
        run_training(load_recipe(place / "recipe.yaml", changes))
    return saved_rows(output)


def saved_rows(output: Path) -> torch.Tensor:
    """Return the rows of new tokens in an adapter's file, `[N, H]`."""
    weights = load_file(output / "adapter" / "adapter_model.safetensors")
    (rows,) = (value for name, value in weights.items() if "token_adapter" in name)
    return rows


@pytest.mark.parametrize("config", ["cpu_2_processes", "deepspeed_zero2"])
def test_rows_of_new_tokens_are_saved_whole_and_equal_those_of_one_process(place, new_rows, config):
    output = train_in_two(
        place, CONFIGS / f"{config}.yaml", f"tokens-{config}", *NEW_TOKENS, as_a_user=False
    )
    # Markers, five bases, 64 words and two tasks.
    assert saved_rows(output).shape == new_rows.shape == (73, 32)
    assert torch.allclose(saved_rows(output), new_rows, atol=1e-4)
    load_adapter(load_model(str(place / "base")), output / "adapter")


@pytest.mark.parametrize(("config", "as_a_user"), [("deepspeed_zero3", True), ("fsdp2", False)])
def test_engines_that_cut_rows_in_pieces_refuse_new_tokens(place, config, as_a_user):
    output = place / f"tokens-{config}"
    done = launch(
        two_processes(CONFIGS / f"{config}.yaml", place),
        place / "recipe.yaml",
        *NEW_TOKENS,
        "--output_dir",
        str(output),
        cache=place / "cache",
        as_a_user=as_a_user,
    )
    assert done.returncode != 0
    assert "cuts the rows of new tokens in pieces. Use DDP or ZeRO-2. [TRN002]" in done.stderr
    assert not output.exists()


@pytest.mark.skipif(torch.cuda.is_available(), reason="FSDP works where there are GPUs")
def test_an_engine_that_would_fall_back_is_refused(place):
    output = place / "fallback"
    done = launch(
        two_processes(CONFIGS / "fsdp2.yaml", place),
        place / "recipe.yaml",
        "--output_dir", str(output),
        cache=place / "cache",
        as_a_user=True,
        program="pipeline.train",
    )  # fmt: skip
    assert done.returncode != 0
    message = "distributed type in force is MULTI_CPU, asked for was FSDP"
    assert done.stderr.count(message) == 1
    assert not output.exists()


def test_a_mistake_is_told_once_and_stops_all_processes(place):
    output = place / "mistake"
    done = launch(
        CONFIGS / "cpu_2_processes.yaml",
        place / "recipe.yaml",
        "--output_dir", str(output),
        "--lora_target_modules", "[query]",
        cache=place / "cache",
        as_a_user=True,
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("[ADP001]") == 1
    assert not output.exists()
