"""What a soak test found, as one JSON line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from benchmarks.paired import hardware


@dataclass
class Outcome:
    """Counts cases and keeps what went wrong."""

    name: str
    cases: int = 0
    failures: list[str] = field(default_factory=list)
    worst: dict[str, float] = field(default_factory=dict)
    """Largest values seen, by name."""
    seconds: float = 0.0

    def check(self, holds: bool, message: str) -> None:
        """Keep `message` where something does not hold."""
        if not holds:
            self.failures.append(message)

    def note(self, name: str, value: float) -> None:
        """Keep the largest value."""
        self.worst[name] = max(value, self.worst.get(name, value))

    def line(self) -> str:
        """Return everything as one line of JSON."""
        worst = {name: float(f"{value:.4g}") for name, value in self.worst.items()}
        return json.dumps(
            {
                "name": self.name,
                "cases": self.cases,
                "failures": len(self.failures),
                "first_failures": self.failures[:3],
                "worst": worst,
                "seconds": round(self.seconds, 1),
                **hardware(),
            }
        )


@contextmanager
def timed(name: str) -> Iterator[Outcome]:
    """Count the seconds of a test."""
    outcome, started = Outcome(name), time.monotonic()
    yield outcome
    outcome.seconds = time.monotonic() - started
