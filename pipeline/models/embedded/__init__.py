"""The embedded base: a tiny Llama that the project builds itself, and its tokenizer."""

from pipeline.models.embedded.build import (
    build_embedded_base,
    ensure_embedded_base,
    ensure_embedded_frame,
)

__all__ = ["build_embedded_base", "ensure_embedded_base", "ensure_embedded_frame"]
