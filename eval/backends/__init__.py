"""Backends: what answers the harness's questions."""
