"""An output head for CPUs that looks at answer tokens only.

TRL's fused head picks out the tokens that carry loss on GPUs, but scores all of them elsewhere;
with answers of a quarter of the tokens that costs a third of a small model's step. The values are
the same: the natural log-probability of every answer token, and whether it was the likeliest.

    B rows, S = T - 1 predictions, N answer tokens, V vocabulary, H hidden size
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint
from transformers.utils import ModelOutput

from pipeline.types import IGNORE_INDEX

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_MAX_LOGITS = 1 << 24
"""Logits held at once, 64 MB in float32; more are computed piece by piece, twice."""

_LOGIT_RULES = (
    "final_logit_softcapping",
    "logit_scale",
    "logits_scaling",
    "output_multiplier",
    "lm_head_multiplier",
)
"""Settings of models whose logits are more than a matrix product; TRL's head knows them."""


@dataclass
class AnswerOutput(ModelOutput):
    """What the loss reads; fields are named as in TRL's fused output, shapes `[B, S]`.

    A `ModelOutput`, because engines look for tensors in those.
    """

    log_probs: Tensor | None = None
    """0 where the token carries no loss."""
    is_top1: Tensor | None = None
    label_mask: Tensor | None = None


def add_answer_head(model: PreTrainedModel) -> None:
    """Make `model(..., fused_lm_head=True)` use this head, where it is the faster one.

    Args:
        model: The base model, already carrying TRL's fused head; left alone on other devices
            than the CPU, and where its logits follow rules of their own.
    """
    config = model.config.get_text_config()
    if model.device.type != "cpu" or any(getattr(config, name, None) for name in _LOGIT_RULES):
        return
    fused_forward = model.forward

    def forward(
        self: PreTrainedModel,
        *args: Any,  # noqa: ANN401 - passed through
        fused_lm_head: bool = False,
        labels: Tensor | None = None,
        **kwargs: Any,  # noqa: ANN401 - passed through
    ) -> Any:  # noqa: ANN401 - the model's own output type, or ours
        if not fused_lm_head or labels is None:
            if labels is not None:
                kwargs["labels"] = labels
            return fused_forward(*args, fused_lm_head=fused_lm_head, **kwargs)
        kwargs["use_cache"] = False
        hidden_BSH = self.base_model(*args, **kwargs).last_hidden_state[:, :-1]
        return score_answers(self.get_output_embeddings(), hidden_BSH, labels[:, 1:])

    model.forward = MethodType(forward, model)


def score_answers(head: nn.Module, hidden_BSH: Tensor, labels_BS: Tensor) -> AnswerOutput:
    """Return log-probabilities of the labels under `head`, at answer positions only.

    Args:
        head: Turns `[N, H]` into logits `[N, V]`.
        hidden_BSH: Last hidden states.
        labels_BS: The token to be predicted at each position, or `IGNORE_INDEX`.
    """
    mask_BS = labels_BS != IGNORE_INDEX
    hidden_NH, labels_N = hidden_BSH[mask_BS], labels_BS[mask_BS]
    weight_VH = cast("Tensor", head.weight)
    piece = max(_MAX_LOGITS // max(weight_VH.shape[0], 1), 1)
    pieces = list(zip(torch.split(hidden_NH, piece), torch.split(labels_N, piece), strict=True))
    if len(pieces) == 1:
        log_probs_N, is_top1_N = _score_piece(head, *pieces[0])
    else:
        scored = [
            checkpoint(_score_piece, head, hidden, labels, use_reentrant=False)
            for hidden, labels in pieces
        ]
        log_probs_N = torch.cat([log_probs for log_probs, _ in scored])
        is_top1_N = torch.cat([is_top1 for _, is_top1 in scored])
    zeros_BS = log_probs_N.new_zeros(mask_BS.shape)
    return AnswerOutput(
        # Stays connected to the model when nothing carries loss, so that backward still works.
        log_probs=zeros_BS.masked_scatter(mask_BS, log_probs_N),
        is_top1=torch.zeros_like(mask_BS).masked_scatter(mask_BS, is_top1_N),
        label_mask=mask_BS,
    )


def _score_piece(head: nn.Module, hidden_NH: Tensor, labels_N: Tensor) -> tuple[Tensor, Tensor]:
    logits_NV = head(hidden_NH).float()
    log_probs_N = -functional.cross_entropy(logits_NV, labels_N, reduction="none")
    return log_probs_N, logits_NV.detach().argmax(dim=-1) == labels_N
