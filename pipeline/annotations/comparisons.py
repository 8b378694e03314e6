"""What the comparisons of a condition mean."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from pipeline.annotations.outcomes import kind_of
from pipeline.types import Json


def _ordered(test: Callable[[Any, Any], bool]) -> Callable[[Json, Json], bool]:
    def compare(left: Json, right: Json) -> bool:
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        texts = isinstance(left, str) and isinstance(right, str)
        return (numbers or texts) and test(left, right)

    return compare


def _is_type(value: Json, name: Json) -> bool:
    return kind_of(value).removeprefix("a ") == name


def _contains(left: Json, right: Json) -> bool:
    if isinstance(left, str):
        return isinstance(right, str) and right in left
    return isinstance(left, list | dict) and right in left


COMPARISONS: dict[str, Callable[[Json, Json], bool]] = {
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": _ordered(operator.lt),
    "le": _ordered(operator.le),
    "gt": _ordered(operator.gt),
    "ge": _ordered(operator.ge),
    "in": lambda left, right: isinstance(right, list) and left in right,
    "not_in": lambda left, right: not (isinstance(right, list) and left in right),
    "null": lambda left, right: (left is None) == right,
    "truthy": lambda left, right: bool(left) == right,
    "contains": _contains,
    "starts": lambda left, right: isinstance(left, str) and left.startswith(str(right)),
    "ends": lambda left, right: isinstance(left, str) and left.endswith(str(right)),
    "is": _is_type,
}
"""What each comparison of a condition means."""
