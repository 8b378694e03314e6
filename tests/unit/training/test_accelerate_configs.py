"""The shipped accelerate configurations."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file

FOLDER = Path(__file__).resolve().parents[3] / "accelerate_configs"
EXPECTED = {
    "cpu": ("NO", 1),
    "cpu_2_processes": ("MULTI_GPU", 2),
    "single_gpu": ("NO", 1),
    "multi_gpu": ("MULTI_GPU", 8),
    "deepspeed_zero2": ("DEEPSPEED", 8),
    "deepspeed_zero3": ("DEEPSPEED", 8),
    "deepspeed_zero3_offload": ("DEEPSPEED", 8),
    "fsdp2": ("FSDP", 8),
    "fsdp2_qlora": ("FSDP", 8),
    "multi_node": ("MULTI_GPU", 16),
}
"""Distributed type and number of processes."""


def test_every_configuration_is_expected_and_none_is_missing():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_configuration_loads_and_tells_its_own_launch_command(name):
    path = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert (config.distributed_type.value, config.num_processes) == EXPECTED[name]
    comment = "".join(line for line in path.read_text().splitlines() if line.startswith("#"))
    assert f"accelerate launch --config_file accelerate_configs/{name}.yaml" in comment
    assert "-m pipeline.train recipes/" in comment


@pytest.mark.parametrize("name", ["fsdp2", "fsdp2_qlora"])
def test_fsdp_is_version_two(name):
    config = load_config_from_file(str(FOLDER / f"{name}.yaml"))
    assert config.fsdp_config["fsdp_version"] == 2


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_has_the_stage_of_its_name(stage):
    config = load_config_from_file(str(FOLDER / f"deepspeed_zero{stage}.yaml"))
    assert config.deepspeed_config["zero_stage"] == stage


def test_offloading_is_the_only_difference_of_its_configuration():
    plain, offload = (
        load_config_from_file(str(FOLDER / f"{name}.yaml")).deepspeed_config
        for name in ("deepspeed_zero3", "deepspeed_zero3_offload")
    )
    assert {name for name in plain if plain[name] != offload[name]} == {
        "offload_optimizer_device",
        "offload_param_device",
    }


def run_batch_script(folder: Path, worker: str) -> subprocess.CompletedProcess[str]:
    """Run the Slurm script with stand-ins for Slurm's commands and for Python."""
    stubs = {
        "srun": 'exec "$@"',
        "scontrol": 'case $1 in show) echo node1 node2 | tr " " "\\n";; *) echo "$@" >> log;; esac',
        "python": f'echo "$@" >> log\n{worker}',
    }
    binaries = folder / "bin"
    binaries.mkdir()
    for name, body in stubs.items():
        (binaries / name).write_text(f"#!/bin/bash\n{body}\n")
        (binaries / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "4", "SLURM_NODEID": "0",
    }  # fmt: skip
    return subprocess.run(
        ["bash", str(FOLDER / "slurm.sbatch"), "r.yaml", "run", "--lora_r", "8"],
        cwd=folder,
        env={"PATH": f"{binaries}:/usr/bin:/bin", **slurm},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("worker", "code", "requeued"),
    [
        ("exit 0", 0, False),
        ("exit 1", 1, False),
        ("exit 2", 2, False),
        ("exit 75", 75, True),
    ],
)
def test_the_batch_script_requeues_after_a_signal_only(tmp_path, worker, code, requeued):
    done = run_batch_script(tmp_path, worker)
    assert done.returncode == code, done.stderr
    launch, *others = (tmp_path / "log").read_text().splitlines()
    assert launch.startswith("-m pipeline.launch --config_file accelerate_configs/multi_node.yaml")
    assert "--num_machines 2 --num_processes 8 --machine_rank 0 --main_process_ip node1" in launch
    assert launch.endswith("-m pipeline.train r.yaml --output_dir run --resume auto --lora_r 8")
    assert others == (["requeue 7"] if requeued else [])
