"""Drafting an annotation from what a dataset shows: its columns, types, splits, card and rows."""

from pipeline.examples.drafting.draft import Draft, draft_annotation

__all__ = ["Draft", "draft_annotation"]
