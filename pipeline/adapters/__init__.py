"""Adapters that are trained on top of a frozen base model."""
