"""The formulas of the family, as differentiable functions of a layer's tensors.

    N tokens, R rows of A, E experts, K experts per token, C columns of B

Per token: `h = A x`, logits `l` from `R x` (or `R h`, or a row per task), selection of K experts by
score plus balance bias, gates `g` from the scores alone, `u = g * h`, update `scaling * B u`.
Selection and gates of rank-1 experts: "Each Rank Could be an Expert", arXiv:2501.15103, with the
bias rule of DeepSeek-V3 (arXiv:2412.19437), where the bias selects and nothing else.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor

from pipeline.adapters.routing_plan import BIAS_UNITS, RoutingPlan

_EPSILON = 1e-6
_SMALLEST_SUM = 1e-20
"""Keeps the gates finite where all selected sigmoids underflow."""


class Extras(NamedTuple):
    """Tensors of a layer besides A, B and router; `None` where the plan has no use for them."""

    mixing: Tensor | None = None
    """Between A and B: `[tasks, R, R]`, or `[tasks, R]` on the diagonal."""
    feature_gate: Tensor | None = None
    """`[R, R]`, zero at the start."""
    bias: Tensor | None = None
    """Balance bias, int32 `[E]`."""
    task_ids: Tensor | None = None
    """Task of each token, int64 `[N]`; -1 for none."""


class Gating(NamedTuple):
    """What the router decided."""

    index_NK: Tensor | None  # noqa: N815 - dimensions are capital
    """Selected experts, int64; `None`: all of them."""
    gates: Tensor | None
    """float32 `[N, K]`, or `[N, E]` where all experts are used; `None`: there are no experts."""


def task_rows(table: Tensor, task_ids: Tensor) -> Tensor:
    """Return the row of each token's task, `[N, ...]`; zeros for tokens without a task."""
    padded = torch.cat([table, table.new_zeros(1, *table.shape[1:])])
    return padded[_row_of(task_ids, table.shape[0])]


def select_experts(plan: RoutingPlan, logits_NE: Tensor, extras: Extras) -> Tensor | None:
    """Return the experts of each token, int64 `[N, K]`; `None` where all of them are used."""
    if not plan.selects and not plan.group_sizes:
        return None
    with torch.no_grad():
        # Softmax has the order of its logits; on the scale of 0 to 1 the bias means the same.
        if plan.score == "sigmoid":
            scores_NE = torch.sigmoid(logits_NE)
        else:
            scores_NE = torch.softmax(logits_NE / plan.temperature, dim=-1)
        if extras.bias is not None:
            scores_NE = scores_NE + bias_values(extras.bias)
        allowed = plan.allowed_experts(logits_NE.device)
        if allowed is not None:
            assert extras.task_ids is not None
            rows = _row_of(extras.task_ids, plan.num_tasks)
            scores_NE = scores_NE.masked_fill(~allowed[rows], -torch.inf)
        return scores_NE.topk(plan.num_active, dim=-1, sorted=False).indices


def bias_values(bias_E: Tensor) -> Tensor:
    """Return the balance bias as float32."""
    return bias_E.float() / BIAS_UNITS


def compute_gates(
    plan: RoutingPlan, picked_NK: Tensor | None, index_NK: Tensor | None, extras: Extras
) -> Tensor | None:
    """Return the gates of the selected experts, float32 `[N, K]`, or `[N, E]` where all are used.

    Args:
        plan: The layer's rules.
        picked_NK: Logits of the selected experts; `None` where gates are not learned.
        index_NK: The selected experts; `None` for all.
        extras: Bias and task ids.

    Returns:
        `None` for a layer without experts. Rows sum to `plan.gate_total`, unless gates are left
        as they are.
    """
    if plan.num_experts == 0:
        return None
    if plan.router == "own":
        assert extras.task_ids is not None
        experts = torch.arange(plan.num_experts, device=extras.task_ids.device)
        return (extras.task_ids[:, None] == experts).float()
    if picked_NK is None:
        return torch.full((1, plan.num_experts), plan.gate_total / plan.num_experts)
    if plan.score == "softmax":
        return torch.softmax(picked_NK / plan.temperature, dim=-1) * plan.gate_total
    values_NK = torch.sigmoid(picked_NK)
    if plan.biased_gates and extras.bias is not None:
        bias_E = bias_values(extras.bias)
        values_NK = values_NK + (bias_E if index_NK is None else bias_E[index_NK])
    if not plan.normalise_gates:
        return values_NK
    total_N1 = values_NK.sum(dim=-1, keepdim=True).clamp_min(_SMALLEST_SUM)
    return values_NK * (plan.gate_total / total_N1)


