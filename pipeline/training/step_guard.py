"""Judges every optimizer step by its loss and gradient norm before the weights change.

A step with a number that is not finite is skipped; three in a row end the run. A loss far above
its recent past is recorded as a spike and trained on.
"""

from __future__ import annotations

import math
import statistics
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import cast

from pipeline.errors import TrainingError
from pipeline.types import Json

MAX_SKIPPED_IN_A_ROW = 3
_WINDOW = 128
_MIN_WINDOW = 16
_SPIKE_SIGMAS = 6.0
"""As in OLMo's skip rule, but over finite losses only: one NaN would blind the window for long."""
_MIN_SPIKE_RATIO = 1.5
"""A window of nearly equal losses has no width; small steps above it are no spikes."""
_SHOWN_ROWS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class StepNumbers:
    """What all processes agree on about one optimizer step, before it is made."""

    loss: float
    """Mean over the answer tokens, in nats."""
    grad_norm: float | None
    """`None` where an engine or loss scaler judges the gradient itself."""

    @property
    def fault(self) -> tuple[str, float] | None:
        """Name and value of the first number that is not finite."""
        if not math.isfinite(self.loss):
            return "loss", self.loss
        if self.grad_norm is not None and not math.isfinite(self.grad_norm):
            return "gradient norm", self.grad_norm
        return None


class StepGuard:
    """Counts skipped steps in a row and knows the recent losses; a part of each checkpoint."""

    def __init__(self) -> None:
        """Start with no past."""
        self.num_skipped_in_a_row = 0
        self._losses: deque[float] = deque(maxlen=_WINDOW)

    def accept(self, loss: float) -> float | None:
        """Take in the loss of a good step.

        Returns:
            How many standard deviations it lies above the mean of the recent losses, if that makes
            it a spike, else `None`.
        """
        self.num_skipped_in_a_row = 0
        spike = self._spike(loss)
        self._losses.append(loss)
        return spike

    def skip(self, fault: tuple[str, float], *, step: int, rows: Sequence[str]) -> None:
        """Count a step that is not made.

        Args:
            fault: Name and value of what is not finite.
            step: Number of the step, counted from 1.
            rows: Keys of the rows to look at.

        Raises:
            TrainingError: It is the third in a row.
        """
        self.num_skipped_in_a_row += 1
        if self.num_skipped_in_a_row >= MAX_SKIPPED_IN_A_ROW:
            name, value = fault
            raise TrainingError(
                "TRN005",
                f"the {name} is {value}, as in the {MAX_SKIPPED_IN_A_ROW - 1} steps before; rows "
                f"to look at: {shown(rows)}",
                where=f"step {step}",
                hint="None of these updates was made; lower learning_rate, or look at the rows",
            )

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the recent losses and the count."""
        return {
            "num_skipped_in_a_row": self.num_skipped_in_a_row,
            "losses": cast("Json", list(self._losses)),
        }

    def load_state(self, state: dict[str, Json], /) -> None:
        """Take over the past of a checkpoint."""
        self.num_skipped_in_a_row = cast("int", state["num_skipped_in_a_row"])
        self._losses = deque(cast("Iterable[float]", state["losses"]), maxlen=_WINDOW)

    def _spike(self, loss: float) -> float | None:
        if len(self._losses) < _MIN_WINDOW:
            return None
        mean = statistics.fmean(self._losses)
        deviation = statistics.pstdev(self._losses, mean)
        if loss <= mean * _MIN_SPIKE_RATIO or loss <= mean + _SPIKE_SIGMAS * deviation:
            return None
        return (loss - mean) / max(deviation, 1e-12)


def shown(rows: Sequence[str]) -> str:
    """Return the first rows and how many more there are, for a message."""
    more = len(rows) - _SHOWN_ROWS
    return ", ".join(rows[:_SHOWN_ROWS]) + (f" and {more} more" if more > 0 else "") or "none"
