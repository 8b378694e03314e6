"""How often experts are used, counted exactly once.

T tasks, E experts, N tokens, K experts per token
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pipeline.adapters.routing import Gating
from pipeline.adapters.routing_plan import RoutingPlan


class LoadTable:
    """Uses of each expert by each task since the table was last emptied.

    Not a buffer: engines copy buffers from the first process to the others. Sums are float64,
    exact for counts, so their order does not show.
    """

    def __init__(self, num_tasks: int, num_experts: int) -> None:
        """Start empty."""
        self._shape = (num_tasks + 2, num_experts)
        self._sums = torch.zeros(self._shape, dtype=torch.float64)

    def add(self, rows_N: Tensor, gating: Gating) -> None:
        """Add one backward pass.

        Args:
            rows_N: Row of each token, from `BatchTasks.count_rows`.
            gating: Selected experts are counted; where all are used, gates are summed instead.
        """
        index_NK, gates = gating
        sums = self.sums(rows_N.device)
        if index_NK is not None:
            place = (rows_N[:, None] * self._shape[1] + index_NK).flatten()
            sums.view(-1).scatter_add_(0, place, torch.ones_like(place, dtype=sums.dtype))
        elif gates is not None:
            values = gates.detach().double().expand(rows_N.shape[0], -1)
            sums.index_add_(0, rows_N, values)

    def sums(self, device: torch.device) -> Tensor:
        """Return the table itself, float64 `[T + 2, E]`; the last rows: no task, padding."""
        if self._sums.device != device:
            self._sums = torch.zeros(self._shape, dtype=torch.float64, device=device)
        return self._sums

    def clear(self) -> None:
        """Set all sums to zero."""
        self._sums.zero_()


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLoad:
    """Use of one layer's experts in one optimizer step, over all processes, without padding."""

    layer: str
    adapter: str = "default"
    """Name of the adapter in PEFT."""
    plan: RoutingPlan
    by_task: Tensor
    """float64 `[T + 1, E]` on the CPU: tokens where experts are selected, else summed gates; the
    last row holds tokens without a task."""

    @property
    def name(self) -> str:
        """The layer, and the adapter where it is not the usual one."""
        return self.layer if self.adapter == "default" else f"{self.layer}.{self.adapter}"

    @property
    def total(self) -> Tensor:
        """Use of each expert by all tokens, `[E]`."""
        return self.by_task.sum(dim=0)

    @property
    def num_idle(self) -> int:
        """Experts that no token used."""
        return int((self.total == 0).sum())

    @property
    def violation(self) -> float:
        """Largest load over the mean load, minus 1; 0 for perfect balance."""
        mean = float(self.total.mean())
        return float(self.total.max()) / mean - 1 if mean else 0.0

    @property
    def entropy(self) -> Tensor:
        """Entropy of each task's load over experts, in nats, `[T + 1]`; 0 without tokens."""
        share = self.by_task / self.by_task.sum(dim=1, keepdim=True).clamp_min(1e-12)
        return -(share * share.clamp_min(1e-300).log()).sum(dim=1)
