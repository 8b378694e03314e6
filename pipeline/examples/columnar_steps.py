"""The commonest cleaning steps as operations on a whole column of texts."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.annotations.cleaning import Step
from pipeline.annotations.patterns import MAX_REGEX_TEXT, extraction
from pipeline.examples.frames import Frame, Mask, truths

VectorStep = Callable[[pa.Array, Frame], pa.Array]
"""From texts `[N]` to texts; null stays null, and rows that the step refuses are left."""

_ASCII_SPACE = r"[\t-\r\x1c-\x1f ]+"


def vector_steps(steps: tuple[Step, ...]) -> tuple[list[VectorStep], tuple[Step, ...]]:
    """Return the leading steps that are operations on columns, and the steps after them."""
    found: list[VectorStep] = []
    for position, step in enumerate(steps):
        vector = _vector_step(step)
        if vector is None:
            return found, steps[position:]
        found.append(vector)
    return found, ()


def matched(column: pa.Array, pattern: str, frame: Frame) -> Mask:
    """Return the rows `[N]` whose text a regular expression matches somewhere."""
    _leave_long(column, frame)
    return truths(pc.match_substring_regex(column, pattern=pattern))


def _vector_step(step: Step) -> VectorStep | None:
    if step.name in _TRIMS:
        plain, with_characters = _TRIMS[step.name]
        characters = step.argument
        if characters is None:
            return lambda column, _: plain(column)
        return lambda column, _: with_characters(column, characters=characters)
    if step.name == "replace":
        old, new = cast("list[str]", step.argument)
        return lambda column, _: pc.replace_substring(column, pattern=old, replacement=new)
    if step.name == "sub":
        pattern, replacement = cast("list[str]", step.argument)
        return lambda column, frame: _substituted(column, frame, pattern, replacement)
    if step.name == "extract":
        return _extract(cast("str", step.argument))
    return _IN_ASCII.get(step.name)


def _substituted(column: pa.Array, frame: Frame, pattern: str, replacement: str) -> pa.Array:
    _leave_long(column, frame)
    return pc.replace_substring_regex(column, pattern=pattern, replacement=replacement)


def _extract(pattern: str) -> VectorStep:
    around, group = extraction(pattern)

    def run(column: pa.Array, frame: Frame) -> pa.Array:
        frame.leave(~matched(column, pattern, frame))
        return pc.replace_substring_regex(
            column, pattern=around, replacement=group, max_replacements=1
        )

    return run


def _leave_long(column: pa.Array, frame: Frame) -> None:
    frame.leave(truths(pc.greater(pc.utf8_length(column), MAX_REGEX_TEXT)))


def _in_ascii(vector: Callable[[pa.Array], pa.Array], single: Callable[[str], str]) -> VectorStep:
    """Return a step that is an Arrow operation where all texts are ASCII.

    Beyond ASCII Python knows rules that Arrow does not, such as the final sigma.
    """

    def run(column: pa.Array, frame: Frame) -> pa.Array:
        if truths(pc.string_is_ascii(column), null=True).all():
            return vector(column)
        made = frame.by_value(column, lambda text: single(text) if isinstance(text, str) else None)
        return pa.array(made, type=pa.string()) if isinstance(made, list) else made

    return run


_TRIMS: dict[str, tuple[Callable[[pa.Array], pa.Array], Callable[..., pa.Array]]] = {
    "strip": (pc.utf8_trim_whitespace, pc.utf8_trim),
    "lstrip": (pc.utf8_ltrim_whitespace, pc.utf8_ltrim),
    "rstrip": (pc.utf8_rtrim_whitespace, pc.utf8_rtrim),
}

_IN_ASCII: dict[str, VectorStep] = {
    "lower": _in_ascii(pc.ascii_lower, str.lower),
    "upper": _in_ascii(pc.ascii_upper, str.upper),
    "spaces": _in_ascii(
        lambda column: pc.ascii_trim_whitespace(
            pc.replace_substring_regex(column, pattern=_ASCII_SPACE, replacement=" ")
        ),
        lambda text: " ".join(text.split()),
    ),
}
