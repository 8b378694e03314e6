"""One task of a multi-task adapter as a plain PEFT LoRA, which every tool can load.

Exact where all tokens of the task get the same linear update (routers `task` and `uniform`,
`mtlora`, `mtl_lora`). A router of tokens is replaced by its mean gates over given text; that loses
something, and what is measured as KL is written beside the adapter.

    N tokens, V vocabulary, E experts
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from pipeline.adapter_folder import EXPORT_FILE
from pipeline.adapters.base_fingerprint import BASE_MODEL_FILE, BaseFingerprint
from pipeline.adapters.batch_tasks import active_task
from pipeline.adapters.model_loads import routed_layers
from pipeline.adapters.routed_config import RoutedConfig
from pipeline.errors import AdapterError, did_you_mean
from pipeline.files import check_replaceable, staged_folder, write_json, write_text
from pipeline.types import Json

if TYPE_CHECKING:
    from peft import PeftModel

    from pipeline.adapters.routed_layer import RoutedLinear


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportReport:
    """What an exported adapter is worth."""

    task: str
    adapter_type: str
    is_exact: bool
    num_tokens: int = 0
    """Tokens the mean gates and the divergence were measured on."""
    kl_nats: float | None = None
    """Mean divergence per token of the export from the live adapter; `None` where it is exact."""

    def to_json(self) -> Json:
        """Return the fields as JSON."""
        return cast("Json", asdict(self))


def is_exactly_exportable(model: nn.Module) -> bool:
    """Return whether all tokens of a task get the same linear update."""
    return all(layer.plans[adapter].is_constant for _, adapter, layer in routed_layers(model))


def export_lora(
    model: PeftModel,
    task: str,
    folder: Path,
    *,
    rows: Sequence[Tensor] = (),
    adapter: str = "default",
) -> ExportReport:
    """Write one task of a routed adapter as a PEFT LoRA folder.

    Args:
        model: A base with the adapter; left as it is.
        task: Name of the task.
        folder: Replaced in one step if it is an export.
        rows: Token ids of the task's text, each `[T]`; needed where the router reads tokens.
        adapter: Name of the adapter in `model`.

    Raises:
        AdapterError: The adapter or the task cannot be exported.
        OutputError: The folder cannot be written, or holds something else (OUT004).
    """
    target = check_replaceable(folder, record=EXPORT_FILE)
    config = model.peft_config[adapter]
    number = _task_number(config, task)
    exact = is_exactly_exportable(model)
    if not exact:
        _check_lossy(model, rows)
    gates = {} if exact else measure_mean_gates(model, rows, task=number)
    factors: dict[str, tuple[Tensor, Tensor]] = {}
    for name, own, layer in routed_layers(model):
        if own == adapter:
            factors[name] = layer.constant_factors(adapter, number, mean_gates=gates.get(name))
    was_training = model.training
    model.eval()
    report = ExportReport(
        task=task,
        adapter_type=config.method,
        is_exact=exact,
        num_tokens=sum(len(row) for row in rows) if not exact else 0,
        kl_nats=None if exact else _divergence(model, factors, rows, task=number),
    )
    model.train(was_training)
    with staged_folder(target) as staged:
        _write_lora(model, config, factors, staged)
        if config.base_model_name_or_path:
            BaseFingerprint.of(config.base_model_name_or_path).write(staged / BASE_MODEL_FILE)
        write_json(staged / EXPORT_FILE, report.to_json())
        write_text(staged / "README.md", _describe(report))
    return report


def measure_mean_gates(model: nn.Module, rows: Sequence[Tensor], *, task: int) -> dict[str, Tensor]:
    """Return the mean gates of each layer over the tokens of `rows`, float32 `[E]`."""
    sums: dict[str, Tensor] = {}
    hooks = []
    for name, adapter, layer in routed_layers(model):
        if layer.plans[adapter].num_experts:
            hooks.append(layer.register_forward_pre_hook(_gate_recorder(sums, name, adapter)))
    try:
        for _ in _passes(model, rows, task=task):
            pass
    finally:
        for hook in hooks:
            hook.remove()
    num_tokens = sum(len(row) for row in rows)
    return {name: total / num_tokens for name, total in sums.items()}


def _gate_recorder(sums: dict[str, Tensor], name: str, adapter: str) -> Any:  # noqa: ANN401
    def record(layer: RoutedLinear, inputs: tuple[Tensor, ...]) -> None:
        gates = layer.gates_of(adapter, inputs[0]).sum(dim=0)
        sums[name] = sums[name] + gates if name in sums else gates

    return record


@torch.no_grad()
def _passes(model: nn.Module, rows: Sequence[Tensor], *, task: int) -> Iterator[Tensor]:
    """Yield the log-probabilities of each row, `[T, V]`."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        with active_task(model, task):
            for row in rows:
                logits = model(input_ids=row[None].to(device), use_cache=False).logits[0]
                yield torch.log_softmax(logits.float(), dim=-1)
    finally:
        model.train(was_training)


