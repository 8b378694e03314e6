"""Damaged files end in a message with their path, and libraries stay quiet meanwhile."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator

import pyarrow as pa

from pipeline.errors import SourceError
from pipeline.sources.remote import DataFile


@contextlib.contextmanager
def read_errors(path: DataFile) -> Iterator[None]:
    """Turn what reading a damaged or absent file raises into a message for the user.

    Raises:
        SourceError: The file cannot be read.
    """
    try:
        yield
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise SourceError(
            "SRC204",
            f"cannot be read: {reason.rstrip('.')}",
            where=str(path),
            hint="Fetch the file again; it may be cut off or damaged",
        ) from error


@contextlib.contextmanager
def quiet_datasets() -> Iterator[None]:
    """Keep progress bars and log lines of `datasets` off the user's terminal."""
    import datasets

    level = datasets.logging.get_verbosity()
    had_bars = not datasets.are_progress_bars_disabled()
    datasets.logging.set_verbosity_error()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        datasets.logging.set_verbosity(level)
        if had_bars:
            datasets.enable_progress_bars()
