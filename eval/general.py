"""General ability: lm-eval's own benchmarks, run by lm-eval and shown beside our tasks.

lm-eval is no dependency: it is called as a program of the Python that has it.
"""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pipeline.errors import EvalError
from pipeline.files import read_json, write_json
from pipeline.types import Json

GENERAL_NAME = "general.json"
_METRICS = ("acc_norm", "acc", "exact_match", "f1", "mcc")
"""The first that a benchmark has is shown."""
_FILTERS = ("none", "strict-match")
"""Ways to cut the answer out of a text; the first that a metric has is shown, else any."""
_HAS_LM_EVAL = "import sys, importlib.util as u; sys.exit(u.find_spec('lm_eval') is None)"


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneralScore:
    """One benchmark's number, as lm-eval gives it."""

    benchmark: str
    metric: str
    """With the filter of the answers behind a comma, as lm-eval has it, where there is one."""
    value: float
    standard_error: float | None
    """`None` where lm-eval tells none."""
    num_rows: int

    def __str__(self) -> str:
        """Return value and error times 100, and the number of rows."""
        error = "" if self.standard_error is None else f" ± {100 * self.standard_error:.1f}"
        return f"{100 * self.value:.1f}{error}, n {self.num_rows:,}"


def run_general(
    benchmarks: Sequence[str],
    folder: Path,
    *,
    model: str,
    adapter: Path | None = None,
    python: str = sys.executable,
    limit: int | None = None,
) -> tuple[list[GeneralScore], list[str]]:
    """Run benchmarks with lm-eval's HF backend, and write `general.json`.

    Args:
        benchmarks: Names that lm-eval knows, e.g. `mmlu`.
        folder: Output folder of an evaluation; the report shows the numbers in its row.
        model: Folder or hub id.
        adapter: PEFT folder on top of it.
        python: A Python that has lm-eval.
        limit: Rows per benchmark; `None` for all.

    Returns:
        The scores, and the benchmarks that have numbers of which none is known here.

    Raises:
        EvalError: lm-eval is not there (EVL081), or gave no results (EVL082).
        OutputError: The folder cannot be written.
    """
    arguments = f"pretrained={model}" + (f",peft={adapter}" if adapter else "")
    command = [python, "-m", "lm_eval", "--model", "hf", "--model_args", arguments]
    command += ["--tasks", ",".join(benchmarks)]
    command += [] if limit is None else ["--limit", str(limit)]
    with tempfile.TemporaryDirectory() as place:
        _call([*command, "--output_path", place])
        files = sorted(Path(place).rglob("results*.json"))
        if not files:
            raise _no_results("it wrote none")
        try:
            results = read_json(files[-1])
        except (OSError, ValueError) as error:
            raise _no_results("they are no JSON") from error
    scores, unread = read_scores(results)
    entries: dict[str, Json] = {score.benchmark: dict(asdict(score)) for score in scores}
    version = results.get("lm_eval_version") if isinstance(results, dict) else None
    write_json(folder / GENERAL_NAME, {"lm_eval_version": version, "benchmarks": entries})
    return scores, unread


def read_scores(results: Any) -> tuple[list[GeneralScore], list[str]]:  # noqa: ANN401 - any JSON
    """Return the numbers in a results file of lm-eval, and the benchmarks without a known one.

    Raises:
        EvalError: There is none (EVL082).
    """
    found: list[GeneralScore] = []
    unread: list[str] = []
    try:
        for name, entry in results["results"].items():
            numbers = {key: value for key, value in entry.items() if _is_number(key, value)}
            key = _shown_key([key for key, value in numbers.items() if math.isfinite(value)])
            if key is None:
                unread += [str(name)] if numbers else []
                continue
            metric, _, filtered = key.partition(",")
            error = entry.get(f"{metric}_stderr,{filtered}")
            # Groups of benchmarks stand in `sample_len` only.
            counted = results.get("n-samples", {}).get(name, {})
            num_rows = counted.get("effective", entry.get("sample_len", 0))
            found.append(
                GeneralScore(
                    benchmark=str(name),
                    metric=metric if filtered == "none" else key,
                    value=float(entry[key]),
                    standard_error=float(error) if isinstance(error, int | float) else None,
                    num_rows=int(num_rows),
                )
            )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise _no_results("they have another form") from error
    if not found:
        raise _no_results("no number in them is known here")
    return found, unread


def _is_number(key: str, value: object) -> bool:
    return "," in key and "_stderr," not in key and isinstance(value, int | float)


def _shown_key(keys: Collection[str]) -> str | None:
    """Return the `metric,filter` to show of those a benchmark has."""
    for metric in _METRICS:
        filters = sorted(key.partition(",")[2] for key in keys if key.startswith(f"{metric},"))
        if filters:
            preferred = [name for name in _FILTERS if name in filters]
            return f"{metric},{[*preferred, *filters][0]}"
    return None


def find_general(folder: Path) -> list[GeneralScore]:
    """Return the numbers beside an evaluation; damaged files have none, they are only for show."""
    try:
        entries: Any = read_json(folder / GENERAL_NAME)
        return [GeneralScore(**entry) for entry in entries["benchmarks"].values()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


def _call(command: list[str]) -> None:
    try:
        # Lists and no shell.
        check = [command[0], "-c", _HAS_LM_EVAL]
        if subprocess.run(check, capture_output=True, check=False).returncode:  # noqa: S603
            raise _not_there(command[0])
        # What lm-eval says goes to the user's terminal.
        done = subprocess.run(command, check=False)  # noqa: S603
    except OSError as error:
        raise _not_there(command[0]) from error
    if done.returncode:
        raise _no_results(f"it ended with exit code {done.returncode}")


def _not_there(python: str) -> EvalError:
    return EvalError(
        "EVL081",
        "this Python has no lm-eval",
        where=python,
        hint="pip install lm_eval into an environment, and name its Python with --python",
    )


def _no_results(reason: str) -> EvalError:
    return EvalError(
        "EVL082",
        f"lm-eval gave no results: {reason}",
        hint="What it wrote stands above",
    )
