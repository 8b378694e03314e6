"""Paths into a source row: `a.b[0]`, `list[*].x`, `"odd.name".x`, `$choices`.

A path works on lists of structs and on structs of lists alike, because `datasets` returns either
for the same data.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from pipeline.types import Json
from pipeline.yaml_reader import excerpt

MAX_PATH_LENGTH = 200

_STEP = re.compile(
    r"""(?P<dot>\.?)(?:"(?P<quoted>[^"]+)"|(?P<name>[^.\[\]{}"$\s][^.\[\]{}"]*)|\[(?P<index>-?\d{1,6}|\*)\])"""
)

Scope = Mapping[str, Json]
"""Columns of the row and names bound so far; computed fields stand under `$name`."""


@dataclass(frozen=True, slots=True)
class Every:
    """The step `[*]`: each element of a list."""


EVERY = Every()
Step = str | int | Every


@dataclass(frozen=True, slots=True)
class Path:
    """Where a value stands in a row."""

    root: str
    """Column or bound name; starts with `$` for a computed field."""
    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        """Return the path as it is written in YAML."""
        text = _quoted(self.root)
        for step in self.steps:
            if isinstance(step, Every):
                text += "[*]"
            else:
                text += f"[{step}]" if isinstance(step, int) else f".{_quoted(step)}"
        return text


def _quoted(name: str) -> str:
    match = _STEP.fullmatch(name)
    is_plain = match is not None and match["name"] == name.strip() == name
    return name if is_plain else f'"{name}"'


def parse_path(text: str) -> Path:
    """Return the path that `text` spells.

    Raises:
        ValueError: `text` is no path; the message says why.
    """
    if len(text) > MAX_PATH_LENGTH:
        raise ValueError(f"a path has at most {MAX_PATH_LENGTH} characters, got {len(text)}")
    computed = text.startswith("$")
    rest = text.removeprefix("$")
    steps: list[Step] = []
    position = 0
    while position < len(rest):
        match = _STEP.match(rest, position)
        if match is None or bool(match["dot"]) != (position > 0 and match["index"] is None):
            raise ValueError(f"{excerpt(text)} is no path such as a.b[0] or list[*].x")
        steps.append(_step(match))
        position = match.end()
    if not steps or not isinstance(steps[0], str) or text != text.strip():
        raise ValueError(f"{excerpt(text)} is no path such as a.b[0] or list[*].x")
    return Path(("$" if computed else "") + steps[0], tuple(steps[1:]))


def _step(match: re.Match[str]) -> Step:
    if match["index"] is None:
        return match["quoted"] or match["name"]
    return EVERY if match["index"] == "*" else int(match["index"])


def compile_path(path: Path) -> Callable[[Scope], Json]:
    """Return a function that looks `path` up in a scope; absent values give `None`."""
    root, steps = path.root, path.steps
    if not steps:
        return lambda scope: scope.get(root)
    if len(steps) == 1 and isinstance(steps[0], str):
        name = steps[0]
        return lambda scope: _member(scope.get(root), name)
    return lambda scope: follow(scope.get(root), steps)


def follow(value: Json, steps: tuple[Step, ...]) -> Json:
    """Return what stands at `steps` below `value`, `None` where there is nothing."""
    for position, step in enumerate(steps):
        if isinstance(step, Every):
            rest = steps[position + 1 :]
            return [follow(item, rest) for item in elements(value)]
        value = _member(value, step) if isinstance(step, str) else _element(value, step)
        if value is None:
            return None
    return value


def elements(value: Json) -> list[Json]:
    """Return the elements of a list, or of a struct of equally long lists row by row."""
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value:
        columns = list(value.values())
        if all(isinstance(column, list) for column in columns):
            rows = zip(*columns, strict=False)
            return [dict(zip(value, row, strict=True)) for row in rows]
    return []


def _member(value: Json, name: str) -> Json:
    if isinstance(value, dict):
        return value.get(name)
    if isinstance(value, list):
        # `choices.text` on a list of structs means the same as on a struct of lists.
        return [_member(item, name) for item in value]
    return None


def _element(value: Json, index: int) -> Json:
    if isinstance(value, dict):
        value = elements(value)
    if isinstance(value, list) and -len(value) <= index < len(value):
        return value[index]
    return None
