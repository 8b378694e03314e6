"""Published numbers that are shown beside ours, with their source and what differs."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path

from pipeline.errors import EvalError, PipelineError, raise_all
from pipeline.files import read_json
from pipeline.types import Json

_TEXTS = ("task", "model", "source", "protocol")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """One published number."""

    task: str
    """Id of the task it belongs beside."""
    model: str
    value: float
    """In the metric's own unit, e.g. 0.84."""
    source: str
    """Where it was published."""
    protocol: str
    """What was done otherwise than here."""
    comparable: bool = False
    """Whether data, split, prompt and metric are the same as here."""

    def to_json(self) -> dict[str, Json]:
        """Return the number as JSON."""
        return dict(asdict(self))


def load_references(path: Path) -> list[Reference]:
    """Read a JSON list of `{task, model, value, source, protocol, comparable}`.

    Raises:
        EvalError: It cannot be read, or an entry lacks a part (EVL061); all of them at once.
    """
    try:
        entries = read_json(path)
    except (OSError, ValueError) as error:
        raise _malformed(path, "no readable JSON") from error
    if not isinstance(entries, list):
        raise _malformed(path, "no list")
    found: list[Reference] = []
    errors: list[PipelineError] = []
    for number, entry in enumerate(entries, start=1):
        problem = _problem(entry)
        if problem or not isinstance(entry, dict):
            errors.append(_malformed(f"{path}: entry {number}", problem))
            continue
        found.append(
            Reference(
                **{name: str(entry[name]) for name in _TEXTS},
                value=float(str(entry["value"])),
                comparable=entry.get("comparable") is True,
            )
        )
    raise_all(errors)
    return found


def _problem(entry: Json) -> str:
    if not isinstance(entry, dict):
        return "no object"
    unknown = sorted(set(entry) - {*_TEXTS, "value", "comparable"})
    if unknown:
        return f"unknown key {unknown[0]!r}"
    for name in _TEXTS:
        if not isinstance(entry.get(name), str) or not entry[name]:
            return f"no text under {name!r}"
    value = entry.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return "no number under 'value'"
    return "" if isinstance(entry.get("comparable", False), bool) else "'comparable' is no boolean"


def _malformed(where: Path | str, what: str) -> EvalError:
    return EvalError(
        "EVL061",
        f"not a file of published numbers: {what}",
        where=where,
        hint="Each entry has task, model, value, source and protocol, and maybe comparable",
    )
