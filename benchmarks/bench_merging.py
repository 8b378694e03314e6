"""Time and peak memory of merging 8 adapters of rank 16 of a base of 1.2 billion weights.

Random factors in the shapes of a Llama of 16 layers, hidden size 2048. Each case is a new process;
making the adapters is not measured. Rules are measured on one layer, since they take the layers
one after the other. Learning is one step on two tasks, 8 rows of 64 tokens, base in bfloat16.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from benchmarks.paired import RESULTS, hardware
from pipeline.adapters.base_fingerprint import BaseFingerprint
from pipeline.adapters.merging.factors import Expert, Factors
from pipeline.adapters.merging.merge import load_experts, merge
from pipeline.adapters.merging.mixer import Mixer
from pipeline.adapters.merging.writing import write_merged
from pipeline.recipe.merging import MergeRecipe
from pipeline.training.merge_fit import FitBatch, FitSettings, fit_coefficients
from pipeline.types import IGNORE_INDEX

NUM_ADAPTERS, RANK, NUM_LAYERS = 8, 16, 16
HIDDEN, INTERMEDIATE, KEY_VALUE, VOCABULARY = 2048, 8192, 512, 128_256
LINEAR = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KEY_VALUE, HIDDEN),
    "self_attn.v_proj": (KEY_VALUE, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INTERMEDIATE, HIDDEN),
    "mlp.up_proj": (INTERMEDIATE, HIDDEN),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
}
"""Output and input sizes."""
CASES = {
    "exact sum": {"method": "linear"},
    "sum cut to rank 16": {"method": "linear", "rank": RANK},
    "ties, one layer": {"method": "ties"},
    "one learning step": None,
}


@dataclass(frozen=True)
class Measured:
    """One process."""

    case: str
    seconds: float
    peak_mib: float
    """Highest resident memory, the interpreter and its libraries included."""


def main() -> None:
    """Measure all cases and write `results/merging.json`."""
    found = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_adapters(folder)
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.bench_merging", name, case]
            environment = {**os.environ, "OMP_NUM_THREADS": "1"}
            printed = subprocess.run(
                command, env=environment, check=True, capture_output=True, text=True
            ).stdout
            measured = Measured(**json.loads(printed.splitlines()[-1]))
            print(f"{case:20} {measured.seconds:7.1f} s {measured.peak_mib:7.0f} MiB")
            found.append(asdict(measured))
    RESULTS.mkdir(exist_ok=True)
    value = {"hardware": hardware(), "cases": found}
    (RESULTS / "merging.json").write_text(json.dumps(value, indent=2) + "\n")


def make_adapters(folder: Path) -> None:
    """Write adapters of all layers, and of the first one alone."""
    for number in range(NUM_ADAPTERS):
        torch.manual_seed(number)
        modules = {
            f"model.layers.{layer}.{name}": Factors(
                torch.randn(RANK, d_in) / d_in**0.5, torch.randn(d_out, RANK) * 0.01
            )
            for layer in range(NUM_LAYERS)
            for name, (d_out, d_in) in LINEAR.items()
        }
        source = Expert(
            name="random", folder=folder, modules={}, base=BaseFingerprint("1b"), weights_sha256=""
        )
        write_merged(modules, folder / f"all-{number}", experts=[source], record={})
        first = {name: each for name, each in modules.items() if ".layers.0." in name}
        write_merged(first, folder / f"first-{number}", experts=[source], record={})


def measure(folder: Path, case: str) -> Measured:
    """Run one case in this process."""
    kind = "first" if "one layer" in case else "all"
    adapters = [{"name": str(n), "path": str(folder / f"{kind}-{n}")} for n in range(NUM_ADAPTERS)]
    fields = CASES[case] or {"method": "linear"}
    recipe = MergeRecipe.model_validate(
        {"adapters": adapters, "output_dir": str(folder / "merged"), **fields}
    )
    started = time.monotonic()
    experts = load_experts(recipe)
    if CASES[case] is None:
        learn(experts)
    else:
        merge(recipe, experts)
    lines = Path("/proc/self/status").read_text().splitlines()
    peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    return Measured(case, round(time.monotonic() - started, 2), round(peak / 1024, 1))


def learn(experts: list[Expert]) -> None:
    """Make one step of `expert_kl` on random rows of two tasks."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=NUM_LAYERS,
        num_attention_heads=32,
        num_key_value_heads=8,
        tie_word_embeddings=True,
    )
    torch.set_default_dtype(torch.bfloat16)
    model = LlamaForCausalLM(config)
    torch.set_default_dtype(torch.float32)
    mixer = Mixer(model, experts, init=0.125)
    ids = torch.randint(VOCABULARY, (8, 64))
    labels = ids.clone()
    labels[:, :-4] = IGNORE_INDEX
    batch = FitBatch(input_ids=ids, attention_mask=torch.ones_like(ids), labels=labels)
    fit_coefficients(model, mixer, {"0": [batch], "1": [batch]}, FitSettings(num_steps=1))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(asdict(measure(Path(sys.argv[1]), sys.argv[2]))))
    else:
        main()
