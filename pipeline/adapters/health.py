"""Whether the experts of a routed adapter are used as they should be.

Three faults are told apart, with the thresholds of HoME's expert pathologies (arXiv:2408.05430):

    collapse       an expert's output is far larger than the others', or next to nothing
    degradation    an expert open to all tasks serves a single one
    underfitting   an expert gets far less than its share; or a task with little data leaves the
                   experts of its own group unused

    T tasks, E experts, R rows of A, C columns of B
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, cast

import torch
from torch import Tensor

from pipeline.adapters.load_counts import LayerLoad
from pipeline.adapters.routing_plan import RoutingPlan
from pipeline.files import write_text
from pipeline.types import Json

COLLAPSE_RATIO = 5.0
"""Size of an expert's output over the median of its layer."""
NEAR_ZERO_RATIO = 1e-3
"""The same, below which an expert does nothing."""
ONE_TASK_SHARE = 0.8
"""Share of one task in the use of an expert."""
STARVED_SHARE = 0.1
"""Share of its fair load, or of a task's load on its own group."""
MIN_TASKS = 3
"""Of fewer tasks one uses most of any expert by chance."""
MIN_TOKENS = 30.0
"""Mean load of an expert, by all tasks or by the one in question, below which nothing is said."""
SMALL_TASK_QUANTILE = 0.25

Fault = Literal["collapse", "degradation", "underfitting"]


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFlag:
    """One fault in one layer."""

    fault: Fault
    layer: str
    experts: tuple[int, ...]
    """Experts it is about, counted from 0 behind the always-on ranks."""
    task: str | None = None
    """Task it is about."""
    value: float
    """The worst of what was measured."""
    threshold: float

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        own = {"experts": list(self.experts), "value": round(self.value, 4)}
        return cast("dict[str, Json]", {**asdict(self), **own})


class LoadTotals:
    """Loads of all layers, added up over steps."""

    def __init__(self) -> None:
        """Start empty."""
        self.by_layer: dict[str, LayerLoad] = {}
        self.num_steps = 0

    def add(self, loads: Sequence[LayerLoad]) -> None:
        """Add one optimizer step."""
        self.num_steps += 1
        for load in loads:
            before = self.by_layer.get(load.name)
            table = load.by_task if before is None else before.by_task + load.by_task
            self.by_layer[load.name] = replace(load, by_task=table)

    def summary(self) -> dict[str, float]:
        """Return a few numbers for all layers.

        Returns:
            `routing_idle_share`, experts without a token; `routing_entropy`, mean over layers of
            the entropy of the load over experts, in nats; `routing_violation`, the largest over
            layers of the largest load over the mean, minus 1. Empty before the first step.
        """
        loads = list(self.by_layer.values())
        if not loads:
            return {}
        num_experts = sum(load.plan.num_experts for load in loads)
        entropies = [float(_entropy(load.total)) for load in loads]
        return {
            "routing_idle_share": sum(load.num_idle for load in loads) / num_experts,
            "routing_entropy": sum(entropies) / len(entropies),
            "routing_violation": max(load.violation for load in loads),
        }


def routing_report(
    totals: LoadTotals, task_names: Sequence[str], strengths: Mapping[str, Tensor] | None = None
) -> dict[str, Json]:
    """Return loads, entropies and faults of all layers as JSON.

    Args:
        totals: Loads of a run.
        task_names: Names of the rows of the tables.
        strengths: From `expert_strengths`, for each layer; without them nothing collapses.
    """
    strengths = strengths or {}
    layers: list[Json] = []
    flags: list[HealthFlag] = []
    for load in totals.by_layer.values():
        strength_E = strengths.get(load.layer)
        layers.append(_layer_json(load, strength_E))
        flags += find_faults(load, task_names, strength_E)
    return {
        "num_steps": totals.num_steps,
        "tasks": list(task_names),
        "flags": [flag.to_json() for flag in flags],
        "layers": layers,
    }


