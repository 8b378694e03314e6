"""The shipped accelerate configurations."""

from __future__ import annotations

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
    "fsdp2": ("FSDP", 8),
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


def test_fsdp_is_version_two():
    config = load_config_from_file(str(FOLDER / "fsdp2.yaml"))
    assert config.fsdp_config["fsdp_version"] == 2


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeed_has_the_stage_of_its_name(stage):
    config = load_config_from_file(str(FOLDER / f"deepspeed_zero{stage}.yaml"))
    assert config.deepspeed_config["zero_stage"] == stage
