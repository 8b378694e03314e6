"""Starts real runs of several processes, as `accelerate launch` does."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from pipeline.recipe import Recipe, write_resolved
from tests.distributed.nursery import nursery
from tests.fixtures.tiny_recipe import write_tiny_recipe

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "accelerate_configs"


def write_place(folder: Path, num_steps: int) -> Recipe:
    """Write a model, data and `recipe.yaml` into a folder; return the recipe, for one process."""
    recipe = write_tiny_recipe(
        folder,
        mixture={"max_epochs_per_task": None},
        run_name="one",
        output_dir=str(folder / "one"),
        max_steps=num_steps,
        logging_steps=1,
        learning_rate=5e-3,
        save_strategy="no",
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
    )
    write_resolved(recipe, folder / "recipe.yaml")
    return recipe


def launch(
    config: Path,
    recipe: Path | str,
    *fields: str,
    cache: Path,
    faults: str | None = None,
    program: str | None = None,
    as_a_user: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run `pipeline.train` under an accelerate configuration and return what it wrote.

    FSDP runs by `tests.distributed.fsdp_on_cpu`, unless another `program` is given; `faults` are
    those of `tests.distributed.faulty_training`. Processes come from the nursery, or, `as_a_user`
    does it, from `accelerate launch`.
    """
    is_fsdp = "distributed_type: FSDP" in config.read_text()
    usual = "tests.distributed.fsdp_on_cpu" if is_fsdp else "pipeline.train"
    module = [program or usual]
    if faults is not None:
        module = ["tests.distributed.faulty_training", faults]
    arguments = ["--config_file", str(config), "--main_process_port", "0", "-m", *module]
    arguments += [str(recipe), *fields]
    if not as_a_user:
        environment = {"TASKLOOM_CACHE": str(cache)}
        return nursery().launch(arguments, log=cache.parent / "log.txt", environment=environment)
    return run([sys.executable, "-m", "accelerate.commands.launch", *arguments], cache=cache)


def run(command: list[str], *, cache: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in the repository, with its output caught."""
    return subprocess.run(
        command,
        cwd=REPOSITORY,
        env={
            **os.environ,
            "TASKLOOM_CACHE": str(cache),
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            **environment,
        },
        capture_output=True,
        text=True,
        check=False,
        # DeepSpeed compiles a part of itself where it runs first.
        timeout=540,
    )


_COMMANDS = {
    "srun": 'exec "$@"',
    "scontrol": 'if [ "$1" = show ]; then echo 127.0.0.1; else echo "$@" >> "$SCHEDULER_LOG"; fi',
    "python": """
for argument; do
  [ "$argument" = pipeline.train ] && set -- "$@" tests.distributed.faulty_training "$FAULTS" ||
    set -- "$@" "$argument"
  shift
done
exec "$PYTHON" "$@"
""",
}
"""Stand-ins for a cluster of this one machine, and for a program without faults."""


def submit(
    folder: Path, config: Path, recipe: Path, output: Path, *fields: str, cache: Path, faults: str
) -> subprocess.CompletedProcess[str]:
    """Run the Slurm script on a cluster of one node with two devices, once.

    What the job tells the scheduler is added to `scheduler.log` in `folder`.
    """
    for name, body in _COMMANDS.items():
        path = folder / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    return run(
        ["bash", str(CONFIGS / "slurm.sbatch"), str(recipe), str(output), *fields],
        cache=cache,
        PATH=f"{folder / 'bin'}:{os.environ['PATH']}",
        PYTHON=sys.executable,
        FAULTS=faults,
        CONFIG=str(config),
        SCHEDULER_LOG=str(folder / "scheduler.log"),
        SLURM_JOB_ID=str(os.getpid()),
        SLURM_JOB_NODELIST="this",
        SLURM_NNODES="1",
        SLURM_NODEID="0",
        SLURM_GPUS_ON_NODE="2",
    )


def two_processes(config: Path, folder: Path) -> Path:
    """Return a copy of a shipped configuration for two processes without a GPU."""
    text = config.read_text()
    for old, new in (("num_processes: 8", "num_processes: 2"), (": bf16", ": 'no'")):
        text = text.replace(old, new)
    changed = folder / config.name
    changed.write_text(text)
    return changed


def logged(folder: Path, name: str) -> list[float]:
    """Return a number of every logged training step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if "loss" in line]
