"""An environment of its own for a named peer, which is never a dependency of the project."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipeline.files import cache_root

PEER_PYTHON = "TASKLOOM_PEER_PYTHON"
"""Python of an environment that holds tasksource; `--peer-python` of the command line sets it."""
TASKSOURCE = "tasksource==0.1.1"


def tasksource_python() -> Path | None:
    """Return a Python that has tasksource, made with pip if there is none; `None` if pip fails.

    It gets the versions of `datasets` and `pyarrow` that this project runs with.
    """
    given = os.environ.get(PEER_PYTHON)
    if given:
        return Path(given)
    folder = cache_root() / "benchmarks" / TASKSOURCE.replace("==", "-")
    python = folder / "bin" / "python"
    if _has_tasksource(python):
        return python
    print(f"installing {TASKSOURCE} into {folder}")
    pins = [f"{name}=={version(name)}" for name in ("datasets", "pyarrow")]
    pip = [str(python), "-m", "pip", "--quiet", "--disable-pip-version-check", "install"]
    for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, TASKSOURCE, *pins]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"left out: {TASKSOURCE} cannot be installed: {done.stderr.strip()[-200:]}")
            return None
    return python


def _has_tasksource(python: Path) -> bool:
    if not python.is_file():
        return False
    check = "import importlib.metadata as m; print(m.version('tasksource'))"
    done = subprocess.run([str(python), "-c", check], capture_output=True, text=True, check=False)
    return done.stdout.strip() == TASKSOURCE.partition("==")[2]


class Peer:
    """A running peer that answers requests; use as a context manager."""

    def __init__(self, python: Path, script: Path) -> None:
        """Start `script`; a line of JSON in gives a line of JSON out."""
        self._process = subprocess.Popen(
            [str(python), str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Peer:
        """Return the peer."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the peer."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        self._process.wait(timeout=60)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Return the answer to a request.

        Raises:
            RuntimeError: The peer died.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the peer died; its own message stands above")
        answer: dict[str, Any] = json.loads(line)
        return answer
