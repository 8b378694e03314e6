"""Mixture rates that follow the training loss: reads the logs, changes the batches.

An update after step s takes effect at the first window of draws that begins after step
s + update_steps. By then no process has fetched it, so neither the number of processes nor of
loader workers shows in what is drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from accelerate.utils import broadcast_object_list
from transformers import TrainerCallback

from pipeline.mixture.build import highest_rates, run_length
from pipeline.mixture.excess_loss import ExcessLossRates
from pipeline.training.data import mixture_settings
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments

    from pipeline.mixture.batches import TrainingBatches
    from pipeline.recipe import Recipe


class DynamicRates(TrainerCallback):
    """Changes the rates every few steps; a part of each checkpoint.

    Goes before the callback that writes metrics, which then have `mixture_rate/<task>` too: the
    rates that the logged step was drawn at.
    """

    def __init__(
        self, batches: TrainingBatches, policy: ExcessLossRates, *, update_steps: int
    ) -> None:
        """Start with the rates of the batches.

        Args:
            batches: Whose rates change.
            policy: From losses to rates.
            update_steps: Optimizer steps between two updates.
        """
        self._batches = batches
        self._policy = policy
        self._update_steps = update_steps
        self._names = [task.name for task in batches.plan.tasks]
        self._loss_sums = dict.fromkeys(self._names, 0.0)
        self._num_tokens = dict.fromkeys(self._names, 0)

    def on_step_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Ask for a log where an update is due, so that the losses of all steps are known."""
        if state.global_step % self._update_steps == 0:
            control.should_log = True

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Add up the losses of a log, which are those of all processes; update when it is time."""
        if logs is None or "loss" not in logs:
            return
        for name in self._names:
            num_tokens = int(logs.get(f"task_answer_tokens/{name}", 0))
            if num_tokens:
                self._loss_sums[name] += logs[f"task_loss/{name}"] * num_tokens
                self._num_tokens[name] += num_tokens
        if state.global_step % self._update_steps == 0:
            # Those of the step that is logged: what follows from its loss is drawn at later.
            rates = self._batches.rates_at(state.global_step - 1)
            self._update(state.global_step)
            logs |= {f"mixture_rate/{n}": r for n, r in zip(self._names, rates, strict=True)}

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the policy's state and the losses since its last update."""
        return {
            "policy": self._policy.state(),
            "loss_sums": cast("Json", self._loss_sums),
            "num_tokens": cast("Json", self._num_tokens),
        }

    def load_state(self, state: dict[str, Json], /) -> None:
        """Go on where `state` was taken."""
        self._policy.load_state(cast("list[Json]", state["policy"]))
        self._loss_sums = dict(cast("dict[str, float]", state["loss_sums"]))
        self._num_tokens = dict(cast("dict[str, int]", state["num_tokens"]))

    def _update(self, step: int) -> None:
        rates = self._policy.update(
            [
                self._loss_sums[name] / self._num_tokens[name] if self._num_tokens[name] else None
                for name in self._names
            ]
        )
        # Machines of different makes may differ in the last digit of an exponential.
        rates, state = broadcast_object_list([rates, self._policy.state()])
        self._policy.load_state(state)
        self._loss_sums = dict.fromkeys(self._names, 0.0)
        self._num_tokens = dict.fromkeys(self._names, 0)
        if step + self._update_steps < self._batches.num_steps:
            self._batches.change_rates(step + self._update_steps, rates)


def dynamic_rates(recipe: Recipe, batches: TrainingBatches) -> DynamicRates | None:
    """Return what changes the rates of a run, if its recipe asks for it."""
    dynamic = recipe.mixture.dynamic
    if dynamic is None:
        return None
    tasks, rates = batches.plan.tasks, batches.plan.schedule.rates.tolist()
    most = recipe.mixture.max_epochs_per_task
    length = run_length(tasks, mixture_settings(recipe), batches.shape)
    policy = ExcessLossRates(
        rates,
        [dynamic.reference_losses[task.name] for task in tasks],
        step_size=dynamic.step_size,
        highest_rates=None if most is None else highest_rates(tasks, length, most),
    )
    return DynamicRates(batches, policy, update_steps=dynamic.update_steps)
