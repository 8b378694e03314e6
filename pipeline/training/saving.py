"""Writes the trained adapter as a PEFT folder, whole or not at all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model

from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.model_loads import balance_biases
from pipeline.adapters.routed_config import RoutedConfig
from pipeline.errors import AdapterError
from pipeline.files import staged_folder, write_text
from pipeline.training.processes import run_in_first

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

    from pipeline.training.trainer import MultiTaskTrainer


_MARKS_OF_SAVED = (".modules_to_save.default.", ".trainable_tokens_delta.")
"""In names of weights that are saved beside those of adapted layers."""


def save_adapter(trainer: MultiTaskTrainer, folder: Path, *, base_source: str) -> None:
    """Save adapter, tokenizer and the base's fingerprint; every process must call this.

    Args:
        trainer: Holds the trained model.
        folder: The PEFT folder; replaced in one step if it is there.
        base_source: Folder or hub id of the base, written into the adapter's configuration.

    Raises:
        AdapterError: A weight is empty or not finite.
        OutputError: The folder cannot be written.
        TrainingError: One of these happened in another process.
    """
    model = trainer.accelerator.unwrap_model(trainer.model)
    assert is_peft_model(model)
    weights = gather_adapter_weights(model)

    run_in_first(
        trainer.accelerator.state,
        lambda: _write(trainer, model, weights, folder, base_source=base_source),
    )


def _write(
    trainer: MultiTaskTrainer,
    model: PeftModel,
    weights: dict[str, Tensor],
    folder: Path,
    *,
    base_source: str,
) -> None:
    _check_weights(weights, folder)
    tokenizer: PreTrainedTokenizerBase = trainer.processing_class
    with staged_folder(folder) as staged:
        model.peft_config["default"].base_model_name_or_path = base_source
        # What is trained of embeddings is among the weights; PEFT would add the whole table.
        model.save_pretrained(
            str(staged), state_dict=weights, is_main_process=True, save_embedding_layers=False
        )
        (staged / "README.md").unlink(missing_ok=True)
        _explain_loading(staged, model.peft_config["default"])
        tokenizer.save_pretrained(str(staged))
        BaseFingerprint.of(base_source).write(staged / BASE_MODEL_FILE)


def gather_adapter_weights(model: PeftModel) -> dict[str, Tensor]:
    """Return the adapter's weights and balance biases, whole, on the CPU, by their names.

    Those that are kept as they are, as in a grown adapter, belong to it too.
    Sharded engines keep a piece of each weight per process; only the adapter's own, small
    weights are gathered, never the base.
    """
    marks = (f".{model.base_model.prefix}", *_MARKS_OF_SAVED)
    own = {
        name: value
        for name, value in model.named_parameters()
        if value.requires_grad or any(mark in name for mark in marks)
    }
    with _whole_parameters(list(own.values())):
        whole = {name: _whole(value).detach().cpu().clone() for name, value in own.items()}
    # Shared weights are listed once above, but stand in a file under each of their names.
    by_identity = {id(value): whole[name] for name, value in own.items()}
    for name, value in model.named_parameters(remove_duplicate=False):
        if name not in whole and id(value) in by_identity:
            whole[name] = by_identity[id(value)].clone()
    return whole | {name: bias.cpu().clone() for name, bias in balance_biases(model).items()}


def _explain_loading(folder: Path, config: PeftConfig) -> None:
    """Write down what a loader of the multi-task family needs."""
    if isinstance(config, RoutedConfig):
        kind = config.peft_type.value
        lines = [f"# {kind} adapter", "", "Needs taskloom beside PEFT.", "", "```python"]
        lines += ["import pipeline.adapters", "from peft import AutoPeftModelForCausalLM", ""]
        lines += ["model = AutoPeftModelForCausalLM.from_pretrained(FOLDER)", "```", ""]
        write_text(folder / "README.md", "\n".join(lines))


def _whole(value: Tensor) -> Tensor:
    gather = getattr(value, "full_tensor", None)
    return gather() if gather is not None else value


def _whole_parameters(parameters: list[Any]) -> contextlib.AbstractContextManager[Any]:
    if not any(hasattr(parameter, "ds_id") for parameter in parameters):
        return contextlib.nullcontext()
    import deepspeed

    return deepspeed.zero.GatheredParameters(parameters)


def _check_weights(weights: dict[str, Tensor], folder: Path) -> None:
    for name, value in weights.items():
        if value.numel() == 0 or not torch.isfinite(value).all():
            what = "empty" if value.numel() == 0 else "not finite"
            raise AdapterError("ADP006", f"the weight {name} is {what}", where=folder)
