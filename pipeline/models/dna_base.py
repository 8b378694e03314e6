"""Untrained models to start from scratch on DNA, in the sizes of Omni-DNA (arXiv:2502.03499).

Llama layers with the tokenizer of the embedded base: text, single bases and 3-mers; `dna_unit`
adds others. Weights are random, the same for a size on every machine with the same torch.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path

from pipeline.files import cache_root, is_complete_folder, sha256_of_json, staged_folder
from pipeline.types import Json

_VERSION = 2
"""Raise when the same size gives other weights."""


@dataclass(frozen=True, slots=True)
class DnaBaseSize:
    """Shape of one size."""

    num_layers: int
    hidden_size: int
    head_width: int = 64
    mlp_ratio: int = 4
    """Width of the feed-forward layer over `hidden_size`."""


DNA_BASES: dict[str, DnaBaseSize] = {
    "dna-200k": DnaBaseSize(1, 64, head_width=16, mlp_ratio=2),
    "dna-2m": DnaBaseSize(4, 128),
    "dna-20m": DnaBaseSize(8, 256),
    "dna-60m": DnaBaseSize(8, 512),
    "dna-116m": DnaBaseSize(12, 768),
    "dna-300m": DnaBaseSize(16, 1024),
    "dna-700m": DnaBaseSize(16, 1536),
    "dna-1b": DnaBaseSize(16, 2048),
}
"""Layers and widths of Omni-DNA, and two small enough for a CPU."""


def ensure_dna_base(name: str, *, seed: int = 0) -> Path:
    """Return the folder of an untrained model; write it first when it is missing or damaged.

    Args:
        name: In `DNA_BASES`.
        seed: Of the weights.

    Raises:
        OutputError: The cache folder cannot be written.
    """
    size = DNA_BASES[name]
    shape: list[Json] = [_VERSION, *astuple(size), seed]
    folder = cache_root() / "dna-base" / f"{name}-{sha256_of_json(shape)[:12]}"
    if not is_complete_folder(folder):
        with staged_folder(folder) as staged:
            _write(staged, size, seed)
    return folder


def _write(folder: Path, size: DnaBaseSize, seed: int) -> None:
    import torch
    from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM

    from pipeline.models.embedded.build import build_embedded_tokenizer

    tokenizer = build_embedded_tokenizer()
    num_heads = size.hidden_size // size.head_width
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=size.hidden_size,
        num_hidden_layers=size.num_layers,
        num_attention_heads=num_heads,
        num_key_value_heads=num_heads,
        intermediate_size=size.mlp_ratio * size.hidden_size,
        # The usual 0.02 is meant for wide models; narrow ones learn little from it at first.
        initializer_range=size.hidden_size**-0.5,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
