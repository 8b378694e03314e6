"""Embedding rows of new tokens: made the same everywhere, trained and kept with the adapter.

Rows are added at the end only. A new row is drawn from the mean and spread of the base's rows, by
the id of its token, so that a fresh base gets the same ones again without a file. The mean alone
would do for none of two cases: the rows of an untrained base average to nothing, and equal rows of
a head that is not trained could not tell one label from another. Input rows of new tokens are
trained and saved whole; the rows of an output head of its own stay, unless the head is trained.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from peft import PeftConfig
from safetensors import safe_open

from pipeline.errors import AdapterError

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel


def add_token_rows(model: PreTrainedModel, token_ids: Sequence[int]) -> None:
    """Make the rows of new tokens; the other rows, and whether weights are tied, stay.

    Args:
        model: A base, changed in place.
        token_ids: Ids of the new tokens. Those within the table, as some models keep spare rows,
            are made in the input table only.

    Raises:
        AdapterError: The model is partitioned over processes (ADP009).
    """
    if not token_ids:
        return
    weight = cast("Tensor", model.get_input_embeddings().weight)
    if hasattr(weight, "ds_id") or hasattr(weight, "full_tensor"):
        raise AdapterError(
            "ADP009",
            "new tokens cannot be added to a model that is partitioned over processes",
            where="dna_unit",
            hint="Use DDP or ZeRO-2, or a base that has the tokens already",
        )
    num_rows = weight.shape[0]
    head = cast("nn.Module | None", model.get_output_embeddings())
    is_tied = head is not None and head.weight is weight
    added = [index for index in token_ids if index >= num_rows]
    input_mean, input_rows = _new_rows(weight, token_ids)
    of_head = None if head is None or is_tied else _new_rows(cast("Tensor", head.weight), added)
    num_needed = max(token_ids) + 1
    if num_needed > num_rows:
        model.resize_token_embeddings(num_needed, mean_resizing=False)
    with torch.no_grad():
        embeddings = cast("Tensor", model.get_input_embeddings().weight)
        embeddings[num_rows:] = input_mean
        embeddings[list(token_ids)] = input_rows
        if of_head is not None and added:
            head_weight = cast("Tensor", model.get_output_embeddings().weight)
            head_weight[num_rows:], head_weight[added] = of_head


def rows_to_train(model: PreTrainedModel, config: PeftConfig, token_ids: Sequence[int]) -> None:
    """Make an adapter train the rows of new tokens, unless it trains the whole table anyway."""
    if token_ids and not _saves_whole_table(model, config):
        config.trainable_token_indices = list(token_ids)


def restore_token_rows(model: PreTrainedModel, folder: Path) -> None:
    """Give a base the rows that an adapter's folder needs, so that its weights fit.

    Raises:
        AdapterError: The model is partitioned over processes (ADP009).
    """
    config = PeftConfig.from_pretrained(str(folder))
    token_ids: Sequence[int] = trained_token_ids(config)
    num_rows = cast("Tensor", model.get_input_embeddings().weight).shape[0]
    if _saves_whole_table(model, config):
        token_ids = range(num_rows, _saved_rows(model, folder))
    add_token_rows(model, token_ids)


def _saves_whole_table(model: PreTrainedModel, config: PeftConfig) -> bool:
    return _input_table(model) in (getattr(config, "modules_to_save", None) or ())


def _input_table(model: PreTrainedModel) -> str:
    """Return the last part of the name of the input embeddings."""
    table = model.get_input_embeddings()
    return next(name for name, part in model.named_modules() if part is table).rpartition(".")[2]


def _saved_rows(model: PreTrainedModel, folder: Path) -> int:
    with safe_open(folder / "adapter_model.safetensors", framework="pt") as weights:
        names = list(weights.keys())
        tables = [name for name in names if name.endswith(f".{_input_table(model)}.weight")]
        return max((weights.get_slice(name).get_shape()[0] for name in tables), default=0)


def trained_token_ids(config: PeftConfig) -> tuple[int, ...]:
    """Return the ids of the tokens whose rows an adapter holds."""
    found = getattr(config, "trainable_token_indices", None)
    groups = found.values() if isinstance(found, dict) else [found or ()]
    return tuple(sorted({index for group in groups for index in group}))


def _new_rows(weight: Tensor, token_ids: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the mean row, `[H]`, and a row for each token, `[N, H]`, alike in mean and spread."""
    whole = weight.detach().float()
    mean, spread = whole.mean(dim=0), whole.std(dim=0)
    draws = [
        torch.randn(len(mean), generator=torch.Generator().manual_seed(index))
        for index in token_ids
    ]
    noise = torch.stack(draws).to(mean.device) if draws else mean.new_zeros(0, len(mean))
    return mean.to(weight.dtype), (mean + spread * noise).to(weight.dtype)
