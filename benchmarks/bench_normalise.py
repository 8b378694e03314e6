"""Rows to cached examples: ours against tasksource and a hand-written `datasets.map`.

All read the same file and leave their result on disk; every cache is cold in every round. Imports
are not timed for anyone.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.normalise_cases import CASES, Case, make_rows, write_rows
from benchmarks.paired import Comparison, compare, report
from benchmarks.peer_environment import TASKSOURCE, Peer, tasksource_python

NUM_ROWS = 20_000
ROUNDS = 3


def main() -> None:
    """Run all cases and write `results/normalise.json`."""
    python = tasksource_python()
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folder = Path(name)
        rows = make_rows(NUM_ROWS)
        write_rows(rows, folder)
        peer = None
        if python is not None:
            script = Path(__file__).with_name("tasksource_peer.py")
            peer = stack.enter_context(Peer(python, script))
        comparisons: list[Comparison] = []
        for case in CASES:
            num_kept = sum(1 for row in rows if case.keep is None or case.keep(row))
            ours = our_way(case, folder, num_kept)
            if peer is not None:
                theirs = tasksource_way(case, folder, peer, num_kept)
                comparisons.append(_compared(case, ours, theirs, TASKSOURCE))
            theirs = map_way(case, folder, num_kept)
            comparisons.append(_compared(case, ours, theirs, "datasets.map"))
        report(comparisons, file="normalise.json")


def _compared(
    case: Case, ours: Callable[[], float | None], theirs: Callable[[], float | None], peer: str
) -> Comparison:
    ours()
    theirs()
    return compare(
        f"normalise, {case.kind}: {case.name}",
        ours,
        theirs,
        peer=peer,
        unit="rows",
        num_items=NUM_ROWS,
        rounds=ROUNDS,
    )


def our_way(case: Case, folder: Path, num_kept: int) -> Callable[[], None]:
    """Return the work of this project."""
    from pipeline.annotations.schema import load_annotation
    from pipeline.examples.cache import load_examples
    from pipeline.sources import folder as source_folder

    file = folder / "case.yaml"
    os.environ["TASKLOOM_CACHE"] = str(folder / "cache")

    def run() -> None:
        file.write_text(case.text, encoding="utf-8")
        shutil.rmtree(folder / "cache", ignore_errors=True)
        source_folder._sha256.cache_clear()
        assert len(load_examples(load_annotation(file), "train")) == num_kept

    return run


def tasksource_way(case: Case, folder: Path, peer: Peer, num_kept: int) -> Callable[[], float]:
    """Return the work of tasksource, which is timed where it runs."""

    def run() -> float:
        answer = peer.ask({"case": case.name, "file": str(folder / case.file)})
        assert answer["num_rows"] == num_kept, answer
        return float(answer["seconds"])

    return run


def map_way(case: Case, folder: Path, num_kept: int) -> Callable[[], None]:
    """Return the work of a careful person with `datasets`."""
    import datasets

    datasets.disable_progress_bars()
    datasets.disable_caching()
    builder = {"jsonl": "json", "parquet": "parquet"}[case.form]

    def make(row: dict, index: int) -> dict:
        return {"key": f"bench/train/{index}", **case.make(row)}

    def run() -> None:
        cache = folder / "hf"
        shutil.rmtree(cache, ignore_errors=True)
        rows = datasets.load_dataset(
            builder, data_files=str(folder / case.file), split="train", cache_dir=str(cache)
        )
        if case.keep is not None:
            rows = rows.filter(case.keep)
        made = rows.map(make, with_indices=True, remove_columns=rows.column_names)
        assert len(made) == num_kept

    return run
