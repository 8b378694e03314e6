"""What can happen to a row besides becoming an example."""

from __future__ import annotations

from pipeline.types import Json


class RowSkipped(Exception):
    """A row that gives no example, for a reason that is counted."""

    def __init__(self, reason: str) -> None:
        """Keep `reason`: short and the same for all rows of its kind."""
        super().__init__(reason)
        self.reason = reason


def kind_of(value: Json) -> str:
    """Return what a user calls the type of `value`."""
    if value is None:
        return "null"
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list"}
    return names.get(type(value), "a map")


def as_text(value: Json) -> str:
    """Return a scalar as text.

    Raises:
        RowSkipped: `value` is null, a list or a map.
    """
    if isinstance(value, str):
        return value
    if value is None or isinstance(value, list | dict):
        raise RowSkipped(f"{kind_of(value)} where text is needed")
    return str(value)


def raw_key(value: Json) -> str | None:
    """Return the key under which a table holds `value`; `None` for what no table can hold."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, int | float):
        return str(value)
    return value if isinstance(value, str) else None
