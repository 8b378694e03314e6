"""What a run writes down while it goes: metrics, and the state of the data at each checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from pipeline.files import output_errors, write_json
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

DATA_STATE_FILE = "data_state.json"
"""In a checkpoint: where the data stood, and which data it was."""


class MetricsFile(TrainerCallback):
    """Appends every log to `metrics.jsonl`, on the first process."""

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._path = path

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Write one line."""
        if not state.is_world_process_zero or not logs:
            return
        record = {"step": state.global_step, **logs}
        with output_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")


class DataState(TrainerCallback):
    """Writes into each checkpoint where the data stood, on the first process."""

    def __init__(self, state_after: Callable[[int], Json]) -> None:
        """Ask `state_after` for the state after a number of steps."""
        self._state_after = state_after

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Write one file."""
        if state.is_world_process_zero:
            folder = Path(str(args.output_dir)) / f"checkpoint-{state.global_step}"
            write_json(folder / DATA_STATE_FILE, self._state_after(state.global_step))
