"""A tiny base, adapters on it, and the family's formulas written token by token."""

from __future__ import annotations

import math

import torch
from peft import PeftModel, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM

from pipeline.adapters.routed_config import CONFIGS, RoutedConfig
from pipeline.adapters.routed_layer import RoutedLinear

TASKS = ["red", "green", "blue"]
INPUT_IDS = torch.arange(24).reshape(2, 12) * 7 % 60
TASK_IDS = (torch.arange(24) // 5 % 3).reshape(2, 12)

VARIANTS: dict[str, tuple[str, dict[str, object]]] = {
    "smora": ("smora", {"num_active_ranks": 3}),
    "smora softmax": ("smora", {"num_active_ranks": 3, "score": "softmax"}),
    "smora unnormalised": ("smora", {"num_active_ranks": 3, "normalise_gates": False}),
    "smora biased": ("smora", {"num_active_ranks": 3, "gate_source": "biased"}),
    "smora low rank": ("smora", {"num_active_ranks": 3, "router_low_rank": True}),
    "smora shared ranks": ("smora", {"num_active_ranks": 3, "num_shared_ranks": 2}),
    "smora all ranks": ("smora", {"num_active_ranks": None}),
    "smora by task": ("smora", {"num_active_ranks": 3, "router": "task"}),
    "smora task input": ("smora", {"num_active_ranks": 3, "router_task_input": True}),
    "smora groups": (
        "smora",
        {"num_active_ranks": 2, "task_groups": [["red"], ["blue"]], "ranks_per_group": 2},
    ),
    "smora normalised": ("smora", {"num_active_ranks": 3, "normalise_ranks": True}),
    "smora feature gate": ("smora", {"num_active_ranks": 3, "feature_gate": True}),
    "moe_lora": ("moe_lora", {"block_size": 2, "num_active_ranks": 4}),
    "moe_lora normalised": (
        "moe_lora",
        {"block_size": 2, "num_active_ranks": 4, "num_shared_ranks": 2, "normalise_ranks": True},
    ),
    "hydra": ("hydra", {"num_b_factors": 3}),
    "hydra uniform": ("hydra", {"num_b_factors": 3, "router": "uniform"}),
    "mtlora": ("mtlora", {"task_rank": 2}),
    "mtl_lora": ("mtl_lora", {}),
    "mtl_lora diagonal": ("mtl_lora", {"task_mixing": "diagonal"}),
}
"""Every kind of layer the family has: name -> type and options."""


def build_base(
    seed: int = 0, dtype: torch.dtype = torch.float32, *, width: int = 8
) -> LlamaForCausalLM:
    """Return a random base of two layers whose widths are multiples of `width`."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=60,
        hidden_size=2 * width,
        intermediate_size=3 * width,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.2,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).to(dtype)


def build_config(kind: str, **options: object) -> RoutedConfig:
    """Return the configuration of a type with 8 ranks, whose B is not zero."""
    values: dict[str, object] = {
        "r": 8,
        "lora_alpha": 8,
        "target_modules": "all-linear",
        "task_type": "CAUSAL_LM",
        "task_names": TASKS,
        "init_weights": False,
    }
    return CONFIGS[kind](**(values | options))


def build_adapted(kind: str = "smora", *, base=None, seed: int = 1, **options: object) -> PeftModel:
    """Return a base with a fresh adapter whose every weight differs from its neutral start."""
    base = build_base() if base is None else base
    torch.manual_seed(seed)
    if kind == "smora":
        options = {"num_active_ranks": 3, **options}
    model = get_peft_model(base, build_config(kind, **options))
    stir(model)
    return model


def stir(model: torch.nn.Module, *, bias: bool = True) -> None:
    """Move weights that start neutral, and biases, so that tests see them."""
    for name, value in model.named_parameters():
        if "routed_feature" in name or "routed_task" in name:
            torch.nn.init.normal_(value, std=0.5)
    for name, value in model.named_buffers():
        if bias and "routed_bias" in name:
            value.copy_(torch.randint(-200_000, 200_000, value.shape, dtype=torch.int32))


def variant(name: str, **options: object) -> PeftModel:
    """Return a model with one of `VARIANTS`."""
    kind, own = VARIANTS[name]
    return build_adapted(kind, **(own | options))


def logits_of(model: torch.nn.Module, ids=INPUT_IDS, tasks=TASK_IDS, **inputs) -> torch.Tensor:
    """Return the logits of a batch whose tokens have tasks."""
    return model(input_ids=ids, adapter_task_ids=tasks, **inputs).logits


def loss_of(model: torch.nn.Module, ids=INPUT_IDS, tasks=TASK_IDS, **inputs) -> torch.Tensor:
    """Return the loss of the same batch."""
    return model(input_ids=ids, labels=ids, adapter_task_ids=tasks, use_cache=False, **inputs).loss


def gradients_of(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Return copies of all gradients, and clear them."""
    found = {
        name: value.grad.clone()
        for name, value in model.named_parameters()
        if value.grad is not None
    }
    model.zero_grad()
    return found


def layers_of(model: torch.nn.Module) -> list[RoutedLinear]:
    """Return the adapted layers."""
    return [module for module in model.modules() if isinstance(module, RoutedLinear)]


def slow_update(layer: RoutedLinear, x: torch.Tensor, task_ids: torch.Tensor) -> torch.Tensor:
    """Return the update of a layer, computed token by token from the published formulas.

    Args:
        layer: With an adapter named `default`.
        x: `[N, I]`
        task_ids: `[N]`
    """
    return torch.stack([_token_update(layer, *pair) for pair in zip(x, task_ids, strict=True)])


def _token_update(layer: RoutedLinear, x: torch.Tensor, task_id: torch.Tensor) -> torch.Tensor:
    plan, task = layer.plans["default"], int(task_id)
    a, b = layer.routed_A["default"].weight, layer.routed_B["default"].weight
    h = a @ x
    logits = _token_logits(layer, x, h, task)
    h = _token_transform(layer, h, task)
    gates = _token_gates(layer, logits, task)
    if plan.num_copies > 1:
        parts = b.reshape(b.shape[0], plan.num_copies, plan.num_ranks)
        return sum(gate * (parts[:, i] @ h) for i, gate in enumerate(gates)) * plan.scaling
    total = b[:, : plan.num_shared] @ h[: plan.num_shared]
    for expert, gate in enumerate(gates):
        first = plan.num_shared + expert * plan.block_size
        ranks = slice(first, first + plan.block_size)
        total = total + gate * (b[:, ranks] @ h[ranks])
    return total * plan.scaling


def _token_logits(layer: RoutedLinear, x: torch.Tensor, h: torch.Tensor, task: int):
    plan = layer.plans["default"]
    logits = None
    if plan.has_logits and plan.router == "token":
        router = layer.routed_router["default"].weight
        logits = router @ (h if plan.low_rank_router else x)
    if "default" in layer.routed_task and hasattr(layer.routed_task["default"], "logits"):
        table = layer.routed_task["default"].logits
        row = table[task] if task >= 0 else torch.zeros_like(table[0])
        logits = row if logits is None else logits + row
    return logits


def _token_transform(layer: RoutedLinear, h: torch.Tensor, task: int) -> torch.Tensor:
    plan = layer.plans["default"]
    if plan.normalise_ranks:
        size = plan.block_size if plan.block_size > 1 else plan.num_ranks - plan.num_shared
        cuts = [plan.num_shared] if plan.num_shared else []
        cuts += [size] * ((plan.num_ranks - plan.num_shared) // size)
        h = torch.cat([part / (part.square().mean() + 1e-6).sqrt() for part in h.split(cuts)])
    if plan.mixing != "none" and task >= 0:
        own = layer.routed_task["default"].mixing[task]
        h = own @ h if plan.mixing == "full" else own * h
    if plan.feature_gate:
        h = h * 2 / (1 + torch.exp(-layer.routed_feature["default"].weight @ h))
    return h


def _token_gates(layer: RoutedLinear, logits, task: int) -> list[torch.Tensor | float]:
    plan = layer.plans["default"]
    num, total = plan.num_experts, plan.gate_total
    if plan.router == "own":
        return [1.0 if expert == task else 0.0 for expert in range(num)]
    if plan.router == "uniform":
        return [total / num for _ in range(num)]
    score = torch.sigmoid(logits) if plan.score == "sigmoid" else (logits / plan.temperature).exp()
    order = score if plan.score == "sigmoid" else score / score.sum()
    bias = torch.zeros(num)
    if "default" in layer.routed_bias:
        bias = layer.routed_bias["default"].double() / 2**20
    ranked = (order + bias).tolist()
    groups = plan.group_of_task[task] if plan.group_of_task and task >= 0 else -1
    first = num - sum(plan.group_sizes)
    for group, size in enumerate(plan.group_sizes):
        for expert in range(first, first + size):
            if group != groups:
                ranked[expert] = -math.inf
        first += size
    best = sorted(range(num), key=lambda expert: -ranked[expert])[: plan.num_active]
    value = score + bias if plan.biased_gates else score
    whole = sum(value[expert] for expert in best) / total if plan.normalise_gates else 1.0
    return [value[expert] / whole if expert in best else 0.0 for expert in range(num)]
