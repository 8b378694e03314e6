"""Builds, attaches and loads adapters, one entry per type.

Guaranteed: adapter weights are read from safetensors only, and only as the manifest beside them
says, where there is one; an adapter trained on another base is refused where the folder says which
base it was trained on, and where shapes do not fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipeline.adapter_folder import ADAPTER_WEIGHTS_FILE, check_adapter_folder
from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.errors import AdapterError
from pipeline.recipe.schema import AdapterSettings

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from transformers import PreTrainedModel


def build_adapter_config(adapter: AdapterSettings, task_names: Sequence[str] = ()) -> PeftConfig:
    """Return the PEFT configuration of an adapter.

    Args:
        adapter: What to build.
        task_names: Names behind the task ids of batches; types that know tasks keep them.

    Raises:
        ValueError: The options do not fit together.
    """
    is_plain = adapter.type == "lora"
    return _build_lora(adapter) if is_plain else _build_routed(adapter, task_names)


def attach_adapter(
    model: PreTrainedModel,
    adapter: AdapterSettings,
    *,
    task_names: Sequence[str] = (),
    new_token_ids: Sequence[int] = (),
    keep_base_dtype: bool = False,
) -> PeftModel:
    """Add a fresh adapter to `model`; only its weights are trainable afterwards.

    Args:
        model: The base; its linear layers are replaced in place.
        adapter: What to add.
        task_names: Names behind the task ids of batches.
        new_token_ids: Tokens that the base does not know; their rows are made and trained.
        keep_base_dtype: Keep adapter weights in the base's dtype instead of float32, which
            ZeRO-3 needs for bases that are not quantised.

    Raises:
        AdapterError: The options do not fit together; the target modules do not exist, or include
            the output head; or new tokens cannot be added to a partitioned model.
    """
    from peft import get_peft_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    from pipeline.adapters.token_rows import add_token_rows, rows_to_train

    add_token_rows(model, new_token_ids)
    try:
        config = build_adapter_config(adapter, task_names)
    except (ValueError, TypeError) as error:
        raise AdapterError(
            "ADP001",
            f"the adapter's options do not fit together: {_first_line(error)}",
            where="adapter",
        ) from error
    module_names = sorted({name.rpartition(".")[2] for name, _ in model.named_modules()} - {""})
    try:
        rows_to_train(model, config, new_token_ids)
        adapted = get_peft_model(
            model,
            config,
            autocast_adapter_dtype=not keep_base_dtype,
        )
    except (ValueError, TypeError) as error:
        raise AdapterError(
            "ADP001",
            f"the adapter does not fit the model: {_first_line(error)}",
            where="lora_target_modules",
            hint=f"Modules of this model: {', '.join(module_names[:30])}",
        ) from error
    if isinstance(adapted.get_output_embeddings(), BaseTunerLayer):
        raise AdapterError(
            "ADP002",
            "the output head cannot carry an adapter, because the loss reads its weight directly",
            where="lora_target_modules",
            hint="Use 'all-linear', or take 'lm_head' out",
        )
    return adapted


def load_adapter(
    model: PreTrainedModel,
    folder: Path,
    *,
    is_trainable: bool = False,
    keep_base_dtype: bool = False,
) -> PeftModel:
    """Put a saved adapter onto its base model.

    Args:
        model: The base the adapter was trained on.
        folder: A PEFT folder.
        is_trainable: Whether training goes on; otherwise the adapter is frozen.
        keep_base_dtype: As in `attach_adapter`.

    Raises:
        AdapterError: The folder is no adapter, its weights are pickled or broken, or it was
            trained on another base.
    """
    from peft import PeftModel
    from safetensors import SafetensorError

    from pipeline.adapters.token_rows import restore_token_rows

    check_adapter_folder(folder)
    _check_base(model, folder)
    try:
        restore_token_rows(model, folder)
        adapted = PeftModel.from_pretrained(
            model,
            str(folder),
            is_trainable=is_trainable,
            autocast_adapter_dtype=not keep_base_dtype,
        )
        _check_all_weights_loaded(adapted, folder)
    except SafetensorError as error:
        raise AdapterError(
            "ADP005",
            f"the weights cannot be read: {_first_line(error)}",
            where=folder / ADAPTER_WEIGHTS_FILE,
            hint="The file is damaged; save or copy the adapter again",
        ) from error
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise AdapterError(
            "ADP004",
            f"the adapter does not fit this base model: {_first_line(error)}",
            where=folder,
            hint="Load it on the model it was trained on",
        ) from error
    return adapted


def _check_base(model: PreTrainedModel, folder: Path) -> None:
    trained_on = BaseFingerprint.read(folder / BASE_MODEL_FILE)
    given = BaseFingerprint.of(model.name_or_path)
    if trained_on is not None and trained_on.differs_from(given):
        raise AdapterError(
            "ADP004",
            f"trained on {trained_on.name!r}, got {given.name!r} with other weights",
            where=folder,
            hint="Load it on the model it was trained on",
        )


def _check_all_weights_loaded(adapted: PeftModel, folder: Path) -> None:
    # PEFT only warns about weights that the file lacks, and leaves them at their random start.
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / ADAPTER_WEIGHTS_FILE, framework="pt") as weights:
        stored = set(weights.keys())
    # Adapters made elsewhere may hold whole embeddings too; ours do not.
    differing = sorted(
        stored ^ set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    )
    if differing and stored != set(get_peft_model_state_dict(adapted)):
        raise AdapterError(
            "ADP004",
            f"{len(differing)} weights of file and adapter do not match, e.g. {differing[0]}",
            where=folder,
            hint="Load it on the model it was trained on",
        )


def _shared_options(adapter: AdapterSettings) -> dict[str, Any]:
    targets, saved = adapter.target_modules, adapter.modules_to_save
    return {
        "task_type": "CAUSAL_LM",
        "r": adapter.rank,
        "lora_alpha": adapter.lora_alpha,
        "lora_dropout": adapter.lora_dropout,
        "target_modules": targets if isinstance(targets, str) else list(targets),
        "modules_to_save": None if saved is None else list(saved),
    }


def _build_lora(adapter: AdapterSettings) -> PeftConfig:
    from peft import LoraConfig

    return LoraConfig(
        **_shared_options(adapter),
        use_rslora=adapter.use_rslora,
        use_dora=adapter.use_dora,
        init_lora_weights="pissa" if adapter.init == "pissa" else True,
        bias="none",
    )


_ROUTED_OPTIONS = (
    "preset",
    "router",
    "num_active_ranks",
    "block_size",
    "num_b_factors",
    "num_shared_ranks",
    "score",
    "router_task_input",
    "router_low_rank",
    "share_router",
    "balance_rate",
    "normalise_ranks",
    "feature_gate",
    "task_rank",
    "task_mixing",
    "ranks_per_group",
)


def _build_routed(adapter: AdapterSettings, task_names: Sequence[str]) -> PeftConfig:
    from pipeline.adapters.routed_config import CONFIGS

    options = {name: getattr(adapter, name) for name in _ROUTED_OPTIONS}
    shared = _shared_options(adapter)
    if adapter.preset == "paper":
        # The preset has values of its own for what is not set.
        for name in {"lora_alpha", "lora_dropout"} - adapter.model_fields_set:
            del shared[name]
    return CONFIGS[adapter.type](
        **shared,
        task_names=list(task_names),
        task_groups=[list(group) for group in adapter.task_groups or ()],
        **{name: value for name, value in options.items() if value is not None},
    )


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
