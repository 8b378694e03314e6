"""Category accuracies to section scores and the overall score of BFCL v4.

A category that was not run counts as 0, as on the leaderboard, and is named in `missing`.
Source: `generate_leaderboard_csv` of bfcl-eval 2026.3.23.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from eval.bfcl.categories import CATEGORIES, find_category

SECTION_WEIGHTS: dict[str, float] = {
    "non_live": 0.1,
    "live": 0.1,
    "irrelevance": 0.1,
    "multi_turn": 0.3,
    "agentic": 0.4,
}
"""Weight of each section in the overall score of v4."""

_SIMPLE = ("simple_python", "simple_java", "simple_javascript")
_LIVE = ("live_simple", "live_multiple", "live_parallel", "live_parallel_multiple")
_MULTI_TURN = tuple(name for name, item in CATEGORIES.items() if item.scoring == "multi_turn")
_WEB_SEARCH = ("web_search_base", "web_search_no_snippet")
_MEMORY = ("memory_kv", "memory_vector", "memory_rec_sum")


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionScore:
    """One number of the leaderboard row."""

    name: str
    accuracy: float
    """Fraction, 0 to 1."""
    missing: tuple[str, ...]
    """Categories of the section that were not run and count as 0."""


def section_scores(
    accuracies: Mapping[str, float], num_rows: Mapping[str, int] | None = None
) -> dict[str, SectionScore]:
    """Return the five sections and `overall`.

    Args:
        accuracies: Accuracy (0 to 1) by category; categories may be absent. Relevance is shown
            on the leaderboard but counts in no section.
        num_rows: Rows scored by category, where they differ from the official number; the live
            section weights its categories by them.

    Raises:
        EvalError: `BFC101` for a name that is no category.
    """
    for name in accuracies:
        find_category(name)
    value = {name: accuracies.get(name, 0.0) for name in CATEGORIES}
    counts = {name: item.num_rows for name, item in CATEGORIES.items()} | dict(num_rows or {})
    simple = _mean([value[name] for name in _SIMPLE])
    parts = ("multiple", "parallel", "parallel_multiple")
    live_rows = sum(counts[name] for name in _LIVE)
    sections = {
        "non_live": (_mean([simple, *(value[name] for name in parts)]), (*_SIMPLE, *parts)),
        "live": (sum(value[name] * counts[name] for name in _LIVE) / live_rows, _LIVE),
        "irrelevance": (
            _mean([value["irrelevance"], value["live_irrelevance"]]),
            ("irrelevance", "live_irrelevance"),
        ),
        "multi_turn": (_mean([value[name] for name in _MULTI_TURN]), _MULTI_TURN),
        "agentic": (
            _mean([_mean([value[name] for name in group]) for group in (_WEB_SEARCH, _MEMORY)]),
            (*_WEB_SEARCH, *_MEMORY),
        ),
    }
    overall = sum(SECTION_WEIGHTS[name] * accuracy for name, (accuracy, _) in sections.items())
    everything = tuple(name for _, names in sections.values() for name in names)
    return {
        name: SectionScore(
            name=name,
            accuracy=accuracy,
            missing=tuple(category for category in names if category not in accuracies),
        )
        for name, (accuracy, names) in {**sections, "overall": (overall, everything)}.items()
    }


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