def write_routing_report(
    path: Path, totals: LoadTotals, task_names: Sequence[str], adapter_weights: Path
) -> None:
    """Write `routing_report` to a file.

    Args:
        path: The file.
        totals: Loads of a run.
        task_names: Names of the rows of the tables.
        adapter_weights: The adapter's safetensors file, for the size of the experts' outputs.

    Raises:
        OutputError: The file cannot be written.
    """
    report = routing_report(totals, task_names, _read_strengths(totals, adapter_weights))
    # On one line: tables of many layers would be a hundred thousand lines.
    write_text(path, json.dumps(report, ensure_ascii=False) + "\n")


def _read_strengths(totals: LoadTotals, file: Path) -> dict[str, Tensor]:
    from safetensors import safe_open

    found = {}
    with safe_open(file, framework="pt") as stored:
        names = set(stored.keys())
        for layer, load in totals.by_layer.items():
            wanted = [f"{layer}.routed_{part}.weight" for part in "AB"]
            weights = {name: stored.get_tensor(name) for name in wanted if name in names}
            strength = expert_strengths(weights, layer, load.plan)
            if strength is not None:
                found[layer] = strength
    return found


def find_faults(
    load: LayerLoad, task_names: Sequence[str], strength_E: Tensor | None = None
) -> list[HealthFlag]:
    """Return the faults of one layer.

    Args:
        load: Its loads.
        task_names: Names of the tasks.
        strength_E: Size of each expert's output; `None` where it is not known.
    """
    found = [] if strength_E is None else _collapsed(load, strength_E)
    if float(load.total.mean()) >= MIN_TOKENS:
        found += _degraded(load, task_names) + _starved(load) + _unused_groups(load, task_names)
    return found


def expert_strengths(weights: Mapping[str, Tensor], layer: str, plan: RoutingPlan) -> Tensor | None:
    """Return the root mean square of each expert's output for inputs of unit variance, `[E]`.

    Without its gate: `|B_e A_e|` by Frobenius over the square root of the number of outputs.

    Args:
        weights: Of a saved adapter, by their names there.
        layer: Name of the layer.
        plan: Its shape.

    Returns:
        float32; `None` where the file lacks the layer.
    """
    a = weights.get(f"{layer}.routed_A.weight")
    b = weights.get(f"{layer}.routed_B.weight")
    if a is None or b is None:
        return None
    a_RI, b_OC = a.float(), b.float()
    num_outputs = b_OC.shape[0]
    if plan.num_copies > 1:
        b_EOP = b_OC.reshape(num_outputs, plan.num_copies, plan.num_ranks).transpose(0, 1)
        a_EPI = a_RI.expand(plan.num_experts, -1, -1)
    else:
        b_EOP = b_OC[:, plan.num_shared :].reshape(num_outputs, plan.num_experts, -1)
        b_EOP = b_EOP.transpose(0, 1)
        a_EPI = a_RI[plan.num_shared :].reshape(plan.num_experts, plan.block_size, -1)
    # tr((B'B)(AA')), so that no matrix of outputs by inputs is made.
    inner_EPP = b_EOP.transpose(1, 2) @ b_EOP
    outer_EPP = a_EPI @ a_EPI.transpose(1, 2)
    square_E = (inner_EPP * outer_EPP).sum(dim=(1, 2)).clamp_min(0)
    return (square_E / num_outputs).sqrt()


def _collapsed(load: LayerLoad, strength_E: Tensor) -> list[HealthFlag]:
    used_E = load.total > 0
    # Experts that nothing has used yet have B at zero; they are told as starved.
    median = float(strength_E[used_E].median()) if bool(used_E.any()) else 0.0
    if median <= 0:
        return []
    ratio_E = torch.where(used_E, strength_E / median, torch.ones_like(strength_E))
    extremes = (
        (ratio_E > COLLAPSE_RATIO, ratio_E.max(), COLLAPSE_RATIO),
        (ratio_E < NEAR_ZERO_RATIO, ratio_E.min(), NEAR_ZERO_RATIO),
    )
    return [
        HealthFlag(
            fault="collapse",
            layer=load.layer,
            experts=_numbers(is_faulty_E),
            value=float(worst),
            threshold=threshold,
        )
        for is_faulty_E, worst, threshold in extremes
        if bool(is_faulty_E.any())
    ]


