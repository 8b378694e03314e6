"""LoRA adapters as pairs of factors, read without the base model.

An adapter changes the weight of a module by `s B A`, with `A` of shape `[r, d_in]` and `B` of
shape `[d_out, r]` (LoRA, arXiv:2106.09685). The scale `s` is multiplied into `B` here, whatever
the folder's way of writing it is: `alpha / r`, or `alpha / sqrt(r)` for rsLoRA.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE, read_adapter_config
from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.plain_lora import why_not_plain
from pipeline.errors import AdapterError, PipelineError, raise_all
from pipeline.files import sha256_of_file
from pipeline.types import Json

if TYPE_CHECKING:
    import torch

_WEIGHT = re.compile(r"\Abase_model\.model\.(?P<module>.+)\.lora_(?P<side>[AB])\.weight\Z")


@dataclass(frozen=True, slots=True)
class Factors:
    """The two factors of one module; the change of its weight is `B @ A`."""

    A: torch.Tensor
    """Shape `[r, d_in]`."""
    B: torch.Tensor
    """Shape `[d_out, r]`, the scale multiplied in."""

    @property
    def rank(self) -> int:
        """Rank `r`."""
        return int(self.A.shape[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class Expert:
    """One adapter to be merged."""

    name: str
    folder: Path
    modules: Mapping[str, Factors]
    base: BaseFingerprint
    weights_sha256: str
    """Of the weight file, so that a merge can be told from another."""


def load_expert(name: str, folder: Path, *, dtype: torch.dtype | None = None) -> Expert:
    """Read a LoRA adapter.

    Args:
        name: What it is called in coefficients and messages.
        folder: A PEFT folder.
        dtype: Of the factors; `None` for float32.

    Raises:
        AdapterError: No PEFT folder (ADP003, ADP005), or one that is no plain LoRA, so that it is
            not the sum of low-rank products this merge is about (ADP020).
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    config = cast("dict[str, Json]", read_adapter_config(folder))
    path = folder / ADAPTER_WEIGHTS_FILE
    try:
        tensors = load_file(path)
    except SafetensorError as error:
        raise AdapterError("ADP005", "the weights cannot be read", where=path) from error
    _refuse_other_forms(config, tensors, folder)
    sides: dict[str, dict[str, torch.Tensor]] = {}
    for key, tensor in tensors.items():
        match = _WEIGHT.match(key)
        assert match is not None
        sides.setdefault(match["module"], {})[match["side"]] = tensor.to(dtype or torch.float32)
    modules = {}
    for module, pair in sorted(sides.items()):
        if len(pair) != 2 or pair["A"].shape[0] != pair["B"].shape[1]:
            raise AdapterError("ADP005", f"the factors of {module} do not fit", where=path)
        modules[module] = Factors(pair["A"], pair["B"] * _scale(config, module))
    base = BaseFingerprint.read(folder / BASE_MODEL_FILE) or BaseFingerprint(
        str(config.get("base_model_name_or_path") or "")
    )
    return Expert(
        name=name,
        folder=folder,
        modules=modules,
        base=base,
        weights_sha256=sha256_of_file(path),
    )


def check_mergeable(experts: Sequence[Expert]) -> None:
    """Check that the adapters belong to one base, with matching modules.

    Adapters may differ in rank, and in which modules they change: an absent one changes nothing.

    Raises:
        AdapterError: Names that repeat (ADP021), another base (ADP022), or another shape (ADP023).
        PipelineErrors: Several of these.
    """
    errors: list[PipelineError] = []
    shapes: dict[str, tuple[tuple[int, int], str]] = {}
    seen: set[str] = set()
    for place, expert in enumerate(experts):
        if expert.name in seen:
            errors.append(AdapterError("ADP021", "two adapters have this name", where=expert.name))
        seen.add(expert.name)
        # With all before it: one that does not say what its base is differs from none.
        other = next(
            (each for each in experts[:place] if expert.base.differs_from(each.base)), None
        )
        if other is not None:
            message = f"trained on {expert.base.name!r}, {other.name!r} on {other.base.name!r}"
            errors.append(
                AdapterError(
                    "ADP022",
                    message,
                    where=expert.folder,
                    hint="Only adapters of one base model can be merged",
                )
            )
        for module, factors in expert.modules.items():
            shape = (int(factors.B.shape[0]), int(factors.A.shape[1]))
            expected, owner = shapes.setdefault(module, (shape, expert.name))
            if shape != expected:
                errors.append(
                    AdapterError(
                        "ADP023",
                        f"{module} is {shape[0]} x {shape[1]}, in {owner!r} it is "
                        f"{expected[0]} x {expected[1]}",
                        where=expert.folder,
                        hint="Only adapters of one base model can be merged",
                    )
                )
                break
    raise_all(errors)


def check_base(experts: Sequence[Expert], base: BaseFingerprint) -> None:
    """Check that a model is the one that the adapters were trained on.

    Raises:
        AdapterError: It is another (ADP022).
        PipelineErrors: For several adapters.
    """
    raise_all(
        [
            AdapterError(
                "ADP022",
                f"trained on {expert.base.name!r}, got {base.name!r} with other weights",
                where=expert.folder,
                hint="Name the base of the adapters in `fit.model_name_or_path`",
            )
            for expert in experts
            if expert.base.differs_from(base)
        ]
    )


def module_names(experts: Sequence[Expert]) -> list[str]:
    """Return every module that some adapter changes, sorted."""
    return sorted({module for expert in experts for module in expert.modules})


def _scale(config: Mapping[str, Json], module: str) -> float:
    rank = _by_pattern(config, "rank_pattern", module, cast("float", config["r"]))
    alpha = _by_pattern(config, "alpha_pattern", module, cast("float", config["lora_alpha"]))
    return alpha / (math.sqrt(rank) if config.get("use_rslora") else rank)


def _by_pattern(config: Mapping[str, Json], field: str, module: str, default: float) -> float:
    """Return what the folder says of one module; PEFT's keys are the ends of module names."""
    for pattern, value in (cast("dict[str, float] | None", config.get(field)) or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _refuse_other_forms(
    config: Mapping[str, Json], tensors: Mapping[str, torch.Tensor], folder: Path
) -> None:
    reason = None
    if config.get("peft_type") != "LORA":
        reason = f"it is of type {config.get('peft_type')}; export it as plain LoRA first"
    elif config.get("use_dora"):
        reason = "DoRA rescales the whole weight, which is no sum of low-rank products"
    elif config.get("modules_to_save"):
        reason = f"it trains {config['modules_to_save']} in full"
    elif config.get("trainable_token_indices") is not None:
        reason = "it trains token rows, which belong to one vocabulary"
    elif (other_form := why_not_plain(config)) is not None:
        reason = other_form
    elif any(tensor.ndim != 2 for tensor in tensors.values()):
        reason = "it changes convolutions"
    else:
        other = next((key for key in tensors if _WEIGHT.match(key) is None), None)
        reason = None if other is None else f"it holds {other}"
    if reason is None and not tensors:
        reason = "it holds no weights"
    if reason is not None:
        raise AdapterError(
            "ADP020",
            f"only plain LoRA can be merged: {reason}",
            where=folder,
            hint="Leave it out, or train it as `adapter: {type: lora}`, without `init`",
        )
