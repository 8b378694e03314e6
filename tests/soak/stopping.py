"""Stops a trainer after a given step, in the way a signal does."""

from __future__ import annotations

from typing import Any

from transformers import TrainerCallback

from pipeline.training.signals import StopSignals


class StopAt(TrainerCallback):
    """Behaves as if SIGTERM came during step `step`."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.signals = StopSignals()

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step + 1 == self.step:
            self.signals.received = "SIGTERM"

    def train(self, trainer: Any, checkpoint: str | None = None) -> None:
        """Train up to the step, which is saved."""
        trainer.add_callback(self)
        trainer.train(resume_from_checkpoint=checkpoint)
