"""Adapters that training goes on with: started from another one, or grown beside it.

`start_adapter_from` trains all of a saved adapter on. `extend_adapter` keeps it as it is and gives
new tasks ranks of their own (MTLoRA, arXiv:2403.20320): shared ranks and those of other tasks do
not move by a bit, so neither do the answers of other tasks.
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pipeline.adapter_folder import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_WEIGHTS_FILE,
    read_adapter_config,
)
from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE
from pipeline.adapters.continued_fields import check_given_settings, check_same
from pipeline.adapters.merging.writing import is_transductive
from pipeline.adapters.plain_lora import why_not_plain
from pipeline.adapters.registry import load_adapter
from pipeline.adapters.routed_config import MtloraConfig
from pipeline.adapters.task_weights import task_slices
from pipeline.errors import AdapterError
from pipeline.files import write_json

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from pipeline.recipe.schema import AdapterSettings

_CHOOSING_LAYERS = ("target_modules", "exclude_modules", "layers_to_transform", "layers_pattern")


def start_adapter_from(
    model: PreTrainedModel,
    folder: Path,
    adapter: AdapterSettings,
    *,
    keep_base_dtype: bool = False,
) -> PeftModel:
    """Put a saved LoRA onto its base, to be trained on.

    Args:
        model: The base it was trained on.
        folder: A PEFT folder.
        adapter: What the recipe says of the adapter; it must be what the folder holds.
        keep_base_dtype: As in `attach_adapter`.

    Raises:
        AdapterError: The folder is no such adapter, of another base, or fitted to test prompts.
    """
    config = read_adapter_config(folder)
    _check_not_transductive(folder)
    check_same(config, {"peft_type": "LORA"}, folder)
    check_same(
        config,
        {
            "r": adapter.rank,
            "lora_alpha": adapter.lora_alpha,
            "use_rslora": adapter.use_rslora,
            "use_dora": adapter.use_dora,
        },
        folder,
    )
    check_given_settings(config, adapter, folder)
    _check_layers(model, config, adapter, folder)
    return load_adapter(model, folder, is_trainable=True, keep_base_dtype=keep_base_dtype)


def _check_not_transductive(folder: Path) -> None:
    if is_transductive(folder):
        raise AdapterError(
            "ADP026",
            "the adapter is transductive, fitted to test prompts; what is trained from it would "
            "not say so",
            where=folder,
            hint="Go on with an adapter that was fitted to training or validation rows",
        )


def extend_adapter(
    model: PreTrainedModel,
    folder: Path,
    adapter: AdapterSettings,
    *,
    task_names: Sequence[str],
    keep_base_dtype: bool = False,
) -> PeftModel:
    """Put a saved adapter onto its base, with fresh ranks for new tasks; only these are trained.

    Args:
        model: The base it was trained on.
        folder: An `mtlora` adapter, or a plain LoRA, whose ranks become the shared ones.
        adapter: Says how many ranks a task has, where the folder does not.
        task_names: Tasks that get ranks.
        keep_base_dtype: As in `attach_adapter`.

    Raises:
        AdapterError: The folder is no such adapter, of another base, fitted to test prompts, or
            has a task already.
    """
    config = read_adapter_config(folder)
    _check_not_transductive(folder)
    known = cast("list[str]", config.get("task_names") or [])
    repeated = [name for name in task_names if name in known]
    if repeated:
        raise AdapterError(
            "ADP026",
            f"the adapter has ranks of the task {repeated[0]!r} already",
            where=folder,
            hint="Name tasks that it was not trained on",
        )
    _check_layers(model, config, adapter, folder)
    with tempfile.TemporaryDirectory() as grown:
        _write_grown(folder, Path(grown), adapter, task_names=task_names)
        adapted = load_adapter(
            model, Path(grown), is_trainable=True, keep_base_dtype=keep_base_dtype
        )
    train_only(adapted, range(len(known), len(known) + len(task_names)))
    return adapted


def train_only(model: nn.Module, tasks: Sequence[int]) -> None:
    """Freeze all weights but the parts of some tasks, given by number.

    The rest of a weight that holds such a part gets no gradient, so without weight decay Adam
    leaves it bit by bit as it is.
    """
    slices = task_slices(model)
    own = {id(each.weight) for each in slices}
    for weight in model.parameters():
        if id(weight) not in own:
            weight.requires_grad_(False)
    for each in slices:
        is_own = torch.zeros(each.weight.shape, dtype=torch.bool)
        for task in tasks:
            each.part(is_own, task).fill_(True)
        each.weight.register_hook(_masked_by(is_own))  # type: ignore[no-untyped-call]


def _masked_by(is_own: Tensor) -> Any:  # noqa: ANN401 - torch's hook
    def mask(gradient: Tensor) -> Tensor:
        return torch.where(is_own.to(gradient.device), gradient, 0)

    return mask


def _write_grown(
    folder: Path,
    target: Path,
    adapter: AdapterSettings,
    *,
    task_names: Sequence[str],
) -> None:
    from safetensors.torch import load_file, save_file

    config = read_adapter_config(folder)
    tensors = load_file(folder / ADAPTER_WEIGHTS_FILE)
    if config["peft_type"] == "LORA":
        config = _as_shared_ranks(config, adapter, folder)
        tensors = {
            name.replace(".lora_A.", ".routed_A.").replace(".lora_B.", ".routed_B."): value
            for name, value in tensors.items()
        }
    else:
        # The gate reads all ranks at once, so more ranks would not leave old tasks as they are.
        check_same(config, {"peft_type": "MTLORA", "feature_gate": False}, folder)
    check_given_settings(config, adapter, folder)
    if (rank := int(config["task_rank"])) < 1:
        raise AdapterError(
            "ADP026",
            "tasks have no ranks of their own in this adapter",
            where=folder,
            hint="Set `adapter.task_rank`",
        )
    extra = rank * len(task_names)
    for name, value in tensors.items():
        if name.endswith(".routed_A.weight"):
            fresh = value.new_empty(extra, value.shape[1])
            # As fresh layers start; B is zero, so nothing changes at first.
            nn.init.kaiming_uniform_(fresh, a=math.sqrt(5))
            tensors[name] = torch.cat([value, fresh])
        elif name.endswith(".routed_B.weight"):
            tensors[name] = torch.cat([value, value.new_zeros(value.shape[0], extra)], dim=1)
    save_file(tensors, target / ADAPTER_WEIGHTS_FILE, metadata={"format": "pt"})
    names = [*(config.get("task_names") or []), *task_names]
    changed: dict[str, Any] = {"peft_type": MtloraConfig.saved_type(), "task_names": names}
    write_json(target / ADAPTER_CONFIG_FILE, {**config, **changed})
    if (base := folder / BASE_MODEL_FILE).is_file():
        (target / BASE_MODEL_FILE).write_bytes(base.read_bytes())


def _as_shared_ranks(
    config: Mapping[str, Any], adapter: AdapterSettings, folder: Path
) -> dict[str, Any]:
    """Return the configuration of an `mtlora` adapter without tasks that computes a plain LoRA."""
    check_same(config, {"use_dora": False, "use_rslora": False}, folder)
    if (reason := why_not_plain(config)) is not None:
        raise AdapterError(
            "ADP026",
            f"only plain LoRA can take in a task: {reason}",
            where=folder,
            hint="Train it as `adapter: {type: lora}`, without `init`",
        )
    kept = ("r", "lora_alpha", "lora_dropout", "rank_pattern", "alpha_pattern", "target_modules",
            "exclude_modules", "modules_to_save", "trainable_token_indices",
            "base_model_name_or_path", "task_type")  # fmt: skip
    rank = MtloraConfig.task_rank if adapter.task_rank is None else adapter.task_rank
    made = MtloraConfig(task_names=["unused"], task_rank=rank).to_dict()
    values = {name: list(each) if isinstance(each, set) else each for name, each in made.items()}
    return {**values, **{name: config[name] for name in kept if name in config}, "task_names": []}


def _check_layers(
    model: nn.Module, config: Mapping[str, Any], adapter: AdapterSettings, folder: Path
) -> None:
    """Check that the modules that are asked for are those that the adapter sits on."""
    if "target_modules" not in adapter.model_fields_set:
        return
    own = {name: config.get(name) for name in _CHOOSING_LAYERS}
    wanted = adapter.target_modules
    asked = {"target_modules": wanted if isinstance(wanted, str) else list(wanted)}
    if _matched_layers(model, own) != _matched_layers(model, asked):
        found = own["target_modules"]
        told = found if isinstance(found, str) else ", ".join(sorted(found or ()))
        raise AdapterError(
            "ADP026",
            f"the adapter sits on {told}, this run names other layers in lora_target_modules",
            where=folder,
            hint="Leave the field out, or name another adapter",
        )


def _matched_layers(model: nn.Module, fields: Mapping[str, Any]) -> set[str]:
    from peft import LoraConfig
    from peft.tuners.tuners_utils import (
        _maybe_include_all_linear_layers,
        check_target_module_exists,
    )

    config = _maybe_include_all_linear_layers(LoraConfig(**fields), model)
    return {name for name, _ in model.named_modules() if check_target_module_exists(config, name)}
