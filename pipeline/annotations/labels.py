"""The closed vocabulary of a task: from raw values to label names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import cast

from pipeline.annotations.outcomes import RowSkipped, raw_key
from pipeline.errors import AnnotationError, did_you_mean
from pipeline.types import Json
from pipeline.yaml_reader import excerpt


@dataclass(frozen=True, slots=True)
class LabelTable:
    """Label names in order, and the raw values that mean them."""

    names: tuple[str, ...]
    raw: Mapping[str, str] = field(default_factory=dict)
    """Raw value, as text, to name; empty when raw values are names or their positions."""
    is_listed: bool = False
    """Whether an annotation lists the names, so that a number may be meant as the name it spells.
    Numbers in data that record class names are positions."""

    @classmethod
    def of(cls, labels: list[str] | dict[str, str]) -> LabelTable:
        """Return the table that `labels:` of an annotation spells."""
        if isinstance(labels, dict):
            return cls(tuple(dict.fromkeys(labels.values())), dict(labels))
        return cls(tuple(labels), is_listed=True)

    def name_of(self, value: Json) -> str:
        """Return the name of a raw value.

        Raises:
            RowSkipped: The value is null.
            AnnotationError: No label stands for it; it is never guessed.
        """
        if value is None:
            raise RowSkipped("label is null")
        key = raw_key(value)
        if self.raw:
            found = self.raw.get(key) if key is not None else None
            if found is None and not isinstance(value, list | dict):
                found = self.raw.get(str(value))
            if found is not None:
                return found
        elif _is_position(value, len(self.names)):
            return self._at_position(int(cast("int", value)))
        if isinstance(value, bool):
            value = key
        if isinstance(value, str) and value in self.names:
            return value
        known = list(self.raw) or list(self.names)
        raise AnnotationError(
            "ANN205",
            f"no label stands for the value {excerpt(value)}",
            hint=f"{did_you_mean(str(value), known)} Map it under `labels`, "
            "or leave such rows out with `where`",
        )

    def _at_position(self, position: int) -> str:
        """Return the name at a position.

        Raises:
            AnnotationError: The number is itself a name, of another position.
        """
        text = str(position)
        if self.is_listed and self.names[position] != text and text in self.names:
            pairs = ", ".join(f'{name}: "{name}"' for name in self.names[:2])
            raise AnnotationError(
                "ANN205",
                f"the value {position} may be the label {text!r} or the one at position {position}",
                hint=f"Write `labels` as a map of raw values: {{{pairs}, ...}}",
            )
        return self.names[position]


def _is_position(value: Json, length: int) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return 0 <= value < length and value == int(value)
