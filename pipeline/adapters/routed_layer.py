"""A linear layer with an adapter of the family; one class for all types.

I inputs, O outputs, R rows of A, C columns of B, E experts
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody knows
from peft.tuners._buffer_dict import BufferDict
from peft.tuners.tuners_utils import BaseTunerLayer, check_adapters_to_merge
from peft.utils.quantization_utils import resolve_quantization_backend
from torch import Tensor, nn

from pipeline.adapters.batch_tasks import BatchTasks
from pipeline.adapters.fused import CountLoad, Factors, add_update, compute_logits
from pipeline.adapters.load_counts import LoadTable
from pipeline.adapters.routing import Extras, Gating, route, task_rows
from pipeline.adapters.routing_plan import RoutingPlan

PREFIX = "routed_"
"""Begins the names of all weights of the family."""


class TaskFactors(nn.Module):
    """Weights with one row or matrix per task."""

    def __init__(self, plan: RoutingPlan) -> None:
        """Start so that tasks differ only where nothing else could tell experts apart."""
        super().__init__()
        if plan.has_logits and (plan.router == "task" or plan.task_input):
            logits = torch.zeros(plan.num_tasks, plan.num_experts)
            if plan.router == "task":
                # Equal scores would select the same experts for all tasks.
                nn.init.normal_(logits, std=0.02)
            self.logits = nn.Parameter(logits)
        if plan.mixing == "full":
            eye = torch.eye(plan.num_ranks).repeat(plan.num_tasks, 1, 1)
            self.mixing = nn.Parameter(eye)
        elif plan.mixing == "diagonal":
            self.mixing = nn.Parameter(torch.ones(plan.num_tasks, plan.num_ranks))


class MergedUpdate(NamedTuple):
    """What merging added to a base weight."""

    task: int | None
    """Number of the task it was merged for; `None` where all tasks have the same update."""
    a: Tensor
    """`[r, I]`"""
    b: Tensor
    """`[O, r]`, scaling included."""

    @property
    def delta(self) -> Tensor:
        """The whole update, `[O, I]`."""
        return self.b @ self.a


class RoutedLinear(nn.Module, BaseTunerLayer):
    """Wraps a linear layer, quantised or not, and adds routed low-rank updates."""

    adapter_layer_names = (
        "routed_A",
        "routed_B",
        "routed_router",
        "routed_task",
        "routed_feature",
    )
    # The balance bias is a buffer: listed above, PEFT would make it trainable.
    other_param_names = ("routed_bias", "routed_dropout", "plans", "loads")

    if TYPE_CHECKING:
        # PEFT has no types, and for what torch does not know it assumes a tensor.
        get_base_layer: Callable[[], nn.Module]
        get_base_weight: Callable[[], Tensor]
        set_base_weight: Callable[[Tensor], None]
        set_adapter: Callable[..., None]
        _move_adapter_to_device_of_base_layer: Callable[[str], None]
        _cast_input_dtype: Callable[[Tensor, torch.dtype], Tensor]
        active_adapters: list[str]
        routed_bias: Any

    def __init__(
        self, base_layer: nn.Module, batch: BatchTasks, *, quantization_kwargs: dict[str, Any]
    ) -> None:
        """Wrap `base_layer`; adapters are added by `update_layer`."""
        super().__init__()
        self.base_layer = base_layer
        inner: Any = self.get_base_layer()
        self.in_features = int(inner.in_features)
        self.out_features = int(inner.out_features)
        self.quantization_backend = resolve_quantization_backend(inner, **quantization_kwargs)
        self.batch = batch
        self.plans: dict[str, RoutingPlan] = {}
        self.loads: dict[str, LoadTable] = {}
        self.routed_A = nn.ModuleDict()
        self.routed_B = nn.ModuleDict()
        self.routed_router = nn.ModuleDict()
        self.routed_task = nn.ModuleDict()
        self.routed_feature = nn.ModuleDict()
        self.routed_bias = BufferDict({}, persistent=True)
        self.routed_dropout = nn.ModuleDict()
        self._disable_adapters = False
        self.merged_adapters: list[str] = []
        self.merged_updates: dict[str, MergedUpdate] = {}
        """What was added to the base weight for each merged adapter."""
        self.constant_update: tuple[Tensor, Tensor] | None = None
        """A and B that act in place of all adapters, while an export is measured."""
        self.counts_evaluation = False
        """Whether loads are counted in evaluation mode too."""

    def update_layer(
        self,
        adapter_name: str,
        plan: RoutingPlan,
        *,
        dropout: float = 0.0,
        init_weights: bool = True,
        inference_mode: bool = False,
        router: nn.Module | None = None,
    ) -> None:
        """Add an adapter.

        Args:
            adapter_name: Its name in PEFT.
            plan: Shape and rules.
            dropout: On the input of A and router.
            init_weights: Start with B at zero; otherwise B is random.
            inference_mode: Whether the adapter is frozen.
            router: Router of another layer with the same input, to be shared.
        """
        self.plans[adapter_name] = plan
        self.loads[adapter_name] = LoadTable(plan.num_tasks, plan.num_experts)
        self.routed_dropout[adapter_name] = nn.Dropout(dropout) if dropout else nn.Identity()
        down = nn.Linear(self.in_features, plan.num_ranks, bias=False)
        nn.init.kaiming_uniform_(down.weight, a=math.sqrt(5))
        self.routed_A[adapter_name] = down
        up = nn.Linear(plan.num_columns, self.out_features, bias=False)
        if init_weights:
            nn.init.zeros_(up.weight)
        self.routed_B[adapter_name] = up
        if plan.has_logits and plan.router == "token":
            width = plan.num_ranks if plan.low_rank_router else self.in_features
            fresh = nn.Linear(width, plan.num_experts, bias=False)
            self.routed_router[adapter_name] = fresh if router is None else router
        task = TaskFactors(plan)
        if any(True for _ in task.parameters()):
            self.routed_task[adapter_name] = task
        if plan.feature_gate:
            gate = nn.Linear(plan.num_ranks, plan.num_ranks, bias=False)
            nn.init.zeros_(gate.weight)
            self.routed_feature[adapter_name] = gate
        if plan.selects:
            self.routed_bias[adapter_name] = torch.zeros(plan.num_experts, dtype=torch.int32)
        self._move_adapter_to_device_of_base_layer(adapter_name)
        self.set_adapter(self.active_adapters, inference_mode=inference_mode)

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401
        """Return the frozen layer's output with the updates of all active adapters."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        if self.merged:
            self._check_merged_tasks()
        result: Tensor = self.base_layer(x, *args, **kwargs)
        if self.disable_adapters or self.merged:
            return result
        if self.quantization_backend is not None:
            result = self.quantization_backend.maybe_clone_base_result(result)
        if self.constant_update is not None:
            return _plus(result, x, self.constant_update)
        for name in self.active_adapters:
            if name in self.plans:
                result = self._add_adapter(name, result, x)
        return result

    def _add_adapter(self, name: str, result: Tensor, x: Tensor) -> Tensor:
        plan = self.plans[name]
        x = self.routed_dropout[name](x)
        if plan.is_plain:
            a, b = self.weight_of(name), _weight(self.routed_B, name)
            update = F.linear(F.linear(self._cast_input_dtype(x, a.dtype), a), b) * plan.scaling
            return (result + update).to(result.dtype)
        if plan.router == "own" and plan.is_constant and not torch.is_grad_enabled():
            task = self.batch.single_task()
            if task is not None:
                # The ranks of other tasks take no part, so what is computed does not depend on
                # how many there are, not even by rounding.
                return _plus(result, x, self.constant_factors(name, task))
        factors, extras = self._tensors(name, x.shape[:-1], x.device)
        counts = torch.is_grad_enabled() if self.training else self.counts_evaluation
        return add_update(
            plan,
            result,
            x,
            factors=factors,
            extras=extras,
            count_load=self._load_counter(name, x.shape[:-1], x.device)
            if counts and plan.has_logits
            else None,
        )

    def _tensors(
        self, name: str, shape: Sequence[int], device: torch.device
    ) -> tuple[Factors, Extras]:
        plan = self.plans[name]
        ids = self.batch.token_tasks(shape, device, plan.num_tasks) if plan.needs_tasks else None
        task = self.routed_task[name] if name in self.routed_task else None  # noqa: SIM401 - no get
        logits = getattr(task, "logits", None)
        by_task = None
        if logits is not None and ids is not None:
            by_task = task_rows(logits if logits.dtype == torch.float64 else logits.float(), ids)
        factors = Factors(
            a=self.weight_of(name),
            b=_weight(self.routed_B, name),
            router=_find_weight(self.routed_router, name),
            task_logits=by_task,
        )
        extras = Extras(
            mixing=getattr(task, "mixing", None),
            feature_gate=_find_weight(self.routed_feature, name),
            bias=self._find_bias(name),
            task_ids=ids,
        )
        return factors, extras

    def weight_of(self, name: str) -> Tensor:
        """Return A of an adapter."""
        return _weight(self.routed_A, name)

    def _find_bias(self, name: str) -> Tensor | None:
        bias: Tensor | None = self.routed_bias[name] if name in self.routed_bias else None  # noqa: SIM401 - no get
        return bias

    def _load_counter(self, name: str, shape: Sequence[int], device: torch.device) -> CountLoad:
        table = self.loads[name]
        rows = self.batch.count_rows(shape, device, self.plans[name].num_tasks)

        def count(gating: Gating) -> None:
            table.add(rows, gating)

        return count

    @torch.no_grad()
    def gates_of(self, name: str, x: Tensor) -> Tensor:
        """Return the gates of an adapter for an input `[..., I]`, float32 `[N, E]`."""
        plan = self.plans[name]
        factors, extras = self._tensors(name, x.shape[:-1], x.device)
        x_NI = x.reshape(-1, x.shape[-1])
        (index, gates), _ = route(plan, compute_logits(plan, x_NI, factors), extras)
        assert gates is not None
        if index is not None:
            gates = gates.new_zeros(gates.shape[0], plan.num_experts).scatter(1, index, gates)
        return gates.expand(x_NI.shape[0], -1)

    @torch.no_grad()
    def constant_factors(
        self, name: str, task: int, *, mean_gates: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return A `[r, I]` and B `[O, r]` in float32, scaling included, that act alike on a task.

        Args:
            name: The adapter.
            task: Number of the task, -1 for none.
            mean_gates: Gates `[E]` that stand for those of all tokens.

        Raises:
            ValueError: The update depends on the token.
        """
        plan = self.plans[name]
        if not plan.is_constant and mean_gates is None:
            raise ValueError(
                f"router {plan.router!r} gives every token another update, so no single matrix "
                "stands for the adapter"
            )
        a = self.weight_of(name).detach().float()
        b = _weight(self.routed_B, name).detach().float()
        ids = torch.full((1,), task, device=a.device)
        parts = self.routed_task[name] if name in self.routed_task else None  # noqa: SIM401 - no get
        logits = getattr(parts, "logits", None)
        extras = Extras(bias=self._find_bias(name), task_ids=ids)
        gates = mean_gates
        if gates is None:
            rows = None if logits is None else task_rows(logits.float(), ids)
            (index, found), _ = route(plan, rows, extras)
            if found is not None and index is not None:
                found = found.new_zeros(1, plan.num_experts).scatter(1, index, found)
            gates = None if found is None else found[0]
        mixing = getattr(parts, "mixing", None)
        if mixing is not None and task >= 0:
            own = mixing.detach().float()[task]
            a = own @ a if own.dim() == 2 else own[:, None] * a
        return fold_gates(plan, a, b, None if gates is None else gates.to(a.device))

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Add the adapters of this family to the base weight.

        Raises:
            ValueError: The update depends on the token, no task is chosen, or the result is not
                finite.
        """
        names = check_adapters_to_merge(self, adapter_names)
        for name in names:
            if name not in self.plans:
                continue
            weight, update = self.get_base_weight(), self._update_to_merge(name)
            weight = weight + update.delta.to(weight.dtype)
            if safe_merge and not torch.isfinite(weight).all():
                raise ValueError(f"merging adapter {name} gives weights that are not finite")
            self.set_base_weight(weight)
            self.merged_adapters.append(name)
            self.merged_updates[name] = update

    def unmerge(self) -> None:
        """Take out of the base weight what was merged into it, whichever task is active now."""
        while self.merged_adapters:
            update = self.merged_updates.pop(self.merged_adapters.pop())
            weight = self.get_base_weight()
            self.set_base_weight(weight - update.delta.to(weight))

    def _update_to_merge(self, name: str) -> MergedUpdate:
        plan, task = self.plans[name], None
        if plan.needs_tasks:
            ids = self.batch.token_tasks((1,), torch.device("cpu"), plan.num_tasks)
            task = int(ids[0])
        a, b = self.constant_factors(name, -1 if task is None else task)
        return MergedUpdate(task, a, b)

    def _check_merged_tasks(self) -> None:
        for name, update in self.merged_updates.items():
            if update.task is not None and self.batch.names_other_than(update.task):
                raise ValueError(
                    f"adapter {name!r} is merged into the base for task number {update.task}, and "
                    "the batch names another one; unmerge it first"
                )

    def __repr__(self) -> str:
        """Return the usual text with the family's name in front."""
        return "taskloom." + super().__repr__()


def _plus(result: Tensor, x: Tensor, factors: tuple[Tensor, Tensor]) -> Tensor:
    a, b = factors
    return (result + F.linear(F.linear(x.to(a.dtype), a), b)).to(result.dtype)


def _weight(modules: nn.ModuleDict, name: str) -> Tensor:
    weight = modules[name].weight
    assert isinstance(weight, Tensor)
    return weight


def _find_weight(modules: nn.ModuleDict, name: str) -> Tensor | None:
    return _weight(modules, name) if name in modules else None


def fold_gates(
    plan: RoutingPlan, a_RI: Tensor, b_OC: Tensor, gates_E: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return plain LoRA factors for constant gates, scaling included; idle ranks are left out."""
    if gates_E is None:
        return a_RI, b_OC * plan.scaling
    if plan.num_copies > 1:
        blocks = b_OC.reshape(-1, plan.num_copies, plan.num_ranks)
        return a_RI, (blocks * gates_E[None, :, None]).sum(dim=1) * plan.scaling
    columns = torch.cat(
        [gates_E.new_ones(plan.num_shared), gates_E.repeat_interleave(plan.block_size)]
    )
    used = columns != 0
    return a_RI[used], (b_OC * columns)[:, used] * plan.scaling
