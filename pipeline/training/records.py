"""What a run writes down while it goes: one line per log, and one per unusual event."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from pipeline.files import output_errors
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


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
        self._write({"step": state.global_step, **logs})

    def write_event(self, name: str, details: dict[str, Json]) -> None:
        """Write one line for something unusual, such as a skipped step; on the first process.

        Args:
            name: Becomes `event` of the line, which lines of metrics do not have.
            details: What else stands in the line, `step` among it.
        """
        self._write({"step": details["step"], "event": name, **details})

    def _write(self, record: Mapping[str, Json | float]) -> None:
        with output_errors(self._path), self._path.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(record) + "\n")
