"""From a model and an adapter to the backends that answer for them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eval.backends.transformers_backend import TransformersBackend


def model_backends(
    model: str,
    source: str,
    *,
    adapter: Path | None,
    include_base: bool,
    revision: str | None = None,
    chat_template_path: Path | None = None,
    max_batch_tokens: int | None = None,
    max_length: int | None = None,
    loading: Mapping[str, object] | None = None,
) -> Iterator[tuple[str, TransformersBackend]]:
    """Yield `base` and its backend, then `adapter` and the backend of the adapter on top of it.

    The adapter is put onto the base only after the base has answered.

    Args:
        model: Name of the base, for people.
        source: Its folder or hub id.
        adapter: Adapter folder, checked already.
        include_base: Whether the base answers too.
        revision: Commit, tag or branch on the hub.
        chat_template_path: Jinja file that replaces the model's chat template.
        max_batch_tokens: Tokens per batch; `None` leaves it to the backend.
        max_length: Tokens of prompt and answer; `None` is what the model takes.
        loading: Options of `load_model`.
    """
    from eval.backends.transformers_backend import TransformersBackend
    from pipeline.adapters.merging.writing import is_transductive
    from pipeline.adapters.registry import load_adapter
    from pipeline.chat.extension import TokenExtension
    from pipeline.models.loading import current_device, load_model, load_tokenizer

    tokenizer = load_tokenizer(source, revision=revision, chat_template_path=chat_template_path)
    options = {"device": current_device(), **(loading or {})}
    base = load_model(source, revision=revision, **options)  # type: ignore[arg-type]
    base.eval()
    build = partial(
        TransformersBackend,
        model_name=model,
        max_batch_tokens=max_batch_tokens,
        max_length=max_length,
    )
    if include_base:
        yield "base", build(base, tokenizer)
    if adapter is None:
        return
    adapted = load_adapter(base, adapter)
    adapted.eval()
    tokenizer = load_tokenizer(
        source,
        revision=revision,
        chat_template_path=chat_template_path,
        extension=TokenExtension.read(adapter),
    )
    yield (
        "adapter",
        build(
            adapted,
            tokenizer,
            adapter_name=_adapter_name(adapter),
            is_transductive=is_transductive(adapter),
        ),
    )


def _adapter_name(adapter: Path) -> str:
    """Return the run's name for a run's adapter, and the folder's for others."""
    return adapter.resolve().parent.name if adapter.name == "adapter" else adapter.resolve().name
