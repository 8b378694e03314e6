"""How many weights each type of adapter has on a base, told apart by what they do.

    trainable   all weights the optimizer moves
    router      those that decide how much experts count
    activated   those that one token goes through, router included

With them goes the rank of the plain LoRA that has as many trainable weights: a comparison with
any other rank favours one side.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from pipeline.adapters.model_loads import routed_layers
from pipeline.adapters.registry import attach_adapter
from pipeline.recipe.schema import AdapterSettings
from pipeline.types import Json

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from pipeline.adapters.routed_layer import RoutedLinear
    from pipeline.adapters.routing_plan import RoutingPlan


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSize:
    """Numbers of weights of one adapter on one base."""

    type: str
    rank: int
    trainable: int
    activated: int
    router: int
    equal_lora_rank: int
    """Rank of the plain LoRA whose trainable weights come nearest."""

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return cast("dict[str, Json]", asdict(self))


def measure_adapter(
    base: PreTrainedModel, adapter: AdapterSettings, task_names: Sequence[str]
) -> AdapterSize:
    """Return the size of an adapter on a base.

    Args:
        base: Left as it is. It is copied, so it should be on `meta`, where weights take no memory.
        adapter: What to attach.
        task_names: Tasks of types that know tasks.

    Raises:
        AdapterError: The adapter does not fit the base.
    """
    import torch

    with torch.device("meta"):
        adapted = attach_adapter(copy.deepcopy(base), adapter, task_names=task_names)
        trainable = count_trainable(adapted)
        one_rank = AdapterSettings(rank=1, target_modules=adapter.target_modules)
        per_rank = count_trainable(attach_adapter(copy.deepcopy(base), one_rank))
    router, inactive = _count_router_and_inactive(adapted)
    return AdapterSize(
        type=adapter.type,
        rank=adapter.rank,
        trainable=trainable,
        activated=trainable - inactive,
        router=router,
        equal_lora_rank=max(1, round(trainable / per_rank)),
    )


def count_trainable(model: nn.Module) -> int:
    """Return the number of weights that take gradients; shared ones count once."""
    return sum(weight.numel() for weight in model.parameters() if weight.requires_grad)


def _count_router_and_inactive(model: nn.Module) -> tuple[int, int]:
    routers: dict[int, int] = {}
    inactive = 0
    for _, adapter, layer in routed_layers(model):
        plan = layer.plans[adapter]
        if adapter in layer.routed_router:
            # Shared by several layers under `share_router`.
            shared = cast("Tensor", layer.routed_router[adapter].weight)
            routers[id(shared)] = shared.numel()
        logits = _task_logits(layer, adapter)
        routers[id(layer)] = logits
        inactive += _inactive_weights(plan, layer)
        if logits:
            inactive += logits - plan.num_experts
    return sum(routers.values()), inactive


def _task_logits(layer: RoutedLinear, adapter: str) -> int:
    if adapter not in layer.routed_task:
        return 0
    logits = getattr(layer.routed_task[adapter], "logits", None)
    return 0 if logits is None else int(logits.numel())


def _inactive_weights(plan: RoutingPlan, layer: RoutedLinear) -> int:
    """Return how many weights of A, B and of tasks one token leaves out."""
    active = 1 if plan.router == "own" else plan.num_active
    reads_all_ranks = (
        plan.low_rank_router or plan.feature_gate or (plan.normalise_ranks and plan.block_size == 1)
    )
    inputs = 0 if reads_all_ranks else layer.in_features
    gate_row = plan.num_ranks if plan.feature_gate else 0
    per_expert = plan.block_size * (inputs + gate_row + layer.out_features)
    inactive = (plan.num_experts - active) * per_expert if plan.num_copies == 1 else 0
    others = max(plan.num_tasks - 1, 0)
    if plan.mixing == "full":
        inactive += others * plan.num_ranks**2
    elif plan.mixing == "diagonal":
        inactive += others * plan.num_ranks
    return inactive
