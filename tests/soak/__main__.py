"""Full forms of the tests that nothing is lost: `python -m tests.soak [NAME ...]`."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Forked children would wait for threads that only their parent has.
os.environ["OMP_NUM_THREADS"] = "1"

from tests.soak import compiled, damage, damage_elsewhere, kills, numbers, resume, stops
from tests.soak.outcome import Outcome


def _resume(packing: bool, accumulation: int) -> Callable[[Path], Outcome]:
    variants = [(packing, accumulation)]
    return lambda folder: resume.run(folder, num_steps=60, stops=range(1, 60), variants=variants)


TESTS: dict[str, Callable[[Path], Outcome]] = {
    "resume_packed_1": _resume(packing=True, accumulation=1),
    "resume_packed_4": _resume(packing=True, accumulation=4),
    "resume_padded_1": _resume(packing=False, accumulation=1),
    "resume_padded_4": _resume(packing=False, accumulation=4),
    "kills": lambda folder: kills.run(folder, cases=200),
    "kills_2": lambda folder: kills.run(folder, cases=200, num_processes=2),
    "loaders": lambda folder: kills.run(folder, cases=50, num_loaders=2),
    "signals": lambda folder: stops.run(folder, cases=100),
    "signals_2": lambda folder: stops.run(folder, cases=100, num_processes=2),
    "numbers": lambda folder: numbers.run(folder, cases=100),
    "damage": lambda folder: damage.run_flips(folder, flips=500, cuts=200),
    "damage_adapters": lambda folder: damage_elsewhere.run_adapters(folder, flips=300, cuts=150),
    "damage_caches": lambda folder: damage_elsewhere.run_caches(folder, flips=400, cuts=200),
    "compiled": compiled.run,
    "disk": lambda folder: damage.run_full_disk(folder, cases=50),
}


def main() -> int:
    """Run the tests named, or all; print one JSON line each."""
    names = sys.argv[1:] or list(TESTS)
    unknown = [name for name in names if name not in TESTS]
    if unknown:
        print(f"no test {unknown[0]!r}. Allowed: {', '.join(TESTS)}", file=sys.stderr)
        return 2
    num_failures = 0
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            os.environ["TASKLOOM_CACHE"] = str(Path(folder) / "cache")
            outcome = TESTS[name](Path(folder))
        num_failures += len(outcome.failures)
        print(outcome.line(), flush=True)
    return int(num_failures > 0)


if __name__ == "__main__":
    sys.exit(main())
