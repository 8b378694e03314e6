"""How the experts of a trained adapter are used on evaluated rows."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from torch import nn

from pipeline.adapters.batch_tasks import active_task_names
from pipeline.adapters.health import LoadTotals, write_routing_report
from pipeline.adapters.model_loads import drain_loads, routed_layers

EVALUATED_ROUTING_FILE = "evaluated_routing.json"
"""In the folder of an evaluation; the form is that of a training run's `routing.json`."""


@contextlib.contextmanager
def counted_evaluation(model: nn.Module) -> Iterator[LoadTotals]:
    """Count the tokens that pass in evaluation mode, padding aside.

    Args:
        model: With any adapters, of which those without a learned router count nothing.

    Yields:
        What is filled in when the block ends.
    """
    layers = [layer for _, _, layer in routed_layers(model)]
    totals = LoadTotals()
    for layer in layers:
        layer.counts_evaluation = True
    try:
        yield totals
    finally:
        for layer in layers:
            layer.counts_evaluation = False
        totals.add(drain_loads(model))


def write_evaluated_routing(
    folder: Path, model: nn.Module, totals: LoadTotals, adapter_weights: Path
) -> None:
    """Write the report of an evaluation; nothing where no token passed a learned router.

    Args:
        folder: Of the evaluation.
        model: From which the totals are.
        totals: Of the rows that this process answered.
        adapter_weights: The adapter's safetensors file.

    Raises:
        OutputError: The file cannot be written.
    """
    if any(float(load.total.sum()) for load in totals.by_layer.values()):
        names = active_task_names(model)
        write_routing_report(folder / EVALUATED_ROUTING_FILE, totals, names, adapter_weights)
