"""A merged adapter as a PEFT folder, with `merge.json` that says how it came about."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE, MERGE_FILE
from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE
from pipeline.adapters.merging.factors import Expert, Factors
from pipeline.files import read_json, staged_folder, write_json
from pipeline.types import Json


def write_merged(
    modules: Mapping[str, Factors],
    folder: Path,
    *,
    experts: Sequence[Expert],
    record: Mapping[str, Json],
    lora_alpha_per_rank: float = 1.0,
) -> None:
    """Write factors as a plain LoRA that any PEFT loads.

    Args:
        modules: Factors by module name.
        folder: Made whole, or not at all; one that is there is replaced, whatever it holds.
        experts: What was merged.
        record: What `merge.json` says besides the sources.
        lora_alpha_per_rank: Scale that is taken out of the factors; 1 leaves it in them.

    Raises:
        OutputError: The folder cannot be written.
    """
    from peft import LoraConfig
    from safetensors.torch import save_file

    ranks = {module: factors.rank for module, factors in modules.items()}
    usual = Counter(ranks.values()).most_common(1)[0][0]
    pattern = {module: rank for module, rank in ranks.items() if rank != usual}
    tensors = {}
    for module, factors in modules.items():
        tensors[f"base_model.model.{module}.lora_A.weight"] = factors.A.contiguous()
        tensors[f"base_model.model.{module}.lora_B.weight"] = (
            factors.B / lora_alpha_per_rank
        ).contiguous()
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=usual,
        lora_alpha=usual * lora_alpha_per_rank,
        target_modules=sorted(ranks),
        rank_pattern=dict(pattern),
        alpha_pattern={module: rank * lora_alpha_per_rank for module, rank in pattern.items()},
        base_model_name_or_path=experts[0].base.name or None,
        inference_mode=True,
    )
    sources: list[Json] = [
        {
            "name": expert.name,
            "folder": expert.folder.name,
            "weights_sha256": expert.weights_sha256,
            **({"transductive": True} if is_transductive(expert.folder) else {}),
        }
        for expert in experts
    ]
    with staged_folder(folder) as staged:
        config.save_pretrained(str(staged))
        save_file(tensors, staged / ADAPTER_WEIGHTS_FILE, metadata={"format": "pt"})
        experts[0].base.write(staged / BASE_MODEL_FILE)
        write_json(staged / MERGE_FILE, cast("Json", {"sources": sources, **record}))


def is_transductive(folder: Path) -> bool:
    """Return whether an adapter, or one that it was merged from, was fitted to test prompts.

    Its `merge.json` says so.
    """
    try:
        record = read_json(folder / MERGE_FILE)
    except (OSError, ValueError):
        return False
    if not isinstance(record, dict):
        return False
    sources = record.get("sources")
    parts = [record.get("fit"), *(sources if isinstance(sources, list) else [])]
    return any(isinstance(part, dict) and part.get("transductive") is True for part in parts)
