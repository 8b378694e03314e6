"""The categories of BFCL v4: how each is scored, and its number of rows.

Source: `bfcl_eval/constants/category_mapping.py` and the data files of bfcl-eval 2026.3.23
(ShishirPatil/gorilla at 6ea5797), Apache-2.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pipeline.errors import EvalError, did_you_mean

DATA_VERSION = "bfcl-eval 2026.3.23 (gorilla 6ea5797)"
"""Release whose questions and answers the verdicts belong to; ground truth changes over time."""

Scoring = Literal[
    "simple", "multiple", "parallel", "irrelevance", "relevance", "multi_turn", "agentic"
]
Language = Literal["python", "java", "javascript"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Category:
    """One category."""

    name: str
    scoring: Scoring
    num_rows: int
    language: Language = "python"

    @property
    def is_scored_here(self) -> bool:
        """Whether this package scores it; the official evaluator scores them all."""
        return self.scoring not in ("multi_turn", "agentic")

    @property
    def has_answers(self) -> bool:
        """Whether there is a file of answers."""
        return self.scoring not in ("irrelevance", "relevance")


_CATEGORIES = (
    Category(name="simple_python", scoring="simple", num_rows=400),
    Category(name="simple_java", scoring="simple", num_rows=100, language="java"),
    Category(name="simple_javascript", scoring="simple", num_rows=50, language="javascript"),
    Category(name="multiple", scoring="multiple", num_rows=200),
    Category(name="parallel", scoring="parallel", num_rows=200),
    Category(name="parallel_multiple", scoring="parallel", num_rows=200),
    Category(name="irrelevance", scoring="irrelevance", num_rows=240),
    Category(name="live_simple", scoring="simple", num_rows=258),
    Category(name="live_multiple", scoring="multiple", num_rows=1053),
    Category(name="live_parallel", scoring="parallel", num_rows=16),
    Category(name="live_parallel_multiple", scoring="parallel", num_rows=24),
    Category(name="live_irrelevance", scoring="irrelevance", num_rows=884),
    Category(name="live_relevance", scoring="relevance", num_rows=16),
    Category(name="multi_turn_base", scoring="multi_turn", num_rows=200),
    Category(name="multi_turn_miss_func", scoring="multi_turn", num_rows=200),
    Category(name="multi_turn_miss_param", scoring="multi_turn", num_rows=200),
    Category(name="multi_turn_long_context", scoring="multi_turn", num_rows=200),
    Category(name="web_search_base", scoring="agentic", num_rows=100),
    Category(name="web_search_no_snippet", scoring="agentic", num_rows=100),
    Category(name="memory_kv", scoring="agentic", num_rows=155),
    Category(name="memory_vector", scoring="agentic", num_rows=155),
    Category(name="memory_rec_sum", scoring="agentic", num_rows=155),
)

CATEGORIES: dict[str, Category] = {category.name: category for category in _CATEGORIES}
"""The scoring categories by name, 5,106 rows."""

NOT_COUNTED: dict[str, str] = {
    "format_sensitivity": "format_sensitivity",
    **dict.fromkeys(
        (
            "exec_simple",
            "exec_multiple",
            "exec_parallel",
            "exec_parallel_multiple",
            "rest",
            "sql",
            "chatable",
        ),
        "retired",
    ),
}
"""Names that stand in no score of v4, and why."""

SCORED_CATEGORIES = tuple(name for name, item in CATEGORIES.items() if item.is_scored_here)
"""Names of the categories that this package scores."""


def find_category(name: str) -> Category:
    """Return the category called `name`.

    Raises:
        EvalError: `BFC101` unknown name.
    """
    if name not in CATEGORIES:
        raise EvalError(
            "BFC101", f"unknown BFCL category {name!r}", hint=did_you_mean(name, CATEGORIES)
        )
    return CATEGORIES[name]


def scored_category(name: str) -> Category:
    """Return the category called `name`, which must be one that this package scores.

    Raises:
        EvalError: `BFC101` unknown name, `BFC102` not scored here.
    """
    category = find_category(name)
    if not category.is_scored_here:
        raise EvalError(
            "BFC102",
            f"BFCL category {name!r} ({category.scoring}) is not scored here",
            hint="Score it with the official evaluator",
        )
    return category
