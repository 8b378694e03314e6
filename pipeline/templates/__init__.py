"""Wording: from what a row means to what a model reads and answers."""
