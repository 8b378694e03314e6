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
_DESCRIBED = re.compile(
    r"\A(?:(optional|required)\.\s*)?(?:(\w+)(\[\w+\])?\.\s*)?(.*)\Z", re.DOTALL | re.I
)
_TYPED = re.compile(r"\s*array\[", re.IGNORECASE)
"""Start of a type that ToolAlpaca spells out, such as `Array[Object{id: string. The id}]`."""
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
    """Read a parameter that is one text: a type, or ToolAlpaca's `Required. String. The colour`.

    Returns:
        `type` and `description` where given, and `required` where the text tells it: ToolAlpaca
        marks what is required, so `String. The colour` is not.
    """
    if text.strip().lower() in _JSON_TYPES:
        return {"type": text.strip()}
    match = _DESCRIBED.match(text.strip())
    assert match is not None, "every part of the pattern may be empty"
    told, kind, of, rest = match.groups()
    is_required = told is not None and told.lower() == "required"
    if kind is None or kind.lower() not in _JSON_TYPES:
        parameter: dict[str, Json] = {"description": text.strip()}
        return {**parameter, "required": is_required} if told or _TYPED.match(text) else parameter
    return {"required": is_required, "type": kind + (of or ""), "description": rest.strip()}


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
        return {"type": "array", **_items_schema(outer, parts, depth)}
    if known == "object":
        # The keys of JSON objects are strings; values of any type need no schema.
        is_told = len(parts) == 2 and parts[1].lower() != "any"
        told = {"additionalProperties": schema_of_type(parts[1], depth)} if is_told else {}
        return {"type": "object", **cast("dict[str, Json]", told)}
    return None


def _items_schema(outer: str, parts: list[str], depth: int) -> dict[str, Json]:
    """Return what a list of these types says of its items: one schema, or one per place."""
    if not parts:
        return {}
    is_fixed = outer == "tuple" and len(parts) > 1 and "..." not in parts
    schemas = [schema_of_type(part, depth) for part in (parts if is_fixed else parts[:1])]
    if not is_fixed:
        return {"items": schemas[0]}
    size: dict[str, Json] = {"minItems": len(schemas), "maxItems": len(schemas)}
    if all(schema == schemas[0] for schema in schemas):
        return {"items": schemas[0], **size}
    return {"prefixItems": cast("Json", schemas), **size}


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
