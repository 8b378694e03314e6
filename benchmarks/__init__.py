"""Benchmarks against named peers: medians of paired rounds in one run, as ratios."""
