"""How a run used the experts of its adapter: numbers in the metrics, all loads in `routing.json`.

Loads are those of `AdapterRouting`: summed over processes, without padding, every token once. They
are part of the checkpoints, so that a resumed run writes what an uninterrupted one writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers import TrainerCallback

from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE
from pipeline.adapters.health import LoadTotals, write_routing_report
from pipeline.adapters.load_counts import LayerLoad
from pipeline.adapters.routing_plan import RoutingPlan
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import TrainerControl, TrainerState, TrainingArguments


class RoutingRecord(TrainerCallback):
    """Adds loads up: since the last log for the metrics, over the run for the report."""

    def __init__(self, task_names: Sequence[str]) -> None:
        """Know the names of the tasks, in the order of their numbers."""
        self._task_names = list(task_names)
        self._totals = LoadTotals()
        self._window = LoadTotals()

    def on_loads(self, step: int, loads: list[LayerLoad]) -> None:
        """Take the loads of one optimizer step; for `MultiTaskTrainer(on_loads=...)`."""
        self._totals.add(loads)
        self._window.add(loads)

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,  # noqa: ANN401 - transformers' signature
    ) -> None:
        """Add the numbers of the steps since the last log to one of training steps."""
        if logs is not None and "loss" in logs:
            logs |= {name: round(value, 4) for name, value in self._window.summary().items()}
            self._window = LoadTotals()

    def state(self, num_completed_steps: int, /) -> dict[str, Json]:
        """Return the loads so far, and those since the last log."""
        return {"run": _to_json(self._totals), "window": _to_json(self._window)}

    def load_state(self, state: dict[str, Json], /) -> None:
        """Go on where `state` was taken."""
        self._totals = _from_json(cast("dict[str, Any]", state["run"]))
        self._window = _from_json(cast("dict[str, Any]", state["window"]))

    def write(self, path: Path, adapter: Path) -> None:
        """Write the report; nothing where no router learned anything, as in `mtlora`.

        Args:
            path: The file.
            adapter: PEFT folder of the trained adapter, for the size of the experts' outputs.

        Raises:
            OutputError: The file cannot be written.
        """
        if not self._totals.by_layer:
            return
        weights = adapter / ADAPTER_WEIGHTS_FILE
        write_routing_report(path, self._totals, self._task_names, weights)


def _to_json(totals: LoadTotals) -> Json:
    layers = [
        {
            "layer": load.layer,
            "adapter": load.adapter,
            "plan": asdict(load.plan),
            "by_task": load.by_task.tolist(),
        }
        for load in totals.by_layer.values()
    ]
    return cast("Json", {"num_steps": totals.num_steps, "layers": layers})


def _from_json(value: dict[str, Any]) -> LoadTotals:
    totals = LoadTotals()
    totals.num_steps = int(value["num_steps"])
    for item in value["layers"]:
        fields = dict(item["plan"])
        for name in ("group_of_task", "group_sizes"):
            fields[name] = tuple(fields[name])
        table = torch.tensor(item["by_task"], dtype=torch.float64)
        load = LayerLoad(
            layer=item["layer"],
            adapter=item.get("adapter", "default"),
            plan=RoutingPlan(**fields),
            by_task=table,
        )
        totals.by_layer[load.name] = load
    return totals
