"""Checks that a run is what was asked for.

Several engines fall back to something smaller without a word; here that is an error.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline.errors import TrainingError

if TYPE_CHECKING:
    from accelerate import Accelerator


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedEngine:
    """What `accelerate launch` was told, read from the environment it passes on."""

    engine: str | None
    """`DEEPSPEED`, `FSDP`, or `None` for plain data parallelism or one process."""
    num_processes: int
    mixed_precision: Literal["bf16", "fp16"] | None
    """`bf16` or `fp16` if the configuration names one."""
    zero_stage: int | None
    use_cpu: bool

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> RequestedEngine:
        """Read the variables set by `accelerate launch` and `torchrun`."""
        is_deepspeed = _is_true(environment.get("ACCELERATE_USE_DEEPSPEED"))
        is_fsdp = _is_true(environment.get("ACCELERATE_USE_FSDP"))
        precisions: dict[str, Literal["bf16", "fp16"]] = {"bf16": "bf16", "fp16": "fp16"}
        stage = environment.get("ACCELERATE_DEEPSPEED_ZERO_STAGE", "")
        return cls(
            engine="DEEPSPEED" if is_deepspeed else "FSDP" if is_fsdp else None,
            num_processes=int(environment.get("WORLD_SIZE", "1")),
            mixed_precision=precisions.get(environment.get("ACCELERATE_MIXED_PRECISION", "no")),
            zero_stage=int(stage) if is_deepspeed and stage.isdigit() else None,
            use_cpu=_is_true(environment.get("ACCELERATE_USE_CPU")),
        )


def check_engine(
    requested: RequestedEngine, accelerator: Accelerator, *, mixed_precision: str
) -> None:
    """Check that the engine in force is the one asked for.

    Args:
        requested: What the launcher was told.
        accelerator: The trainer's accelerator.
        mixed_precision: `no`, `bf16` or `fp16`, as the recipe asks for.

    Raises:
        TrainingError: Engine, number of processes, ZeRO stage or precision differ.
    """
    in_force = accelerator.distributed_type.value
    if requested.engine is not None and in_force != requested.engine:
        raise _fallback("distributed type", in_force, requested.engine)
    if accelerator.num_processes != requested.num_processes:
        raise _fallback("number of processes", accelerator.num_processes, requested.num_processes)
    if requested.num_processes > 1 and in_force == "NO":
        raise _fallback("distributed type", in_force, "any that exchanges gradients")
    if requested.zero_stage is not None:
        stage = accelerator.state.deepspeed_plugin.zero_stage
        if stage != requested.zero_stage:
            raise _fallback("ZeRO stage", stage, requested.zero_stage)
    if accelerator.mixed_precision != mixed_precision:
        raise _fallback("precision", accelerator.mixed_precision, mixed_precision)


def _fallback(what: str, got: object, asked: object) -> TrainingError:
    return TrainingError(
        "TRN003",
        f"{what} in force is {got}, asked for was {asked}",
        where="accelerate configuration",
        hint="Nothing falls back silently; see `taskloom doctor` for what this machine offers",
    )


def _is_true(value: str | None) -> bool:
    return value is not None and value.lower() in {"true", "1", "yes"}
