"""Runs all benchmarks: `python -m benchmarks [NAME ...] [--peer-python PATH]`."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

from pipeline.models.quiet import quiet_libraries

quiet_libraries()

from benchmarks import (  # noqa: E402 - these import the libraries
    bench_adapters,
    bench_batches,
    bench_box,
    bench_dna,
    bench_eval,
    bench_memory,
    bench_merging,
    bench_normalise,
    bench_train,
)
from benchmarks.peer_environment import PEER_PYTHON  # noqa: E402

BENCHMARKS = {
    "normalise": bench_normalise.main,
    "memory": bench_memory.main,
    "merging": bench_merging.main,
    "batches": bench_batches.main,
    "box": bench_box.main,
    "dna": bench_dna.main,
    "eval": bench_eval.main,
    "adapters": bench_adapters.main,
    "train": bench_train.main,
}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument(
        "--peer-python",
        metavar="PATH",
        help="Python of an environment with tasksource; by default one is made in the cache.",
    )
    options = parser.parse_args()
    names = options.names or list(BENCHMARKS)
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"no benchmark {unknown[0]!r}. Allowed: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    if options.peer_python:
        os.environ[PEER_PYTHON] = options.peer_python
    for name in names:
        print(f"== {name}")
        BENCHMARKS[name]()
    print(f"raw figures: {Path('benchmarks') / 'results'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
