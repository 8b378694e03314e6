"""Whether an example would teach anything."""

from __future__ import annotations

from typing import cast

from pipeline.annotations.field_values import FieldValues
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.types import Json

MAY_BE_EMPTY = frozenset({"functions", "records", "results", "calls"})
"""Inputs for which "none" is a meaning: a request without tools, for instance."""


def unusable(annotation: DatasetAnnotation, values: FieldValues) -> str | None:
    """Return why an example would teach nothing, or `None`."""
    rules = annotation.rules
    inputs = cast("dict[str, Json]", values["inputs"])
    if rules.any_inputs and inputs and all(map(is_empty, inputs.values())):
        return "fields: empty"
    for name in rules.required_inputs:
        if name not in MAY_BE_EMPTY and is_empty(inputs.get(name)):
            return f"fields.{name}: empty"
    if rules.target == "text" and is_empty(values["target"]):
        return "fields.target: empty"
    return None


def is_empty(value: Json) -> bool:
    """Return whether a value is null, blank, or an empty list or map."""
    return not value.strip() if isinstance(value, str) else value in (None, [], {})