def route(
    plan: RoutingPlan, logits_NE: Tensor | None, extras: Extras
) -> tuple[Gating, Tensor | None]:
    """Return the router's decision, and the logits it rests on, `[N, K]`."""
    index = None if logits_NE is None else select_experts(plan, logits_NE, extras)
    picked = logits_NE if logits_NE is None or index is None else logits_NE.gather(1, index)
    return Gating(index, compute_gates(plan, picked, index, extras)), picked


def mix(plan: RoutingPlan, hidden_NR: Tensor, gating: Gating, extras: Extras) -> Tensor:
    """Return what B is multiplied with, `[N, C]`, scaling included, in the dtype of `hidden_NR`."""
    index_NK, gates = gating
    hidden_NR = _transform(plan, hidden_NR, extras)
    if gates is None:
        return hidden_NR * plan.scaling
    gates = (gates * plan.scaling).to(device=hidden_NR.device, dtype=hidden_NR.dtype)
    if index_NK is not None:
        zeros_NE = gates.new_zeros(gates.shape[0], plan.num_experts)
        gates = zeros_NE.scatter(1, index_NK, gates)
    if plan.num_copies > 1:
        return (gates[:, :, None] * hidden_NR[:, None, :]).flatten(1)
    routed = hidden_NR[:, plan.num_shared :]
    if plan.block_size > 1:
        routed = _blocks(plan, routed)
        routed = (routed * gates[:, :, None]).flatten(1)
    else:
        routed = routed * gates
    if plan.num_shared == 0:
        return routed
    return torch.cat([hidden_NR[:, : plan.num_shared] * plan.scaling, routed], dim=1)


def _transform(plan: RoutingPlan, hidden_NR: Tensor, extras: Extras) -> Tensor:
    """Apply normalisation, the task's matrix and the feature gate to `A x`."""
    if plan.normalise_ranks:
        hidden_NR = _normalise(plan, hidden_NR)
    if extras.mixing is not None:
        assert extras.task_ids is not None
        hidden_NR = _mix_by_task(hidden_NR, extras.mixing.to(hidden_NR.dtype), extras.task_ids)
    if extras.feature_gate is not None:
        gate_RR = extras.feature_gate.to(hidden_NR.dtype)
        hidden_NR = hidden_NR * (2 * torch.sigmoid(F.linear(hidden_NR, gate_RR)))
    return hidden_NR


def _normalise(plan: RoutingPlan, hidden_NR: Tensor) -> Tensor:
    """Divide by the root mean square: of an expert's ranks, or of all where experts have one."""
    parts = [hidden_NR[:, : plan.num_shared]] if plan.num_shared else []
    routed = hidden_NR[:, plan.num_shared :]
    if plan.block_size > 1 and plan.num_copies == 1 and plan.num_experts:
        routed = _unit(_blocks(plan, routed)).flatten(1)
    elif routed.shape[1]:
        routed = _unit(routed)
    return torch.cat([*(_unit(part) for part in parts), routed], dim=1)


def _blocks(plan: RoutingPlan, routed_NC: Tensor) -> Tensor:
    """Return the ranks of each expert, `[N, E, P]`."""
    return routed_NC.reshape(routed_NC.shape[0], plan.num_experts, plan.block_size)


def _unit(values: Tensor) -> Tensor:
    square = values.float().square().mean(dim=-1, keepdim=True)
    return values * torch.rsqrt(square + _EPSILON).to(values.dtype)


def _mix_by_task(hidden_NR: Tensor, mixing: Tensor, task_ids: Tensor) -> Tensor:
    """Multiply each token with its task's matrix; tokens without a task stay as they are."""
    num_tasks, rank = mixing.shape[:2]
    rows = _row_of(task_ids, num_tasks)
    if mixing.dim() == 2:
        return hidden_NR * torch.cat([mixing, mixing.new_ones(1, rank)])[rows]
    eye = torch.eye(rank, dtype=mixing.dtype, device=mixing.device)[None]
    every = torch.cat([mixing, eye])
    # All tasks in one product: ranks are few, a matrix per token would be large.
    mixed = F.linear(hidden_NR, every.flatten(0, 1))
    mixed = mixed.reshape(hidden_NR.shape[0], num_tasks + 1, rank)
    return mixed.gather(1, rows[:, None, None].expand(-1, 1, rank)).squeeze(1)


def _row_of(task_ids: Tensor, num_tasks: int) -> Tensor:
    """Return the row of a table with one more row for tokens without a task."""
    return torch.where((task_ids >= 0) & (task_ids < num_tasks), task_ids, num_tasks)
