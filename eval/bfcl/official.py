"""The official evaluator on result files, in an environment of its own.

bfcl-eval pins numpy, tree-sitter and thirty other packages against those of training, so it is
never a dependency: an environment with the few packages that single-turn scoring needs is made
once, under the cache folder.
"""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

from eval.bfcl import official_runner
from eval.bfcl.result_files import result_path
from pipeline.errors import EvalError
from pipeline.files import cache_root

PACKAGES = ("bfcl-eval==2026.3.23", "tree-sitter==0.21.3", "tree-sitter-java==0.21.0",
            "tree-sitter-javascript==0.21.4")  # fmt: skip
"""Installed without dependencies; the versions belong to the verdicts."""

HELPERS = ("filelock", "tenacity", "python-dotenv", "tqdm", "numpy", "pandas", "mpmath")
_INSTALL_SECONDS = 900
_RUN_SECONDS = 1800


def ensure_environment() -> Path:
    """Return the Python of the evaluator's environment, making it on first use.

    Raises:
        EvalError: `BFC111`, this Python cannot hold it, or installing failed.
    """
    folder = cache_root() / "bfcl" / "bfcl-eval-2026.3.23"
    python = folder / "bin" / "python"
    done = folder / "installed"
    if done.is_file():
        return python
    if not (3, 10) <= sys.version_info[:2] <= (3, 12):
        raise EvalError(
            "BFC111",
            f"its tree-sitter has wheels for Python 3.10 to 3.12, this is {sys.version.split()[0]}",
            where="official evaluator",
            hint="Give the Python of an environment with bfcl-eval as --python",
        )
    venv.create(folder, with_pip=True, clear=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    for options in (["--no-deps", *PACKAGES], list(HELPERS)):
        _run([*pip, *options], _INSTALL_SECONDS, dict(os.environ), "installing failed")
    done.touch()
    return python


def run_official(
    results: Path,
    scores: Path,
    *,
    model: str,
    categories: Sequence[str],
    output_format: str,
    underscore_to_dot: bool = False,
    python: Path | None = None,
) -> dict[str, float]:
    """Score result files with the official evaluator and return accuracies, 0 to 1.

    Args:
        results: Folder in the official layout, see `eval.bfcl.result_files`.
        scores: Gets the official score files and CSVs.
        model: Name of the model, without `_`.
        categories: Categories to score; all of their rows must have results.
        output_format: A name in `eval.bfcl.decode.FORMATS`.
        underscore_to_dot: Whether the model's names have `_` where BFCL's have `.`.
        python: Python with bfcl-eval; `None` makes an environment.

    Raises:
        EvalError: `BFC111` no environment, `BFC112` the evaluator failed.
    """
    python = python or ensure_environment()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for category in categories:
            source, target = (result_path(each, model, category) for each in (results, root))
            target = root / "result" / target.relative_to(root)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(source.read_bytes())
        scores.mkdir(parents=True, exist_ok=True)
        (root / "score").symlink_to(scores.resolve(), target_is_directory=True)
        command = [str(python), "-W", "ignore", str(Path(official_runner.__file__).resolve())]
        command += ["--model", model, "--format", output_format, "--categories", *categories]
        command += ["--underscore-to-dot"] if underscore_to_dot else []
        environment = {**os.environ, "BFCL_PROJECT_ROOT": str(root)}
        _run(command, _RUN_SECONDS, environment, "the official evaluator failed")
    return {category: _read_accuracy(scores, model, category) for category in categories}


def read_overall(scores: Path) -> dict[str, str]:
    """Return the official row of `data_overall.csv` by column, as the evaluator wrote it.

    Raises:
        EvalError: `BFC112`, there is no such file.
    """
    path = scores / "data_overall.csv"
    if not path.is_file():
        raise EvalError("BFC112", "the evaluator wrote no data_overall.csv", where=scores)
    with path.open(encoding="utf-8", newline="") as stream:
        return next(iter(csv.DictReader(stream)), {})


def _read_accuracy(scores: Path, model: str, category: str) -> float:
    import json

    path = result_path(scores, model, category)
    path = path.with_name(path.name.replace("_result.json", "_score.json"))
    if not path.is_file():
        raise EvalError("BFC112", f"the evaluator wrote no score of {category}", where=path)
    with path.open(encoding="utf-8") as stream:
        return float(json.loads(stream.readline())["accuracy"])


def _run(command: list[str], seconds: int, environment: dict[str, str], failure: str) -> None:
    code = "BFC111" if "pip" in command else "BFC112"
    try:
        done = subprocess.run(  # noqa: S603 - our own command line, no shell
            command, env=environment, capture_output=True, text=True, timeout=seconds, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EvalError(code, f"{failure}: {error}", where=command[0]) from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["no output"]
        raise EvalError(code, f"{failure}: {lines[-1]}", where=command[0])
