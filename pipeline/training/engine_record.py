"""Under which engine a checkpoint was made: optimizer states of one cannot be read by another."""

from __future__ import annotations

from pipeline.errors import CheckpointError
from pipeline.types import Json


class EngineRecord:
    """The engine as a part of each checkpoint: a run does not go on under another one.

    Without this check transformers would go on with neither moments nor schedule, without a word.
    """

    def __init__(self, engine: str | None, *, zero_stage: int | None, num_processes: int) -> None:
        """Describe what trains.

        Args:
            engine: `DEEPSPEED`, `FSDP`, or `None` for plain data parallelism or one process.
            zero_stage: Of DeepSpeed.
            num_processes: Of all machines.
        """
        self._name = "DDP or one process"
        if engine is not None:
            name = f"ZeRO-{zero_stage}" if engine == "DEEPSPEED" else engine
            # Each process saves its piece of the states, and reads only that.
            self._name = f"{name} in {num_processes} processes"

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the name of the engine."""
        return {"engine": self._name}

    def load_state(self, state: dict[str, Json], /) -> None:
        """Compare with the engine of a checkpoint.

        Raises:
            CheckpointError: It cannot be gone on from under this one.
        """
        if state["engine"] != self._name:
            raise CheckpointError(
                "CKP004",
                f"the checkpoint was made under {state['engine']}, this run has {self._name}",
                where="accelerate configuration",
                hint="Go on under the engine of the checkpoint, or start a new run under another "
                "run_name",
            )
