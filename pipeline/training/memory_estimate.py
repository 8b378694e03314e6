"""How much device memory a recipe will need, from the model's configuration alone.

    weights       what is loaded, in its type or quantised
    adapter       weights, gradients and optimizer states of what is trained
    activations   what one forward pass keeps for the backward pass
    answers       logits of the answer tokens, in float32, twice

Of one device, without sharding: ZeRO and FSDP need less. An estimate: libraries, fragmentation
and kernels add some, 10 to 20 % as a rule.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from pipeline.recipe import Recipe
from pipeline.types import Json

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
_QUANTISED_BYTES = {"load_in_4bit": 0.5 + 4 / 64, "load_in_8bit": 1.0}
"""Per weight of a linear layer; 4 bits come with one float32 per 64 weights."""
_OPTIMIZER_BYTES = {
    "adamw_8bit": 2,
    "paged_adamw_8bit": 2,
    "lion_32bit": 4,
    "lion_8bit": 1,
    "adafactor": 0,
    "sgd": 0,
}
_ADAM_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryEstimate:
    """Bytes on one device."""

    weights: int
    adapter: int
    activations: int
    answers: int
    num_parameters: int
    """Of the base model."""
    num_trained_parameters: int

    @property
    def total(self) -> int:
        """All bytes."""
        return self.weights + self.adapter + self.activations + self.answers

    def to_json(self) -> dict[str, Json]:
        """Return the estimate as plain JSON, in bytes."""
        return cast("dict[str, Json]", {**asdict(self), "total": self.total})


def estimate_memory(recipe: Recipe, source: str, *, answer_fraction: float = 1.0) -> MemoryEstimate:
    """Return what training on one device will take.

    Args:
        recipe: Batch size, length, types, adapter and optimizer.
        source: Name of the base model, as for `resolve_model`; only its configuration is read.
        answer_fraction: Share of tokens that are trained on.

    Raises:
        ModelError: The configuration cannot be read.
        PipelineError: The adapter does not fit the model.
    """
    import torch

    from pipeline.adapters.registry import attach_adapter
    from pipeline.models.loading import build_skeleton

    model = build_skeleton(source, revision=recipe.model_revision)
    num_parameters = sum(parameter.numel() for parameter in model.parameters())
    weights = _weight_bytes(model, recipe)
    text_config = model.config.get_text_config()
    names = [entry.task for entry in recipe.tasks]
    with torch.device("meta"):
        adapted = attach_adapter(model, recipe.adapter_settings, task_names=names)
    trained = sum(p.numel() for p in adapted.parameters() if p.requires_grad)
    num_tokens = recipe.per_device_train_batch_size * recipe.max_length
    return MemoryEstimate(
        weights=weights,
        adapter=trained * (4 + 4 + _OPTIMIZER_BYTES.get(recipe.optim, _ADAM_BYTES)),
        activations=num_tokens * _activation_bytes_per_token(text_config, recipe),
        answers=round(num_tokens * answer_fraction) * text_config.vocab_size * 4 * 2,
        num_parameters=num_parameters,
        num_trained_parameters=trained,
    )


def _weight_bytes(model: PreTrainedModel, recipe: Recipe) -> int:
    from torch import nn

    per_weight = _bytes_of_weights(recipe)
    quantised = next((b for name, b in _QUANTISED_BYTES.items() if getattr(recipe, name)), None)
    head = model.get_output_embeddings()
    total = 0.0
    linear = 0
    if quantised is not None:
        linear = sum(
            module.weight.numel()
            for module in model.modules()
            if isinstance(module, nn.Linear) and module is not head
        )
        total += linear * quantised
    total += (sum(p.numel() for p in model.parameters()) - linear) * per_weight
    return round(total)


def _bytes_of_weights(recipe: Recipe) -> int:
    if recipe.dtype != "auto":
        return _BYTES[recipe.dtype]
    from pipeline.models.loading import resolve_dtype

    return resolve_dtype("auto").itemsize


def _activation_bytes_per_token(config: Any, recipe: Recipe) -> int:  # noqa: ANN401 - any model's
    """Return what all layers keep of one token between forward and backward pass.

    Counted are the inputs of norms, projections, attention and the gated feed-forward part, as in
    Korthikanti et al. 2022 (arXiv:2205.05198, section 4.1), for attention that keeps no scores.
    """
    hidden, layers = config.hidden_size, config.num_hidden_layers
    inner = getattr(config, "intermediate_size", None) or 4 * hidden
    heads = config.num_attention_heads
    kv_share = (getattr(config, "num_key_value_heads", None) or heads) / heads
    is_half = recipe.bf16 or recipe.fp16 or _bytes_of_weights(recipe) == 2
    size = 2 if is_half else 4
    one_layer = size * (8 * hidden + 2 * kv_share * hidden + 4 * inner)
    if recipe.attn_implementation == "eager":
        one_layer += size * 2 * heads * recipe.max_length
    if recipe.gradient_checkpointing:
        return round(layers * size * hidden + one_layer)
    return round(layers * one_layer)
