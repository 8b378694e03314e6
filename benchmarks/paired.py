"""Times two ways of doing the same work in turns, so that noise hits both alike."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
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
    """Run both in turns, first in each order alternately, and return the medians.

    Work that returns a number has timed itself, in seconds, where it runs.
    """
    ours_seconds: list[float] = []
    peer_seconds: list[float] = []
    for number in range(rounds):
        pair = [(ours, ours_seconds), (theirs, peer_seconds)]
        for work, seconds in pair if number % 2 == 0 else reversed(pair):
            started = time.perf_counter()
            own = work()
            spent = time.perf_counter() - started
            seconds.append(own if isinstance(own, float) else spent)
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


@dataclass(frozen=True)
class Fact:
    """A figure without a peer, and the most or least it should be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None


def report(comparisons: list[Comparison], *, file: str, facts: Sequence[Fact] = ()) -> None:
    """Print one line per comparison and fact, and keep the raw figures with the hardware."""
    for item in comparisons:
        print(
            f"{item.name}: {item.ours_per_second:,.0f} {item.unit}/s against "
            f"{item.peer_per_second:,.0f} of {item.peer}: {item.ratio:.2f}x "
            f"({item.lowest_ratio:.2f} to {item.highest_ratio:.2f} over {item.rounds} rounds)"
        )
    for fact in facts:
        aim = "" if fact.at_most is None else f" (aim: at most {fact.at_most:g})"
        print(f"{fact.name}: {fact.value:,.3g} {fact.unit}{aim}")
    RESULTS.mkdir(exist_ok=True)
    record: dict[str, object] = {"hardware": hardware()}
    record["comparisons"] = [asdict(item) for item in comparisons]
    if facts:
        record["facts"] = [asdict(fact) for fact in facts]
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
