"""The routed layers of a model: what their tokens were counted to, and the balance that follows.

E experts
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from pipeline.adapters.load_counts import LayerLoad
from pipeline.adapters.routed_layer import RoutedLinear
from pipeline.adapters.routing_plan import BIAS_UNITS

Reduce = Callable[[Tensor], Tensor]
"""Adds a tensor up over all processes; every process must call it."""


def routed_layers(model: nn.Module) -> list[tuple[str, str, RoutedLinear]]:
    """Return name, adapter and layer of every layer of the family, in the order of the model."""
    return [
        (name, adapter, module)
        for name, module in model.named_modules()
        if isinstance(module, RoutedLinear)
        for adapter in module.plans
    ]


def drain_loads(model: nn.Module, reduce: Reduce | None = None) -> list[LayerLoad]:
    """Return the loads of all layers by active adapters since the last call, and empty all tables.

    Args:
        model: With an adapter of the family.
        reduce: Adds up over processes, in one call for all layers.
    """
    layers = []
    for name, adapter, layer in routed_layers(model):
        if adapter not in layer.active_adapters:
            layer.loads[adapter].clear()
        elif layer.plans[adapter].has_logits:
            layers.append((name, adapter, layer))
    if not layers:
        return []
    tables = [layer.loads[each].sums(layer.weight_of(each).device) for _, each, layer in layers]
    flat = torch.cat([table[:-1].flatten().to(tables[0].device) for table in tables])
    flat = (flat if reduce is None else reduce(flat)).cpu()
    for _, adapter, layer in layers:
        layer.loads[adapter].clear()
    parts = torch.split(flat, [table[:-1].numel() for table in tables])
    return [
        LayerLoad(
            layer=name,
            adapter=adapter,
            plan=layer.plans[adapter],
            by_task=part.view(-1, layer.plans[adapter].num_experts),
        )
        for (name, adapter, layer), part in zip(layers, parts, strict=True)
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
    by_layer = {(load.layer, load.adapter): load for load in loads}
    configs = getattr(model, "peft_config", {})
    for name, adapter, layer in routed_layers(model):
        load, config = by_layer.get((name, adapter)), configs.get(adapter)
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