def _degraded(load: LayerLoad, task_names: Sequence[str]) -> list[HealthFlag]:
    # With a router of tasks, experts of single tasks are what was asked for.
    table_TE = load.by_task[:-1]
    # The few tokens of a tiny task are on one expert or another by chance.
    is_large_T = table_TE.mean(dim=1) >= MIN_TOKENS
    tasks = _numbers(is_large_T)
    if load.plan.router != "token" or len(tasks) < MIN_TASKS:
        return []
    # As if all tasks had the same number of tokens: a large task uses most of every expert.
    share_TE = table_TE / table_TE.sum(dim=1, keepdim=True).clamp_min(1e-12) * is_large_T[:, None]
    share_TE = share_TE / share_TE.sum(dim=0, keepdim=True).clamp_min(1e-12)
    is_open_E = torch.arange(load.plan.num_experts) < _num_open(load.plan)
    # What hardly anybody uses is starved; its few tokens may well be of one task.
    is_judged_E = is_open_E & (load.total >= STARVED_SHARE * load.total.mean())
    flags = []
    for task in tasks:
        experts = _numbers(is_judged_E & (share_TE[task] > ONE_TASK_SHARE))
        if experts:
            flag = HealthFlag(
                fault="degradation",
                layer=load.layer,
                experts=experts,
                task=task_names[task],
                value=float(share_TE[task, list(experts)].max()),
                threshold=ONE_TASK_SHARE,
            )
            flags.append(flag)
    return flags


def _starved(load: LayerLoad) -> list[HealthFlag]:
    ratio_E = torch.ones(load.plan.num_experts, dtype=torch.float64)
    num_open = _num_open(load.plan)
    open_load = load.total[:num_open]
    if num_open and float(open_load.mean()) > 0:
        ratio_E[:num_open] = open_load / open_load.mean()
    experts = _numbers(ratio_E < STARVED_SHARE)
    if not experts:
        return []
    worst = float(ratio_E.min())
    return [
        HealthFlag(
            fault="underfitting",
            layer=load.layer,
            experts=experts,
            value=worst,
            threshold=STARVED_SHARE,
        )
    ]


def _unused_groups(load: LayerLoad, task_names: Sequence[str]) -> list[HealthFlag]:
    plan = load.plan
    tokens_T = load.by_task[:-1].sum(dim=1)
    present_T = tokens_T[tokens_T > 0]
    if not plan.group_sizes or not present_T.numel():
        return []
    few = float(torch.quantile(present_T, SMALL_TASK_QUANTILE))
    private = plan.segments[-len(plan.group_sizes) :]
    flags = []
    for task, group in enumerate(plan.group_of_task):
        tokens = float(tokens_T[task])
        if group < 0 or not 0 < tokens <= few:
            continue
        first, last = private[group]
        own = float(load.by_task[task, first:last].sum()) / tokens
        if own < STARVED_SHARE:
            flag = HealthFlag(
                fault="underfitting",
                layer=load.layer,
                experts=tuple(range(first, last)),
                task=task_names[task],
                value=own,
                threshold=STARVED_SHARE,
            )
            flags.append(flag)
    return flags


def _layer_json(load: LayerLoad, strength_E: Tensor | None) -> dict[str, Json]:
    plan = load.plan
    shown = None if strength_E is None else [float(f"{v:.4g}") for v in strength_E.tolist()]
    return {
        "layer": load.layer,
        "router": plan.router,
        "num_experts": plan.num_experts,
        "block_size": plan.block_size,
        "num_active": plan.num_active,
        "num_shared_ranks": plan.num_shared,
        "num_private_experts": sum(plan.group_sizes),
        "num_idle": load.num_idle,
        "violation": round(load.violation, 4),
        "entropy": [round(value, 4) for value in load.entropy.tolist()],
        "by_task": [[round(value, 1) for value in row] for row in load.by_task.tolist()],
        "strength": cast("Json", shown),
    }


def _entropy(load_E: Tensor) -> Tensor:
    share_E = load_E / load_E.sum().clamp_min(1e-12)
    return -(share_E * share_E.clamp_min(1e-300).log()).sum()


def _num_open(plan: RoutingPlan) -> int:
    return plan.num_experts - sum(plan.group_sizes)


def _numbers(mask: Tensor) -> tuple[int, ...]:
    return tuple(int(number) for number in torch.nonzero(mask).flatten())
