"""Rows that training and evaluation share: found, counted, dropped or refused."""

from pipeline.examples.overlap.compare import Comparison, compare
from pipeline.examples.overlap.leakage import (
    Leakage,
    check_leakage,
    evaluated_splits,
    find_leakage,
    refuse_evaluated_splits,
)
from pipeline.examples.overlap.report import OverlapReport

__all__ = [
    "Comparison",
    "Leakage",
    "OverlapReport",
    "check_leakage",
    "compare",
    "evaluated_splits",
    "find_leakage",
    "refuse_evaluated_splits",
]
