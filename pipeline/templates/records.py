"""Structured records as text: one line per event, the latest kept.

An event is a map with `values` (column name to value), and if known `table` and `time`; a map
without `values` is itself the values. The wording follows Hur et al., "GenHPF" (arXiv:2207.09858):
name of the table, then each column's name and value, numbers rounded, digits apart on request.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import cast

from pipeline.types import Json

DECIMALS = 4
"""Decimals of a number, as in GenHPF."""

_DIGIT = re.compile(r"(?<=[0-9.])(?=[0-9.])")
_BREAKS = re.compile(r"\s+")


def render_records(records: Json, settings: Mapping[str, Json]) -> str:
    """Return records as lines `- +2.5 | lab | glucose 5.4 | unit mmol/L`, oldest first.

    Events are sorted by time; those without a time come first, in their own order. A column too
    many for an event's budget is left out with all after it, an event too many for the whole with
    all before it.

    Args:
        records: A list of events; anything else is written as it is.
        settings: Of a `records` task.
    """
    if not isinstance(records, list):
        return str(records)
    events = sorted(map(_as_event, records), key=_time_key)
    limit = cast("int | None", settings.get("max_events"))
    if limit is not None:
        events = events[-limit:]
    lines = [_line(event, gap, settings) for event, gap in zip(events, _gaps(events), strict=True)]
    return "".join(f"\n{line}" for line in _latest(lines, settings.get("total_characters")))


def _as_event(record: Json) -> dict[str, Json]:
    if not isinstance(record, dict):
        return {"values": {"value": record}}
    return record if isinstance(record.get("values"), dict) else {"values": record}


def _time_key(event: Mapping[str, Json]) -> tuple[int, float, str]:
    time = event.get("time")
    if isinstance(time, int | float) and not isinstance(time, bool):
        return 1, float(time), ""
    return (0, 0.0, "") if time is None else (2, 0.0, str(time))


def _gaps(events: Sequence[Mapping[str, Json]]) -> list[float | None]:
    """Return for each event the time since the one before it, where both times are numbers."""
    gaps: list[float | None] = []
    before: float | None = None
    for event in events:
        kind, time, _ = _time_key(event)
        gaps.append(None if kind != 1 else time - before if before is not None else 0.0)
        before = time if kind == 1 else before
    return gaps


def _line(event: Mapping[str, Json], gap: float | None, settings: Mapping[str, Json]) -> str:
    is_spaced = settings.get("digits") == "spaced"
    parts = []
    time = settings.get("time", "delta")
    if time == "delta" and gap is not None:
        parts.append("+" + _value(gap, is_spaced=is_spaced))
    elif time == "given" and event.get("time") is not None:
        parts.append(_value(event["time"], is_spaced=is_spaced))
    if event.get("table") is not None:
        parts.append(_value(event["table"], is_spaced=False))
    budget = cast("int | None", settings.get("event_characters"))
    line = "- " + " | ".join(parts)
    for name, value in cast("dict[str, Json]", event["values"]).items():
        if value is None or value in ("", []):
            continue
        cell = f"{_value(name, is_spaced=False)} {_value(value, is_spaced=is_spaced)}"
        longer = f"{line} | {cell}" if line != "- " else f"- {cell}"
        if budget is not None and len(longer) > budget:
            break
        line = longer
    return line


def _value(value: Json, *, is_spaced: bool) -> str:
    if isinstance(value, float) and math.isfinite(value):
        value = f"{value:.{DECIMALS}f}".rstrip("0").rstrip(".")
        value = "0" if value == "-0" else value
    text = _BREAKS.sub(" ", str(value)).strip()
    return _DIGIT.sub(" ", text) if is_spaced else text


def _latest(lines: list[str], budget: Json) -> list[str]:
    if not isinstance(budget, int):
        return lines
    kept: list[str] = []
    for line in reversed(lines):
        budget -= len(line) + 1
        if budget < 0:
            break
        kept.append(line)
    return kept[::-1]
