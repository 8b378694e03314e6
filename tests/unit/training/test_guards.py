"""What was asked for against what is in force."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pipeline.errors import TrainingError
from pipeline.training.guards import RequestedEngine, check_engine


def requested(**changes: object) -> RequestedEngine:
    values = {
        "engine": None,
        "num_processes": 1,
        "mixed_precision": None,
        "zero_stage": None,
        "use_cpu": False,
    }
    return RequestedEngine(**(values | changes))


def in_force(kind: str = "NO", processes: int = 1, precision: str = "no", stage: int = 2):
    return SimpleNamespace(
        distributed_type=SimpleNamespace(value=kind),
        num_processes=processes,
        mixed_precision=precision,
        state=SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=stage)),
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, requested()),
        ({"WORLD_SIZE": "4"}, requested(num_processes=4)),
        (
            {"ACCELERATE_USE_CPU": "True", "ACCELERATE_MIXED_PRECISION": "no"},
            requested(use_cpu=True),
        ),
        (
            {"ACCELERATE_USE_FSDP": "true", "ACCELERATE_MIXED_PRECISION": "bf16"},
            requested(engine="FSDP", mixed_precision="bf16"),
        ),
        (
            {"ACCELERATE_USE_DEEPSPEED": "true", "ACCELERATE_DEEPSPEED_ZERO_STAGE": "3"},
            requested(engine="DEEPSPEED", zero_stage=3),
        ),
        ({"ACCELERATE_USE_FSDP": "false"}, requested()),
    ],
)
def test_the_request_is_read_from_what_the_launcher_sets(environment, expected):
    assert RequestedEngine.from_environment(environment) == expected


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (requested(), in_force()),
        (requested(num_processes=2), in_force("MULTI_CPU", 2)),
        (requested(num_processes=2), in_force("MULTI_GPU", 2)),
        (
            requested(engine="DEEPSPEED", num_processes=2, zero_stage=2),
            in_force("DEEPSPEED", 2, stage=2),
        ),
        (requested(engine="FSDP", num_processes=2), in_force("FSDP", 2)),
    ],
)
def test_an_engine_that_is_as_asked_passes(asked, found):
    check_engine(asked, found, mixed_precision="no")


@pytest.mark.parametrize(
    ("asked", "found", "message"),
    [
        (
            requested(engine="DEEPSPEED", num_processes=2),
            in_force("MULTI_CPU", 2),
            "distributed type in force is MULTI_CPU, asked for was DEEPSPEED",
        ),
        (
            requested(engine="FSDP", num_processes=2),
            in_force("NO", 2),
            "distributed type in force is NO, asked for was FSDP",
        ),
        (
            requested(num_processes=2),
            in_force("NO", 1),
            "number of processes in force is 1, asked for was 2",
        ),
        (
            requested(num_processes=2),
            in_force("NO", 2),
            "distributed type in force is NO, asked for was any that exchanges gradients",
        ),
        (
            requested(engine="DEEPSPEED", zero_stage=3),
            in_force("DEEPSPEED", 1, stage=2),
            "ZeRO stage in force is 2, asked for was 3",
        ),
        (requested(), in_force(precision="bf16"), "precision in force is bf16, asked for was no"),
    ],
)
def test_a_silent_fallback_is_an_error(asked, found, message):
    with pytest.raises(TrainingError) as caught:
        check_engine(asked, found, mixed_precision="no")
    assert str(caught.value) == (
        f"accelerate configuration: {message}. Nothing falls back silently; see `taskloom doctor` "
        "for what this machine offers. [TRN003]"
    )
