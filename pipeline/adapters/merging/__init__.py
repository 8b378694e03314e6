"""Merging: several LoRA adapters of one base as one, by coefficients or by a rule."""
