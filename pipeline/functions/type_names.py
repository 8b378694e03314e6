"""Type names of many languages as JSON Schema."""

from __future__ import annotations

import re
from typing import cast

from pipeline.types import Json

_STRING_NAMES = "str string text char enum date any"
_INTEGER_NAMES = "int integer long short byte bigint"
_NUMBER_NAMES = "float number double num decimal"
_ARRAY_NAMES = "list array tuple set arraylist queue stack sequence iterable"
_OBJECT_NAMES = "dict object hashmap hashtable map mapping json"
_JSON_TYPES: dict[str, str] = {
    **dict.fromkeys(_STRING_NAMES.split(), "string"),
    **dict.fromkeys(_INTEGER_NAMES.split(), "integer"),
    **dict.fromkeys(_NUMBER_NAMES.split(), "number"),
    **dict.fromkeys(_ARRAY_NAMES.split(), "array"),
    **dict.fromkeys(_OBJECT_NAMES.split(), "object"),
    **dict.fromkeys(("bool", "boolean"), "boolean"),
    **dict.fromkeys(("none", "null", "nonetype"), "null"),
}
"""`any` is a string, as BFCL's own conversion has it."""

_OPTIONAL = re.compile(r"[,\s(]*\b(?:optional|required)\b\)?", re.IGNORECASE)
_GENERIC = re.compile(r"\A(\w+)\s*[\[(<](.*)[\])>]\Z", re.DOTALL)
_DESCRIBED = re.compile(r"\A(?:(optional|required)\.\s*)?(?:(\w+)\.\s*)?(.*)\Z", re.DOTALL | re.I)
_MAX_GENERIC_DEPTH = 8


def schema_of_type(kind: Json, depth: int = 0) -> dict[str, Json]:
    """Return the JSON Schema of a type name such as `List[int]`, `int, optional` or `dict`.

    A name that is not known is a string whose `format` is the name. A list of names, as JSON
    Schema allows it, stays a list.
    """
    if isinstance(kind, list):
        schemas = [schema_of_type(item, depth + 1) for item in kind]
        return {"type": [schema.get("type", "string") for schema in schemas]}
    if isinstance(kind, dict):
        return kind
    name = str(kind).strip()
    known = _JSON_TYPES.get(name.lower())
    if known is not None:
        return {"type": known}
    generic = _GENERIC.match(name)
    if generic is not None and depth < _MAX_GENERIC_DEPTH:
        read = _schema_of_generic(generic.group(1).lower(), generic.group(2), depth + 1)
        if read is not None:
            return read
    bare = _OPTIONAL.sub("", name).strip(" ,")
    if bare != name and bare and depth < _MAX_GENERIC_DEPTH:
        return schema_of_type(bare, depth + 1)
    return {"type": "string", "format": name} if name else {"type": "string"}


def split_described_type(text: str) -> dict[str, Json]:
    """Read a parameter that is one text: a type, or ToolAlpaca's `Optional. String. The colour`.

    Returns:
        `type` and `description` where given, and `required` where the text tells it.
    """
    if text.strip().lower() in _JSON_TYPES:
        return {"type": text.strip()}
    match = _DESCRIBED.match(text.strip())
    assert match is not None, "every part of the pattern may be empty"
    told, kind, rest = match.groups()
    parameter: dict[str, Json] = {"required": told.lower() == "required"} if told else {}
    if kind is None or kind.lower() not in _JSON_TYPES:
        return {**parameter, "description": text.strip()}
    return {**parameter, "type": kind, "description": rest.strip()}


def _schema_of_generic(outer: str, inner: str, depth: int) -> dict[str, Json] | None:
    parts = _split_arguments(inner)
    if outer == "optional" and parts:
        return schema_of_type(parts[0], depth)
    if outer == "union" and parts:
        return {"anyOf": [schema_of_type(part, depth) for part in parts]}
    if outer == "literal" and parts:
        values: list[str] = [part.strip("'\"") for part in parts]
        return {"type": "string", "enum": cast("Json", values)}
    known = _JSON_TYPES.get(outer)
    if known == "array":
        return {"type": "array", **({"items": schema_of_type(parts[0], depth)} if parts else {})}
    return {"type": "object"} if known == "object" else None


def _split_arguments(text: str) -> list[str]:
    """Split at the commas that stand outside of brackets."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(<") - (character in "])>")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]
