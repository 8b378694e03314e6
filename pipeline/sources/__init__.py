"""Rows of public datasets: from a local mirror, from files, or from the hub at a pinned commit."""

from pipeline.sources.data_root import EMBEDDED, resolve_data_root
from pipeline.sources.rows import RowTable, load_rows, load_side_file

__all__ = ["EMBEDDED", "RowTable", "load_rows", "load_side_file", "resolve_data_root"]
