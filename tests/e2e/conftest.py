"""Commands as a user types them, in a workspace of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
NUM_BASE_STEPS = 6


@dataclass(frozen=True)
class Workspace:
    """A folder to run commands in, and a cache shared by the tests of a session."""

    folder: Path
    environment: dict[str, str]

    def run(self, *command: str, expect: int = 0, seconds: float = 240) -> str:
        """Run a command; return what it printed, with stderr after stdout."""
        result = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
        printed = result.stdout + result.stderr
        assert result.returncode == expect, f"{command}\nexit {result.returncode}\n{printed}"
        return printed

    def taskloom(self, *arguments: str, expect: int = 0) -> str:
        return self.run(sys.executable, "-m", "pipeline.cli.main", *arguments, expect=expect)

    def train(self, *arguments: str, expect: int = 0) -> str:
        config = str(ROOT / "accelerate_configs" / "cpu.yaml")
        launcher = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", config]
        return self.run(*launcher, "-m", "pipeline.train", *arguments, expect=expect)


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def workspace(tmp_path, shared_cache) -> Workspace:
    kept = {"PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "VIRTUAL_ENV"}
    environment = {name: value for name, value in os.environ.items() if name in kept}
    environment |= {
        "PYTHONPATH": str(ROOT),
        "TASKLOOM_CACHE": str(shared_cache),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "COLUMNS": "160",
    }
    return Workspace(tmp_path, environment)


@pytest.fixture(scope="session")
def small_base(shared_cache) -> Path:
    """The embedded base with its real tokenizer and shape, trained for a few steps only.

    It lies where `model_name_or_path: embedded` looks for the real one.
    """
    from pipeline.files import staged_folder
    from pipeline.models.embedded import build_embedded_base
    from pipeline.models.embedded.settings import BaseSettings

    folder = shared_cache / "embedded-base" / BaseSettings().fingerprint()
    with staged_folder(folder) as staged:
        build_embedded_base(staged, num_steps=NUM_BASE_STEPS)
    return folder


@pytest.fixture(scope="session")
def mirror() -> Path:
    if not MIRROR.is_dir():
        pytest.skip(f"no mirror of public data at {MIRROR}")
    return MIRROR
