"""What a number was computed with: versions, commit, hardware. No paths and no host names."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

from pipeline.types import Json

_LIBRARIES = (
    "taskloom",
    "torch",
    "transformers",
    "tokenizers",
    "peft",
    "accelerate",
    "datasets",
    "numpy",
)


def describe_environment() -> dict[str, Json]:
    """Return versions of Python and the libraries, the commit if any, and the processor."""
    return {
        "python": platform.python_version(),
        "libraries": {name: _version(name) for name in _LIBRARIES},
        "git_commit": find_git_commit(),
        "hardware": describe_processor(),
    }


@functools.cache
def find_git_commit() -> str | None:
    """Return the commit of the source tree, with `+changes` when files differ from it.

    Asked once per process: what runs is what was imported.
    """
    folder = Path(__file__).resolve().parent
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    return commit + ("+changes" if _git(folder, "status", "--porcelain", "-uno") else "")


def describe_processor() -> str:
    """Return the machine's kind and number of usable cores, e.g. `Linux x86_64, 2 cores`."""
    num_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{platform.system()} {platform.machine()}, {num_cores} cores"


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        # Fixed arguments, no shell; git is looked up on PATH as everywhere.
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)  # noqa: S603
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
