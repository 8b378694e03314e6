"""Metrics by name, each checked against an independent implementation."""

from eval.metrics.catalogue import METRICS, metrics_of
from eval.metrics.metric import Metric, Pairs

__all__ = ["METRICS", "Metric", "Pairs", "metrics_of"]
