"""Per-task sums of loss and tokens, kept on the device and read only when something is logged.

B rows, T tokens, S = T - 1 predictions, K tasks
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

_NUM_SUMS = 4
_LOSS, _CORRECT, _ANSWER_TOKENS, _ALL_TOKENS = range(_NUM_SUMS)


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStatistics:
    """What one task contributed since the meter was last emptied."""

    loss: float
    """Mean negative log-likelihood per answer token, in nats; 0 without answer tokens."""
    token_accuracy: float
    """Share of answer tokens that were the likeliest one, 0-1."""
    num_answer_tokens: int
    """Tokens that carried loss."""
    num_tokens: int
    """All tokens, without padding."""


class TaskMeter:
    """Adds up token losses by task.

    Sums are float64, so the order of batches and processes does not show in the logged digits.
    """

    def __init__(self, task_names: Sequence[str], device: torch.device) -> None:
        """Start with all sums at zero."""
        self.task_names = tuple(task_names)
        # One column more takes everything that belongs to no task.
        shape = (_NUM_SUMS, len(self.task_names) + 1)
        self._sums_SK = torch.zeros(shape, dtype=torch.float64, device=device)

    def add(
        self,
        token_loss_BS: Tensor,
        is_correct_BS: Tensor,
        label_mask_BS: Tensor,
        task_ids_BT: Tensor,
    ) -> None:
        """Add one forward pass.

        Args:
            token_loss_BS: Loss of every predicted token, 0 where it carries none.
            is_correct_BS: Whether the token was the likeliest.
            label_mask_BS: Whether the token carries loss.
            task_ids_BT: Task of every token; ids outside the list are padding.
        """
        num_tasks = len(self.task_names)
        inside_BT = (task_ids_BT >= 0) & (task_ids_BT < num_tasks)
        column_BT = torch.where(inside_BT, task_ids_BT, num_tasks)
        rows_RN = torch.stack((token_loss_BS.detach(), is_correct_BS, label_mask_BS)).flatten(1)
        rows_RN = rows_RN.double() * label_mask_BS.flatten()
        self._sums_SK[:_ALL_TOKENS].index_add_(1, column_BT[:, 1:].flatten(), rows_RN)
        ones_N = torch.ones_like(column_BT, dtype=torch.float64).flatten()
        self._sums_SK[_ALL_TOKENS].index_add_(0, column_BT.flatten(), ones_N)

    def sums(self) -> Tensor:
        """Return a copy of the sums, `[4, K + 1]`."""
        return self._sums_SK.clone()

    def restore(self, earlier_SK: Tensor) -> None:
        """Go back to what `sums` returned then."""
        self._sums_SK.copy_(earlier_SK)

    def loss_since(self, earlier_SK: Tensor) -> tuple[Tensor, Tensor]:
        """Return summed loss and number of answer tokens since `earlier_SK`, on the device."""
        added_SK = self._sums_SK - earlier_SK
        return added_SK[_LOSS].sum(), added_SK[_ANSWER_TOKENS].sum()

    def tasks_since(
        self, earlier_SK: Tensor, reduce: Callable[[Tensor], Tensor] | None = None
    ) -> list[str]:
        """Return the tasks with a non-finite loss since `earlier_SK`; if none, all tasks seen.

        Args:
            earlier_SK: What `sums` returned then.
            reduce: Adds the sums up over processes; all of them must call it.
        """
        added_SK = self._sums_SK - earlier_SK
        loss_K, _, _, tokens_K = (reduce(added_SK) if reduce else added_SK)[:, :-1].tolist()
        per_task = list(zip(self.task_names, loss_K, tokens_K, strict=True))
        broken = [name for name, loss, _ in per_task if not math.isfinite(loss)]
        return broken or [name for name, _, tokens in per_task if tokens]

    def drain(self, reduce: Callable[[Tensor], Tensor] | None = None) -> dict[str, TaskStatistics]:
        """Return the statistics of the tasks that were seen, and set all sums to zero.

        Args:
            reduce: Adds the sums up over processes; all of them must call it.
        """
        sums_SK = self.sums() if reduce is None else reduce(self.sums())
        self._sums_SK.zero_()
        columns = zip(self.task_names, *sums_SK[:, :-1].tolist(), strict=True)
        return {
            name: TaskStatistics(
                loss=loss / max(num_answer_tokens, 1),
                token_accuracy=correct / max(num_answer_tokens, 1),
                num_answer_tokens=int(num_answer_tokens),
                num_tokens=int(num_tokens),
            )
            for name, loss, correct, num_answer_tokens, num_tokens in columns
            if num_tokens
        }
