"""How often experts are used, counted exactly once, and the balance bias that follows from it.

L layers, T tasks, E experts, N tokens, K experts per token
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from pipeline.adapters.routing import Gating
from pipeline.adapters.routing_plan import BIAS_UNITS, RoutingPlan

if TYPE_CHECKING:
    from pipeline.adapters.routed_layer import RoutedLinear

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes; every process must call it."""


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
    plan: RoutingPlan
    by_task: Tensor
    """float64 `[T + 1, E]` on the CPU: tokens where experts are selected, else summed gates; the
    last row holds tokens without a task."""

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


def routed_layers(model: nn.Module) -> list[tuple[str, str, RoutedLinear]]:
    """Return name, adapter and layer of every layer of the family, in the order of the model."""
    from pipeline.adapters.routed_layer import RoutedLinear

    return [
        (name, adapter, module)
        for name, module in model.named_modules()
        if isinstance(module, RoutedLinear)
        for adapter in module.plans
    ]


def drain_loads(model: nn.Module, reduce: Reduce | None = None) -> list[LayerLoad]:
    """Return the loads of all layers since the last call, and empty the tables.

    Args:
        model: With an adapter of the family.
        reduce: Adds up over processes, in one call for all layers.
    """
    layers = [
        (name, layer.loads[adapter], layer.plans[adapter], layer.weight_of(adapter).device)
        for name, adapter, layer in routed_layers(model)
        if layer.plans[adapter].has_logits
    ]
    if not layers:
        return []
    tables = [table.sums(device) for _, table, _, device in layers]
    flat = torch.cat([table[:-1].flatten().to(tables[0].device) for table in tables])
    flat = (flat if reduce is None else reduce(flat)).cpu()
    for _, table, _, _ in layers:
        table.clear()
    parts = torch.split(flat, [table[:-1].numel() for table in tables])
    return [
        LayerLoad(layer=name, plan=plan, by_task=part.view(-1, plan.num_experts))
        for (name, _, plan, _), part in zip(layers, parts, strict=True)
    ]


def balance_biases(model: nn.Module) -> dict[str, Tensor]:
    """Return the balance biases under their names in the model; they are no parameters."""
    return {
        f"{name}.routed_bias.{adapter}": layer.routed_bias[adapter]
        for name, adapter, layer in routed_layers(model)
        if adapter in layer.routed_bias
    }


def load_tables(model: nn.Module) -> list[Tensor]:
    """Return the tables of all layers as they are, to be copied or put back."""
    return [
        layer.loads[adapter].sums(layer.weight_of(adapter).device)
        for _, adapter, layer in routed_layers(model)
        if layer.plans[adapter].has_logits
    ]


def update_balance(model: nn.Module, loads: list[LayerLoad], *, progress: float = 0.0) -> None:
    """Move each balance bias one step towards equal use of the experts that compete.

    Args:
        model: With the layers that the loads come from.
        loads: From `drain_loads`.
        progress: Share of the run that is done; late in a run the bias stands still.

    An expert used more than the mean loses `balance_rate`, one used less gains it; with
    `balance_centred` the mean of the step is taken off, so that the bias does not drift.
    """
    by_layer = {load.layer: load for load in loads}
    configs = getattr(model, "peft_config", {})
    for name, adapter, layer in routed_layers(model):
        load, config = by_layer.get(name), configs.get(adapter)
        if load is None or config is None or adapter not in layer.routed_bias:
            continue
        if progress > config.balance_until:
            continue
        if config.balance_rate > 0 and adapter in layer.active_adapters:
            step = balance_step(
                load.total,
                load.plan.segments,
                rate=config.balance_rate,
                centred=config.balance_centred,
            )
            bias: Tensor = layer.routed_bias[adapter]
            bias.add_(step.to(bias.device))


def balance_step(
    load_E: Tensor, segments: list[tuple[int, int]], *, rate: float, centred: bool
) -> Tensor:
    """Return the step of a balance bias, int32 `[E]` in its own units.

    Args:
        load_E: Use of each expert.
        segments: Ranges of experts that compete with each other.
        rate: Size of the step.
        centred: Whether the steps of a range sum to about zero.
    """
    units = round(rate * BIAS_UNITS)
    step_E = torch.zeros(load_E.shape[0], dtype=torch.int32)
    for first, last in segments:
        part = load_E[first:last]
        delta = torch.sign(part.mean() - part) * units
        if centred:
            delta = delta - delta.mean()
        step_E[first:last] = delta.round().to(torch.int32)
    return step_E
