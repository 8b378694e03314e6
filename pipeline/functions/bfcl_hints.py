"""Function specs as BFCL shows them: with hints on the language of the function.

The sentences are part of the benchmark's protocol and are taken word for word from
`bfcl_eval/utils.py` of bfcl-eval 2026.3.23 (ShishirPatil/gorilla at 6ea5797, Apache-2.0, see
NOTICE); the code is this project's own. Parameters of Java and JavaScript functions become texts,
because their values are written as source code.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from pipeline.errors import ParseError
from pipeline.types import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class _Language:
    syntax: str
    name: str = ""
    list_types: frozenset[str] = frozenset()
    shows_members: bool = False
    """Whether the members of a dictionary are told in its description."""


_PYTHON = _Language(syntax="Python 3")
_JAVA = _Language(syntax="Java 8 SDK", name="Java", list_types=frozenset({"ArrayList", "Array"}))
_JAVASCRIPT = _Language(
    syntax="JavaScript", name="JavaScript", list_types=frozenset({"array"}), shows_members=True
)


def with_language_hints(functions: Json, category: str) -> list[Json]:
    """Return the specs of one row with hints, in BFCL's own form.

    Args:
        functions: Specs in BFCL's own types; they are not changed.
        category: Name of a category; `simple_java` and `simple_javascript` tell their language.

    Raises:
        ParseError: `FUN606`, a spec is not of BFCL's form.
    """
    language = {"simple_java": _JAVA, "simple_javascript": _JAVASCRIPT}.get(category, _PYTHON)
    if not isinstance(functions, list):
        raise ParseError("FUN606", "the functions of a BFCL row are a list")
    try:
        return [_hinted(cast("dict[str, Json]", item), language) for item in functions]
    except (KeyError, TypeError, AttributeError) as error:
        raise ParseError("FUN606", f"a spec is not of BFCL's form: {error}") from error


def _hinted(spec: Mapping[str, Json], language: _Language) -> Json:
    note = f" Note that the provided function is in {language.syntax} syntax."
    made: dict[str, Json] = {**spec, "description": cast("str", spec["description"]) + note}
    if language.name:
        schema = cast("dict[str, Json]", spec["parameters"])
        properties = cast("dict[str, dict[str, Json]]", schema["properties"])
        shown: dict[str, Json] = {
            name: _as_source(item, language) for name, item in properties.items()
        }
        made["parameters"] = {**schema, "properties": shown}
    return made


def _as_source(item: Mapping[str, Json], language: _Language) -> Json:
    """Return a parameter whose value is written as source code."""
    kind = cast("str", item["type"])
    told: Sequence[str] = [
        f" This parameter can be of any type of {language.name} object in string representation."
        if kind == "any"
        else f" This is {language.name} {kind} type parameter in string representation."
    ]
    left = dict(item)
    if kind in language.list_types:
        inner = cast("dict[str, Json]", left.pop("items"))["type"]
        told = [
            *told,
            f" The list elements are of type {inner}; they are not in string representation.",
        ]
    if kind == "dict" and language.shows_members and "properties" in left:
        members = json.dumps(left.pop("properties"))
        told = [
            *told,
            " The dictionary entries have the following schema; "
            f"they are not in string representation. {members}",
        ]
    description = cast("str", item["description"])
    return {**left, "description": description + "".join(told), "type": "string"}
