"""Function specs from the spellings that public corpora use, as JSON Schema.

What a function returns becomes a part of its description.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import cast

from pipeline.errors import ParseError
from pipeline.functions.json_text import check_depth_of, excerpt, load_json
from pipeline.functions.outputs import with_outputs
from pipeline.functions.type_names import schema_of_type, split_described_type
from pipeline.types import FunctionSpec, Json

_NAME_KEYS = ("name", "api_name", "Name")
_DESCRIPTION_KEYS = ("description", "api_description", "Description", "desc")
_PARAMETER_KEYS = (
    "parameters",
    "input_schema",
    "input_parameters",  # API-Bank
    "arguments",  # NESTFUL's SGD part
    "query_parameters",  # NESTFUL; may stand beside path_parameters
    "path_parameters",
    "required_parameters",  # ToolBench, lists
    "optional_parameters",
    "required_slots",  # SGD intents
    "optional_slots",
)
_OBJECT_TYPES = frozenset({"object", "dict"})
_ENUM_KEYS = ("allowed_values", "possible_values")


def spec_from_json(value: Json) -> FunctionSpec:
    """Read one function spec from any of the spellings, or from JSON text of one.

    Args:
        value: OpenAI's `{"type": "function", "function": {...}}`; `{name, description,
            parameters}` with a JSON Schema, BFCL's types (`dict`, `float`, `tuple`, `any`) or
            flat `{parameter: {type, description, default, required}}`; `{api_name,
            api_description, ...}`; `query_parameters`, `input_parameters`,
            `required_parameters`/`optional_parameters` lists; an SGD intent. Outputs under
            `output_parameters`, `responses` or `return`.

    Returns:
        The spec; `parameters` always has `type`, `properties` and `required`. A flat spec
        that names no required parameter requires those that are neither called optional nor
        have a default, as in xLAM.

    Raises:
        ParseError: `FUN201` no spec, `FUN202` parameters, or one of `load_json`.
    """
    if isinstance(value, str):
        value = load_json(value, max_bytes=None)
    check_depth_of(value)
    if not isinstance(value, dict):
        raise ParseError("FUN201", f"a function spec must be an object, got {excerpt(value)}")
    inner = value.get("function")
    if isinstance(inner, dict):
        return spec_from_json(inner)
    name = _first_text(value, _NAME_KEYS)
    if not name:
        raise ParseError("FUN201", f"function spec without a name: {excerpt(value)}")
    return FunctionSpec(
        name=name,
        description=with_outputs(_first_text(value, _DESCRIPTION_KEYS), value),
        parameters=_object_schema(name, value),
    )


def specs_from_json(value: Json) -> list[FunctionSpec]:
    """Read a library of function specs.

    Args:
        value: A list of specs, one spec, SGD services (`{service_name, slots, intents}`), JSON
            text of any of these, or `None` for no function. Repeated identical specs are
            kept once, as several corpora list a function twice.

    Raises:
        ParseError: As `spec_from_json`; `FUN203` for two different specs of one name.
    """
    if isinstance(value, str):
        value = load_json(value, max_bytes=None) if value.strip() else None
    if value is None:
        return []
    specs: dict[str, FunctionSpec] = {}
    for item in _without_services(value if isinstance(value, list) else [value]):
        spec = spec_from_json(item)
        if specs.setdefault(spec.name, spec).parameters != spec.parameters:
            raise ParseError("FUN203", f"two different specs are named {excerpt(spec.name)}")
    return list(specs.values())


def specs_to_json(specs: Iterable[FunctionSpec]) -> list[Json]:
    """Return `{name, description, parameters}` per spec, the form of `inputs["functions"]`."""
    return [
        {"name": spec.name, "description": spec.description, "parameters": spec.parameters}
        for spec in specs
    ]


def _first_text(value: Mapping[str, Json], keys: Iterable[str]) -> str:
    for key in keys:
        text = value.get(key)
        if isinstance(text, str) and text.strip():
            return text.strip()
    return ""


def _object_schema(name: str, spec: Mapping[str, Json]) -> dict[str, Json]:
    groups = {key: spec[key] for key in _PARAMETER_KEYS if spec.get(key) is not None}
    required = _texts(spec.get("required"))
    for key in ("parameters", "input_schema"):
        schema = _load_parameters(groups.get(key))
        if isinstance(schema, dict) and _is_schema(schema):
            return _read_schema(schema, required or [])
    flat: dict[str, dict[str, Json]] = {}
    for key, group in groups.items():
        flat.update(_read_flat_group(name, key, _load_parameters(group)))
    return _flat_schema(flat, required)


def _texts(value: Json) -> list[str] | None:
    """Return the texts in a list, or `None` when there is no list."""
    return [item for item in value if isinstance(item, str)] if isinstance(value, list) else None


def _load_parameters(value: Json) -> Json:
    return load_json(value, max_bytes=None) if isinstance(value, str) else value


def _is_schema(value: Mapping[str, Json]) -> bool:
    """Tell a JSON Schema from flat parameters, one of which may be called `properties`."""
    says_object = isinstance(value.get("type"), str) and str(value["type"]) in _OBJECT_TYPES
    properties = value.get("properties")
    if isinstance(properties, dict):
        return says_object or all(isinstance(item, dict) for item in properties.values())
    return says_object and not any(
        isinstance(item, dict) and "type" in item for item in value.values()
    )


def _read_schema(schema: Mapping[str, Json], extra_required: list[str]) -> dict[str, Json]:
    properties = schema.get("properties")
    read, marked = _read_properties(properties if isinstance(properties, dict) else {})
    required = _texts(schema.get("required")) or []
    result: dict[str, Json] = {"type": "object", "properties": read}
    result["required"] = cast("Json", list(dict.fromkeys([*required, *marked, *extra_required])))
    for key, value in schema.items():
        if key not in ("type", "properties", "required", "optional"):
            result[key] = value
    return result


def _read_properties(properties: Mapping[str, Json]) -> tuple[dict[str, Json], list[str]]:
    """Return the properties as JSON Schema, and those that are marked `required: true`."""
    read: dict[str, Json] = {}
    marked: list[str] = []
    for name, value in properties.items():
        parameter = value if isinstance(value, dict) else split_described_type(str(value))
        read[name] = _read_property(parameter)
        if parameter.get("required") is True:
            marked.append(name)
    return read, marked


def _read_property(parameter: Mapping[str, Json]) -> dict[str, Json]:
    result: dict[str, Json] = {}
    if parameter.get("type") is not None:
        result.update(schema_of_type(parameter["type"]))
    for key, value in parameter.items():
        if key == "type" or (key in ("required", "optional") and isinstance(value, bool)):
            continue
        if key in _ENUM_KEYS and isinstance(value, list):
            result.update({"enum": value} if value else {})
        elif key == "default_value":
            result["default"] = value
        elif key == "items" and isinstance(value, dict):
            result[key] = _read_property(value)
        elif key == "properties" and isinstance(value, dict):
            result[key], marked = _read_properties(value)
            if marked:
                result["required"] = cast("Json", marked)
        else:
            result[key] = value
    return result


def _read_flat_group(name: str, key: str, group: Json) -> dict[str, dict[str, Json]]:
    """Return `{parameter: {...}}` from one flat group, with `required` where the group tells."""
    told: dict[str, Json] = {}
    if key.startswith(("required_", "optional_")):
        told = {"required": key.startswith("required_")}
    if isinstance(group, list):
        items = [{"name": item} if isinstance(item, str) else item for item in group]
        if not all(isinstance(item, dict) and isinstance(item.get("name"), str) for item in items):
            raise ParseError(
                "FUN202", f"{key} of {excerpt(name)} must hold names: {excerpt(group)}"
            )
        parameters = cast("list[dict[str, Json]]", items)
        return {
            str(item["name"]): {**{k: v for k, v in item.items() if k != "name"}, **told}
            for item in parameters
        }
    if not isinstance(group, dict):
        raise ParseError("FUN202", f"{key} of {excerpt(name)} is no object: {excerpt(group)}")
    if key == "optional_slots":
        return {slot: {"default": value, **told} for slot, value in group.items()}
    return {
        parameter: {
            **(value if isinstance(value, dict) else split_described_type(str(value))),
            **told,
        }
        for parameter, value in group.items()
    }


def _flat_schema(flat: Mapping[str, dict[str, Json]], listed: list[str] | None) -> dict[str, Json]:
    is_told = any(item.get("required") is True for item in flat.values())
    required = list(listed or [])
    for name, parameter in flat.items():
        is_required = parameter.get("required") is True
        if not is_told and listed is None:
            is_required = parameter.get("required") is not False and not _looks_optional(parameter)
        if is_required and name not in required:
            required.append(name)
    properties: dict[str, Json] = {name: _read_property(item) for name, item in flat.items()}
    return {"type": "object", "properties": properties, "required": cast("Json", required)}


def _looks_optional(parameter: Mapping[str, Json]) -> bool:
    kind = parameter.get("type")
    says_optional = isinstance(kind, str) and re.search(r"\boptional\b", kind, re.IGNORECASE)
    is_marked = parameter.get("optional") is True
    return (
        bool(says_optional) or is_marked or "default" in parameter or "default_value" in parameter
    )


def _without_services(items: list[Json]) -> list[Json]:
    """Return specs, with the intents of an SGD service in its place."""
    found: list[Json] = []
    for item in items:
        if isinstance(item, dict) and isinstance(item.get("intents"), list):
            found.extend(_intents_of_service(item))
        else:
            found.append(item)
    return found


def _intents_of_service(service: Mapping[str, Json]) -> list[Json]:
    """Return the intents of an SGD service with the slots' descriptions and values filled in."""
    slots = {
        str(slot["name"]): slot
        for slot in cast("list[Json]", service.get("slots") or [])
        if isinstance(slot, dict) and "name" in slot
    }
    return [
        _fill_slots(intent, slots) if isinstance(intent, dict) else intent
        for intent in cast("list[Json]", service["intents"])
    ]


def _fill_slots(intent: Mapping[str, Json], slots: Mapping[str, dict[str, Json]]) -> Json:
    required = cast("list[str]", intent.get("required_slots") or [])
    optional = cast("dict[str, Json]", intent.get("optional_slots") or {})
    parameters: dict[str, Json] = {}
    for name in [*required, *optional]:
        slot = slots.get(name, {})
        parameter: dict[str, Json] = {"type": "string", "required": name in required}
        parameter["description"] = slot.get("description", "")
        if slot.get("is_categorical"):
            parameter["possible_values"] = slot.get("possible_values")
        if name in optional:
            parameter["default"] = optional[name]
        parameters[name] = parameter
    return {**intent, "required_slots": None, "optional_slots": None, "parameters": parameters}
