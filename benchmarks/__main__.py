"""Runs all benchmarks: `python -m benchmarks [NAME ...]`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from benchmarks import bench_batches, bench_normalise

BENCHMARKS = {"normalise": bench_normalise.main, "batches": bench_batches.main}


def main() -> int:
    names = sys.argv[1:] or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}. Allowed: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names:
        print(f"== {name}")
        BENCHMARKS[name]()
    print(f"raw figures: {Path('benchmarks') / 'results'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
