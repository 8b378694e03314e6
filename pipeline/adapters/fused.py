"""The update of one layer as one autograd function, which keeps little for the backward pass.

Kept per token: `A x` and, of the selected experts, logits and numbers. Gates and products are
computed again. A and the router go through one matrix product in each direction.

    N tokens, I inputs, O outputs, R rows of A, E experts, K experts per token, C columns of B
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from torch import Tensor
from torch.autograd.function import once_differentiable

from pipeline.adapters.routing import Extras, Gating, compute_gates, mix, route
from pipeline.adapters.routing_plan import RoutingPlan

CountLoad = Callable[[Gating], None]
"""Takes what the router decided; called once per backward pass, or forward pass without one."""


class Factors(NamedTuple):
    """Weights of a layer."""

    a: Tensor
    """`[R, I]`"""
    b: Tensor
    """`[O, C]`"""
    router: Tensor | None = None
    """`[E, I]`, or `[E, R]` where it reads `A x`."""
    task_logits: Tensor | None = None
    """Logits each token gets by its task, `[N, E]`."""


def add_update(
    plan: RoutingPlan,
    result: Tensor,
    x: Tensor,
    *,
    factors: Factors,
    extras: Extras,
    count_load: CountLoad | None = None,
) -> Tensor:
    """Return `result` plus the routed low-rank update of `x`.

    Args:
        plan: The layer's rules.
        result: Output of the frozen layer, `[..., O]`.
        x: Its input after dropout, `[..., I]`.
        factors: The layer's weights.
        extras: Its other tensors.
        count_load: Told once which experts were used: in the backward pass, as forward passes may
            be repeated, or where nothing takes gradients in the forward pass.

    Returns:
        `[..., O]` in the dtype of `result`. Products are computed in the dtype of autocast, else
        in that of A; logits and gates in float32.
    """
    dtype = _compute_dtype(x, factors.a)
    with torch.autocast(x.device.type, enabled=False):
        if not torch.compiler.is_compiling():
            inputs = (result, x, *factors, *extras)
            has_backward = torch.is_grad_enabled() and any(
                value.requires_grad for value in inputs if value is not None
            )
            call = _Call(plan, dtype, count_load, has_backward)
            added: Tensor = _FusedUpdate.apply(call, *inputs)  # type: ignore[no-untyped-call]
            return added
        # Plain operations: a compiler decides itself what it keeps for the backward pass.
        x_NI = x.reshape(-1, x.shape[-1])
        hidden, logits = _project(plan, x_NI, factors, dtype)
        gating, _ = route(plan, logits, extras)
        if count_load is not None:
            count_load(gating)
        update = F.linear(mix(plan, hidden, gating, extras), factors.b.to(dtype))
        return result + update.view(result.shape).to(result.dtype)


class _Call(NamedTuple):
    """What the function needs beside tensors."""

    plan: RoutingPlan
    dtype: torch.dtype
    count_load: CountLoad | None
    has_backward: bool


def _compute_dtype(x: Tensor, weight: Tensor) -> torch.dtype:
    if torch.is_autocast_enabled(x.device.type):
        return torch.get_autocast_dtype(x.device.type)
    return weight.dtype


def _logit_dtype(dtype: torch.dtype) -> torch.dtype:
    return torch.float64 if dtype == torch.float64 else torch.float32


def compute_logits(plan: RoutingPlan, x_NI: Tensor, factors: Factors) -> Tensor | None:
    """Return the logits of the experts, float32 `[N, E]`; `None` where gates are not learned."""
    return _project(plan, x_NI, factors, factors.a.dtype)[1]


def _project(
    plan: RoutingPlan, x_NI: Tensor, factors: Factors, dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """Return `A x`, and the logits in float32."""
    a, router = factors.a, factors.router
    logits = None
    if router is not None and not plan.low_rank_router and dtype in (torch.float32, torch.float64):
        both = F.linear(x_NI.to(dtype), torch.cat([a.to(dtype), router.to(dtype)]))
        hidden, logits = both[:, : a.shape[0]], both[:, a.shape[0] :]
    else:
        hidden = F.linear(x_NI.to(dtype), a.to(dtype))
        if router is not None:
            # Logits rounded to 16 bits change the selection of one token in ten.
            wide = _logit_dtype(dtype)
            source = hidden if plan.low_rank_router else x_NI
            logits = F.linear(source.to(wide), router.to(wide))
    by_task = factors.task_logits
    if by_task is not None:
        logits = by_task if logits is None else logits + by_task
    return hidden, logits


class _FusedUpdate(torch.autograd.Function):
    """`add_update` with a backward pass of its own."""

    @staticmethod
    def forward(ctx: Any, call: _Call, result: Tensor, x: Tensor, *rest: Any) -> Tensor:  # noqa: ANN401
        plan, dtype = call.plan, call.dtype
        factors, extras = Factors(*rest[:4]), Extras(*rest[4:])
        hidden, logits = _project(plan, x.reshape(-1, x.shape[-1]), factors, dtype)
        gating, picked = route(plan, logits, extras)
        if call.count_load is not None and not call.has_backward:
            call.count_load(gating)
        index = gating.index_NK
        small_index = None if index is None else index.to(_index_dtype(plan.num_experts))
        ctx.call, ctx.has_task_logits = call, factors.task_logits is not None
        ctx.save_for_backward(
            x, factors.a, factors.b, factors.router, *extras,
            hidden.contiguous(), picked, small_index,
        )  # fmt: skip
        return _added(result, mix(plan, hidden, gating, extras), factors.b.to(dtype))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, d_output: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        x, a, b, router, *rest = ctx.saved_tensors
        extras, (hidden, picked, small_index) = Extras(*rest[:4]), rest[4:]
        plan, dtype, count_load, _ = ctx.call
        index = None if small_index is None else small_index.long()
        with torch.autocast(x.device.type, enabled=False):
            d_output_NO = d_output.reshape(-1, d_output.shape[-1]).to(dtype)
            again = _MixedAgain(plan, hidden, picked, index=index, extras=extras)
            if count_load is not None:
                count_load(Gating(index, again.gates))
            d_b = (d_output_NO.T @ again.mixed).to(b.dtype) if ctx.needs_input_grad[4] else None
            d_hidden, d_picked, d_mixing, d_gate = again.gradients(d_output_NO @ b.to(dtype))
            assert d_hidden is not None
            d_logits = _spread(plan, d_picked, index)
            d_router = None
            if plan.low_rank_router and d_logits is not None:
                d_router = (d_logits.T @ hidden.to(d_logits.dtype)).to(router.dtype)
                d_hidden = d_hidden + (d_logits @ router.to(d_logits.dtype)).to(dtype)
            stacked = _Stacked(a, None if plan.low_rank_router else router)
            d_x, d_a, d_r = stacked.backward(x, d_hidden, d_logits, needs_x=ctx.needs_input_grad[2])
        d_task = d_logits if ctx.has_task_logits else None
        d_router = d_router if plan.low_rank_router else d_r
        d_result = d_output if ctx.needs_input_grad[1] else None
        return None, d_result, d_x, d_a, d_b, d_router, d_task, d_mixing, d_gate, None, None


def _added(result: Tensor, mixed_NC: Tensor, b_OC: Tensor) -> Tensor:
    if result.dtype == mixed_NC.dtype:
        flat = torch.addmm(result.reshape(-1, result.shape[-1]), mixed_NC, b_OC.T)
        return flat.view(result.shape)
    update = F.linear(mixed_NC, b_OC).view(result.shape)
    return (result + update).to(result.dtype)


class _MixedAgain:
    """`mix` computed once more, under autograd, from detached inputs."""

    def __init__(
        self,
        plan: RoutingPlan,
        hidden: Tensor,
        picked: Tensor | None,
        *,
        index: Tensor | None,
        extras: Extras,
    ) -> None:
        with torch.enable_grad():
            leaf = hidden.detach().requires_grad_()
            picked, mixing, feature_gate = (
                None if value is None else value.detach().requires_grad_()
                for value in (picked, extras.mixing, extras.feature_gate)
            )
            fresh = extras._replace(mixing=mixing, feature_gate=feature_gate)
            gates = compute_gates(plan, picked, index, fresh)
            self._mixed = mix(plan, leaf, Gating(index, gates), fresh)
        self._leaves = (leaf, picked, mixing, feature_gate)
        self.mixed = self._mixed.detach()
        self.gates = None if gates is None else gates.detach()

    def gradients(self, d_mixed: Tensor) -> list[Tensor | None]:
        """Return gradients of hidden, picked logits, mixing and feature gate."""
        present = [leaf for leaf in self._leaves if leaf is not None]
        found = iter(torch.autograd.grad(self._mixed, present, d_mixed))
        return [None if leaf is None else next(found) for leaf in self._leaves]


def _spread(plan: RoutingPlan, d_picked: Tensor | None, index: Tensor | None) -> Tensor | None:
    """Return gradients of all logits from those of the selected ones."""
    if d_picked is None or index is None:
        return d_picked
    zeros = d_picked.new_zeros(d_picked.shape[0], plan.num_experts)
    return zeros.scatter_(1, index, d_picked)


class _Stacked(NamedTuple):
    """A, and the router where it reads the same input."""

    a: Tensor
    router: Tensor | None

    def backward(
        self, x: Tensor, d_hidden: Tensor, d_logits: Tensor | None, *, needs_x: bool
    ) -> tuple[Tensor | None, Tensor, Tensor | None]:
        """Return gradients of x, A and router, of both weights from one product each."""
        dtype, rank = d_hidden.dtype, self.a.shape[0]
        weight, d_both = self.a.to(dtype), d_hidden
        has_router = self.router is not None and d_logits is not None
        if self.router is not None and d_logits is not None:
            weight = torch.cat([weight, self.router.to(dtype)])
            d_both = torch.cat([d_hidden, d_logits.to(dtype)], dim=1)
        d_weight = d_both.T @ x.reshape(-1, x.shape[-1]).to(dtype)
        d_x = (d_both @ weight).view(x.shape).to(x.dtype) if needs_x else None
        d_router = d_weight[rank:] if has_router else None
        return d_x, d_weight[:rank].to(self.a.dtype), d_router


def _index_dtype(num_experts: int) -> torch.dtype:
    return torch.uint8 if num_experts <= 256 else torch.int16
