"""Starts real runs of several processes with `accelerate launch`, as a user does."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
CONFIGS = REPOSITORY / "accelerate_configs"
EXTENSIONS = Path(tempfile.gettempdir()) / "taskloom-test-extensions"
"""DeepSpeed builds C++ code here, once; a build of minutes is not repeated for every test."""


def launch(
    config: Path,
    recipe: Path,
    *fields: str,
    cache: Path,
    timeout_seconds: int = 240,
    faults: str | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run `pipeline.train` under an accelerate configuration and return what it wrote.

    FSDP runs by `tests.distributed.fsdp_on_cpu`; `faults` are those of
    `tests.distributed.faulty_training`.
    """
    is_fsdp = "distributed_type: FSDP" in config.read_text()
    program = ["-m", "tests.distributed.fsdp_on_cpu" if is_fsdp else "pipeline.train"]
    if faults is not None:
        program = ["-m", "tests.distributed.faulty_training", faults]
    command = [
        sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(config),
        "--main_process_port", "0", *program, str(recipe), *fields,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "TASKLOOM_CACHE": str(cache),
        "TORCH_EXTENSIONS_DIR": str(EXTENSIONS),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    try:
        return subprocess.run(
            command,
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=timeout_seconds,
        )
    except subprocess.TimeoutExpired:
        # A killed build leaves a lock that every later start would wait for.
        shutil.rmtree(EXTENSIONS, ignore_errors=True)
        raise


def two_processes(config: Path, folder: Path) -> Path:
    """Return a copy of a shipped configuration for two processes without a GPU."""
    text = config.read_text()
    for old, new in (("num_processes: 8", "num_processes: 2"), (": bf16", ": 'no'")):
        text = text.replace(old, new)
    changed = folder / config.name
    changed.write_text(text)
    return changed


def logged(folder: Path, name: str) -> list[float]:
    """Return a number of every logged training step."""
    lines = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [line[name] for line in lines if "loss" in line]
