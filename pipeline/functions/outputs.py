"""What a function returns, in words, from the spellings that public corpora use.

Requests that chain calls refer to fields of results, `$var1.id$`, so the model must be told the
fields. No chat template has a place for them but the description, so that is where they go.
"""

from __future__ import annotations

from collections.abc import Mapping

from pipeline.functions.type_names import schema_of_type
from pipeline.types import Json

_OUTPUT_KEYS = (
    "output_parameters",  # NESTFUL
    "responses",  # Seal-Tools
    "return",  # API-Bank
)


def with_outputs(description: str, spec: Mapping[str, Json]) -> str:
    """Return the description of a function with what its spec says it returns.

    Args:
        description: The description.
        spec: The spec as the corpus has it. Outputs are `{name: {type, description}}`; other
            forms, such as one unnamed result, are left out.

    Returns:
        `Finds lakes. Returns: id (string): The number; place (object of x (number), y (number))`,
        in the order of the spec, since some references count the outputs.
    """
    outputs = next((found for key in _OUTPUT_KEYS if (found := _named(spec.get(key)))), None)
    if outputs is None:
        return description
    told = "; ".join(_output(name, item) for name, item in outputs.items())
    end = "" if not description or description.endswith((".", "!", "?", ":")) else "."
    return f"{description}{end} Returns: {told}".lstrip()


def _named(value: Json) -> dict[str, dict[str, Json]] | None:
    if not isinstance(value, dict) or not value:
        return None
    named = {name: item for name, item in value.items() if isinstance(item, dict)}
    return named if len(named) == len(value) else None


def _output(name: str, item: Mapping[str, Json]) -> str:
    text = item.get("description")
    described = f": {text.strip().rstrip('.')}" if isinstance(text, str) and text.strip() else ""
    return f"{_field(name, item)}{described}"


def _field(name: str, item: Mapping[str, Json]) -> str:
    kind = _kind(item)
    return f"{name} ({kind})" if kind else name


def _kind(item: Mapping[str, Json]) -> str:
    """Return a type with what is inside of it, without the descriptions of that."""
    properties, items = _named(item.get("properties")), item.get("items")
    if properties is not None:
        return f"object of {', '.join(_field(name, inner) for name, inner in properties.items())}"
    schema = schema_of_type(item["type"]) if item.get("type") is not None else {}
    kind = schema.get("type")
    if kind == "array":
        inner = items if isinstance(items, dict) else schema.get("items")
        of = _kind(inner) if isinstance(inner, dict) else ""
        return f"array of {of}" if of else "array"
    return kind if isinstance(kind, str) else ""
