"""Ends a run whose tasks have stopped improving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, cast

from transformers import TrainerCallback

from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

BestMetric = Literal["macro", "worst", "weighted"]

METRICS: dict[BestMetric, str] = {
    "macro": "eval_macro_loss",
    "worst": "eval_worst_loss",
    "weighted": "eval_loss",
}
"""Plain mean over tasks, the worst task, and the mean over answer tokens."""


class EarlyStopping(TrainerCallback):
    """Stops after so many evaluations in a row without a new best; a part of each checkpoint.

    transformers' own callback forgets its count at a resume.
    """

    def __init__(self, metric: BestMetric, patience: int) -> None:
        """Watch one number.

        Args:
            metric: Which summary of the tasks' losses.
            patience: Evaluations without improvement after which the run ends.
        """
        self._metric = METRICS[metric]
        self._patience = patience
        self._best: float | None = None
        self._num_worse = 0

    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Stop at once where the run had ended when the checkpoint was made."""
        control.should_training_stop |= self._num_worse >= self._patience

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Compare with the best so far."""
        value = (metrics or {}).get(self._metric)
        if value is None:
            return
        if self._best is None or value < self._best:
            self._best, self._num_worse = value, 0
            return
        self._num_worse += 1
        if self._num_worse >= self._patience:
            control.should_training_stop = True

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the best value and how many evaluations came after it."""
        return {"best": self._best, "num_worse": self._num_worse}

    def load_state(self, state: dict[str, Json], /) -> None:
        """Go on counting where a checkpoint stood."""
        self._best = cast("float | None", state["best"])
        self._num_worse = cast("int", state["num_worse"])
