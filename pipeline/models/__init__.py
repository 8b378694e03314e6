"""Base models and their tokenizers, from a folder, the hub or the embedded recipe."""
