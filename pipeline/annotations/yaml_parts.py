"""Small readers of YAML values, shared by the forms of the expression language."""

from __future__ import annotations

from pipeline.annotations.outcomes import kind_of
from pipeline.annotations.paths import Path, parse_path
from pipeline.errors import did_you_mean
from pipeline.types import Json
from pipeline.yaml_reader import Loc, Problem, excerpt

Mapping_ = dict[str, Json]
"""A YAML map."""


def read_path(text: str, loc: Loc, problems: list[Problem]) -> Path | None:
    """Return the path that `text` spells, or `None` after noting what is wrong with it."""
    try:
        return parse_path(text)
    except ValueError as error:
        hint = "A text value is written {const: ...}, a template {text: ...}"
        problems.append(Problem(loc, "ANN111", str(error), hint))
        return None


def only_keys(value: Mapping_, allowed: tuple[str, ...], loc: Loc, problems: list[Problem]) -> bool:
    """Return whether `value` has no other keys than `allowed`; others are noted."""
    unknown = [key for key in value if key not in allowed]
    for key in unknown:
        message = f"unknown key {excerpt(key)}"
        problems.append(Problem((*loc, key), "ANN101", message, did_you_mean(key, allowed)))
    return not unknown


def wrong(loc: Loc, needed: str, got: Json, problems: list[Problem]) -> None:
    """Note that a value has another type than is needed."""
    problems.append(Problem(loc, "ANN113", f"{needed} is needed, got {kind_of(got)}"))


def list_at(value: Mapping_, key: str, loc: Loc, problems: list[Problem]) -> list[Json]:
    """Return the list under `key`, an empty one after noting that there is none."""
    found = value[key]
    if not isinstance(found, list) or not found:
        wrong((*loc, key), "a list that is not empty", found, problems)
        return []
    return found


def text_at(
    value: Mapping_, key: str, loc: Loc, problems: list[Problem], *, default: str = ""
) -> str:
    """Return the text under `key`, or `default`."""
    found = value.get(key, default)
    if not isinstance(found, str):
        wrong((*loc, key), "text", found, problems)
        return default
    return found


def flag_at(
    value: Mapping_, key: str, loc: Loc, problems: list[Problem], *, default: bool = False
) -> bool:
    """Return the boolean under `key`, or `default`."""
    found = value.get(key, default)
    if not isinstance(found, bool):
        wrong((*loc, key), "true or false", found, problems)
        return default
    return found
