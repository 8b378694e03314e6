"""Times two ways of doing the same work in turns, so that noise hits both alike."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Comparison:
    """Medians over rounds; `ratio` above 1 means that we are faster."""

    name: str
    peer: str
    unit: str
    num_items: int
    rounds: int
    ours_per_second: float
    peer_per_second: float
    ratio: float
    """Median of the rounds' own ratios."""
    lowest_ratio: float
    highest_ratio: float


def compare(
    name: str,
    ours: Callable[[], object],
    theirs: Callable[[], object],
    *,
    peer: str,
    unit: str,
    num_items: int,
    rounds: int = 5,
) -> Comparison:
    """Run both in turns, first in each order alternately, and return the medians."""
    ours_seconds: list[float] = []
    peer_seconds: list[float] = []
    for number in range(rounds):
        pair = [(ours, ours_seconds), (theirs, peer_seconds)]
        for work, seconds in pair if number % 2 == 0 else reversed(pair):
            started = time.perf_counter()
            work()
            seconds.append(time.perf_counter() - started)
    ratios = [peer_time / own for own, peer_time in zip(ours_seconds, peer_seconds, strict=True)]
    return Comparison(
        name=name,
        peer=peer,
        unit=unit,
        num_items=num_items,
        rounds=rounds,
        ours_per_second=num_items / statistics.median(ours_seconds),
        peer_per_second=num_items / statistics.median(peer_seconds),
        ratio=statistics.median(ratios),
        lowest_ratio=min(ratios),
        highest_ratio=max(ratios),
    )


def report(comparisons: list[Comparison], *, file: str) -> None:
    """Print one line per comparison and keep the raw figures with the hardware."""
    for item in comparisons:
        print(
            f"{item.name}: {item.ours_per_second:,.0f} {item.unit}/s against "
            f"{item.peer_per_second:,.0f} of {item.peer}: {item.ratio:.2f}x "
            f"({item.lowest_ratio:.2f} to {item.highest_ratio:.2f} over {item.rounds} rounds)"
        )
    RESULTS.mkdir(exist_ok=True)
    record = {"hardware": hardware(), "comparisons": [asdict(item) for item in comparisons]}
    (RESULTS / file).write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def hardware() -> dict[str, object]:
    """Return what the figures were measured on."""
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip() or None,
        "date": time.strftime("%Y-%m-%d"),
    }
