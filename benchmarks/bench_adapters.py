"""Step time and memory of every adapter type against PEFT's LoRA of the same total rank.

Two-layer Llama with adapters on all linear layers, float32, one thread. Steps of all types take
turns, and the least CPU time of each counts, so that other work on the machine hits all alike.
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM

from benchmarks.paired import RESULTS
from pipeline.adapters.routed_config import CONFIGS

RANK = 64
TASKS = ["a", "b", "c", "d"]
HIDDEN_SIZES = {1024: (512, 6), 2048: (256, 4)}
"""Hidden size -> tokens of a step, and rounds."""
OPTIONS: dict[str, dict[str, object]] = {
    "smora": {"r": RANK, "num_active_ranks": 8},
    "smora low-rank router": {"r": RANK, "num_active_ranks": 8, "router_low_rank": True},
    "moe_lora": {"r": RANK, "block_size": 8, "num_active_ranks": 16},
    "hydra": {"r": RANK // 4, "num_b_factors": 4},
    "mtlora": {"r": RANK - 4 * len(TASKS), "task_rank": 4},
    "mtl_lora": {"r": RANK // 4, "num_b_factors": 4},
}
COMMON = {"target_modules": "all-linear", "task_type": "CAUSAL_LM", "lora_alpha": 16}


@dataclass(frozen=True)
class Measured:
    """One adapter type at one size."""

    name: str
    hidden_size: int
    num_tokens: int
    step_seconds: float
    """Least CPU time of a forward and backward pass."""
    step_ratio: float
    """Over that of LoRA."""
    saved_bytes_ratio: float
    """What the adapter keeps for the backward pass beside inputs and weights, over LoRA's."""


def main() -> None:
    """Measure, print a table, and write the raw figures."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    rows = [row for size in HIDDEN_SIZES for row in measure(size)]
    torch.set_num_threads(threads)
    for row in rows:
        print(
            f"{row.name:24} hidden {row.hidden_size:5}  step {row.step_seconds:6.3f} s "
            f"{row.step_ratio:5.2f}x LoRA-{RANK}, saved activations {row.saved_bytes_ratio:5.2f}x"
        )
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps([asdict(row) for row in rows], indent=2)
    (RESULTS / "adapters.json").write_text(text + "\n")


def measure(hidden_size: int) -> list[Measured]:
    """Return the figures of all types at one size."""
    num_tokens, rounds = HIDDEN_SIZES[hidden_size]
    ids = torch.randint(0, 512, (1, num_tokens))
    tasks = torch.arange(num_tokens)[None] * len(TASKS) // num_tokens
    # All types share one frozen base, so that memory holds it once.
    base = build_base(hidden_size)
    names = ["lora", *OPTIONS]
    best = dict.fromkeys(names, float("inf"))
    saved: dict[str, int] = {}
    for _ in range(rounds):
        for name in names:
            model = adapted(base, name)
            inputs = {} if name == "lora" else {"adapter_task_ids": tasks}
            if name not in saved:
                saved[name] = saved_bytes(model, ids, inputs)
            started = time.process_time()
            model(input_ids=ids, labels=ids, use_cache=False, **inputs).loss.backward()
            best[name] = min(best[name], time.process_time() - started)
            base = model.unload()
    return [
        Measured(
            name,
            hidden_size,
            num_tokens,
            best[name],
            best[name] / best["lora"],
            saved[name] / saved["lora"],
        )
        for name in names
    ]


def build_base(hidden_size: int) -> nn.Module:
    """Return a random base of two layers."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=hidden_size,
        intermediate_size=hidden_size * 11 // 4,
        num_hidden_layers=2,
        num_attention_heads=8,
        num_key_value_heads=8,
    )
    return LlamaForCausalLM(config)


def adapted(base: nn.Module, name: str) -> nn.Module:
    """Return the base with an adapter whose B is not zero, ready to train."""
    if name == "lora":
        config = LoraConfig(r=RANK, init_lora_weights=False, **COMMON)
    else:
        kind = name.split()[0]
        config = CONFIGS[kind](task_names=TASKS, init_weights=False, **COMMON, **OPTIONS[name])
    model = get_peft_model(base, config)
    model.train()
    model.enable_input_require_grads()
    return model


def saved_bytes(model: nn.Module, ids: torch.Tensor, inputs: dict[str, torch.Tensor]) -> int:
    """Return what the adapters keep of one pass beside the states they read, in bytes."""
    seen: set[int] = set()
    held: list[torch.Tensor] = []
    total = 0

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        nonlocal total
        held.append(tensor)  # freed memory could be taken by another tensor, and pass for this one
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in seen:
            seen.add(storage.data_ptr())
            total += storage.nbytes()
        return tensor

    def skip_input(module: nn.Module, given: tuple[torch.Tensor, ...]) -> None:
        # Every adapter keeps the state it reads, and several layers share one.
        held.append(given[0])
        seen.add(given[0].untyped_storage().data_ptr())

    def kept() -> int:
        nonlocal total
        total = 0
        held.clear()
        seen.clear()
        seen.update(value.untyped_storage().data_ptr() for value in model.parameters())
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            loss = model(input_ids=ids, labels=ids, use_cache=False, **inputs).loss
        del loss
        return total

    layers = [module for module in model.modules() if isinstance(module, BaseTunerLayer)]
    hooks = [layer.register_forward_pre_hook(skip_input) for layer in layers]
    with_adapter = kept()
    with model.disable_adapter():
        without = kept()
    for hook in hooks:
        hook.remove()
    return with_adapter - without


if __name__ == "__main__":
    main()
