"""Shows how far a run is: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from transformers import TrainerCallback

from pipeline.training.step_guard import shown
from pipeline.types import Json

if TYPE_CHECKING:
    from rich.progress import TaskID
    from transformers import TrainerControl, TrainerState, TrainingArguments


class ProgressDisplay(TrainerCallback):
    """Writes steps, loss, tokens per second and remaining time to stderr, on the first process."""

    def __init__(self, console: Console | None = None) -> None:
        """Write to `console`, by default one on stderr."""
        self._console = console or Console(stderr=True, highlight=False)
        self._bar: Progress | None = None
        self._row: TaskID | None = None
        self._first_step = 0
        self._start_seconds = 0.0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Open the bar."""
        self._first_step, self._start_seconds = state.global_step, time.monotonic()
        if not state.is_world_process_zero or not self._console.is_terminal:
            return
        self._bar = Progress(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[numbers]}"),
            console=self._console,
        )
        self._row = self._bar.add_task("", total=state.max_steps, numbers="")
        self._bar.start()

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Move the bar."""
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, completed=state.global_step)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Show the newest numbers."""
        if not state.is_world_process_zero or not logs:
            return
        if "loss" in logs:
            self._show(state, f"loss {logs['loss']:.4f}  {_rate(logs)}")
        elif "eval_loss" in logs:
            worst = logs.get("eval_worst_loss", logs["eval_loss"])
            text = f"validation loss {logs['eval_loss']:.4f}, worst task {worst:.4f}"
            self._console.print(f"step {state.global_step}: {text}")

    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Close the bar."""
        self.close()

    def note(self, text: str) -> None:
        """Show a line about something unusual, above the bar."""
        self._console.print(f"note: {text}", soft_wrap=True, markup=False)

    def close(self) -> None:
        """Close the bar, also after an error."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _show(self, state: TrainerState, numbers: str) -> None:
        if self._bar is not None and self._row is not None:
            self._bar.update(self._row, numbers=numbers)
            return
        done = state.global_step - self._first_step
        seconds = (time.monotonic() - self._start_seconds) / max(done, 1)
        left = seconds * (state.max_steps - state.global_step)
        self._console.print(
            f"step {state.global_step}/{state.max_steps}  {numbers}  {_clock(left)} left",
            soft_wrap=True,
        )


def describe_event(name: str, details: Mapping[str, Json]) -> str:
    """Return one line for an event of the trainer.

    Args:
        name: `skipped_step`, `loss_spike`, `out_of_memory` or `checkpoint_failed`.
        details: What the trainer told with it.
    """
    step = f"step {details['step']}"
    if name == "skipped_step":
        rows = shown(cast("Sequence[str]", details["rows"]))
        return f"{step} is skipped, its {details['what']} is {details['value']}; rows: {rows}"
    if name == "loss_spike":
        return f"{step}: loss {details['loss']:.4f}, {details['sigmas']:.0f} sigmas above its past"
    if name == "out_of_memory":
        return (
            f"{step}: out of memory; going on with {details['rows_per_pass']} rows in one pass and "
            f"{details['passes_per_step']} passes per step, the same global batch"
        )
    return f"{step}: no checkpoint was written, the previous one stands. {details['reason']}"


def _rate(logs: dict[str, float]) -> str:
    return f"{logs.get('tokens_per_second', 0.0):,.0f} tokens/s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}"
