"""What a run writes down while it goes: one line per log, and one per unusual event."""

from __future__ import annotations

import contextlib
import errno
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import TrainerCallback

from pipeline.errors import OutputError
from pipeline.files import output_errors
from pipeline.training.processes import run_together
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class MetricsFile(TrainerCallback):
    """Appends every log to `metrics.jsonl`, on the first process.

    While the disk is full, lines wait for the next log, as checkpoints do for the next save.
    """

    def __init__(self, path: Path) -> None:
        """Append to `path`."""
        self._path = path
        self._waiting: list[str] = []

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Write one line; where it cannot be written, all processes stop.

        Raises:
            OutputError: The folder is gone, or cannot be written.
            TrainingError: That happened in another process.
        """
        if not logs:
            return
        is_first = state.is_world_process_zero
        if is_first:
            self._add({"step": state.global_step, **logs})
        run_together(args.distributed_state, lambda: self._write() if is_first else None)

    def write_event(self, name: str, details: dict[str, Json]) -> None:
        """Write one line for something unusual, such as a skipped step; on the first process.

        The other processes know nothing of it, so where it cannot be written, the next log tells.

        Args:
            name: Becomes `event` of the line, which lines of metrics do not have.
            details: What else stands in the line, `step` among it.
        """
        self._add({"step": details["step"], "event": name, **details})
        with contextlib.suppress(OutputError):
            self._write()

    def _add(self, record: Mapping[str, Json | float]) -> None:
        self._waiting.append(json.dumps(record) + "\n")

    def _write(self) -> None:
        with output_errors(self._path):
            try:
                _append(self._path, "".join(self._waiting).encode())
            except OSError as error:
                if error.errno not in _DISK_FULL:
                    raise
            else:
                self._waiting.clear()


def _append(path: Path, data: bytes) -> None:
    with path.open("ab", buffering=0) as stream:
        end = stream.tell()
        try:
            while data:
                data = data[stream.write(data) :]
        except OSError:
            # Half a line would spoil the next one.
            stream.truncate(end)
            raise