def _divergence(
    model: nn.Module,
    factors: Mapping[str, tuple[Tensor, Tensor]],
    rows: Sequence[Tensor],
    *,
    task: int,
) -> float:
    """Return the mean over tokens of KL(live || exported), in nats."""
    total, num_tokens = 0.0, 0
    for row in rows:
        (live_TV,) = _passes(model, [row], task=task)
        with _replaced_by(model, factors):
            (own_TV,) = _passes(model, [row], task=task)
        total += float((live_TV.exp() * (live_TV - own_TV)).sum())
        num_tokens += len(row)
    return total / max(num_tokens, 1)


@contextlib.contextmanager
def _replaced_by(model: nn.Module, factors: Mapping[str, tuple[Tensor, Tensor]]) -> Iterator[None]:
    """Let constant factors act in place of the layers' own updates."""
    layers = {name: layer for name, _, layer in routed_layers(model)}
    try:
        for name, pair in factors.items():
            layers[name].constant_update = pair
        yield
    finally:
        for name in factors:
            layers[name].constant_update = None


def _task_number(config: object, task: str) -> int:
    if not isinstance(config, RoutedConfig):
        raise AdapterError(
            "ADP008",
            "this adapter is no multi-task adapter, so it has nothing to export per task",
            where="adapter",
            hint="It loads as it is",
        )
    if task not in config.task_names:
        raise AdapterError(
            "ADP008",
            f"the adapter was not trained on a task {task!r}",
            where="--task",
            hint=did_you_mean(task, config.task_names),
        )
    return config.task_names.index(task)


def _check_lossy(model: nn.Module, rows: Sequence[Tensor]) -> None:
    for _, adapter, layer in routed_layers(model):
        plan = layer.plans[adapter]
        if plan.normalise_ranks or plan.feature_gate:
            raise AdapterError(
                "ADP008",
                "normalised or gated ranks are not linear, so no LoRA comes near them",
                where="adapter",
                hint="Keep the adapter as it is",
            )
    if not sum(len(row) for row in rows):
        raise AdapterError(
            "ADP008",
            "the router reads tokens, so the export needs mean gates, which loses something",
            where="adapter",
            hint="Ask for it with --lossy",
        )


def _write_lora(
    model: PeftModel,
    config: RoutedConfig,
    factors: Mapping[str, tuple[Tensor, Tensor]],
    folder: Path,
) -> None:
    from peft import LoraConfig, get_peft_model_state_dict
    from safetensors.torch import save_file

    ranks = {name: a.shape[0] for name, (a, _) in factors.items()}
    rank = max(ranks.values())
    # Other layers' weights, such as modules_to_save, keep their names.
    tensors = {
        name: value
        for name, value in get_peft_model_state_dict(model).items()
        if ".routed_" not in name
    }
    for name, (a, b) in factors.items():
        tensors[f"{name}.lora_A.weight"] = a
        tensors[f"{name}.lora_B.weight"] = b
    other = {
        name.removeprefix("base_model.model."): each for name, each in ranks.items() if each != rank
    }
    lora = LoraConfig(
        task_type=config.task_type,
        base_model_name_or_path=config.base_model_name_or_path,
        r=rank,
        # The scale is inside B.
        lora_alpha=rank,
        rank_pattern=dict(other),
        alpha_pattern=dict(other),
        target_modules=config.target_modules,
        exclude_modules=config.exclude_modules,
        layers_to_transform=config.layers_to_transform,
        layers_pattern=config.layers_pattern,
        modules_to_save=config.modules_to_save,
        trainable_token_indices=config.trainable_token_indices,
        inference_mode=True,
    )
    lora.save_pretrained(str(folder))
    whole = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    save_file(whole, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def _describe(report: ExportReport) -> str:
    lines = [f"# LoRA of task {report.task}", ""]
    lines.append(f"Exported from an adapter of type `{report.adapter_type}`.")
    if report.is_exact:
        lines.append("Exact: it computes what the adapter computes for this task.")
    else:
        lines.append(
            f"Lossy: mean gates stand for the router. KL from the live adapter "
            f"{report.kl_nats:.4f} nats per token, on {report.num_tokens} tokens."
        )
    return "\n".join([*lines, ""])
