"""Column types of a dataset as plain values.

A type is the name of a scalar (`"string"`, `"int32"`), a list of one type, a mapping of members, a
`ClassNames`, or `None` where nothing is known. The two written forms are read here: the YAML of a
dataset card, and the JSON that `datasets` keeps in Parquet and Arrow files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import pyarrow as pa

from pipeline.types import Json


@dataclass(frozen=True, slots=True)
class ClassNames:
    """An integer that stands for a name."""

    names: tuple[str, ...]


Feature = str | ClassNames | list["Feature"] | Mapping[str, "Feature"] | None
Features = Mapping[str, Feature]

_LIST_KEYS = ("sequence", "list", "large_list")


def features_from_yaml(entries: Json) -> Features:
    """Return the types that `features:` of a dataset card lists.

    Raises:
        ValueError: The list has another form.
    """
    if not isinstance(entries, list):
        raise ValueError(f"features must be a list, got {type(entries).__name__}")
    found: dict[str, Feature] = {}
    for entry in entries:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise ValueError(f"a feature needs a name: {str(entry)[:80]}")
        found[str(entry["name"])] = _from_yaml(entry)
    return found


def features_from_json(value: Json) -> Features:
    """Return the types in the form of `datasets.Features.to_dict()`."""
    return {name: _from_json(item) for name, item in cast("dict[str, Json]", value).items()}


def recorded_features(schema: pa.Schema) -> Features | None:
    """Return the types that `datasets` noted in an Arrow or Parquet file, if it did."""
    note = (schema.metadata or {}).get(b"huggingface")
    try:
        return features_from_json(json.loads(note)["info"]["features"]) if note else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def class_names(features: Features | None) -> dict[str, tuple[str, ...]]:
    """Return the names of class labels by column, for plain columns and lists of labels."""
    found: dict[str, tuple[str, ...]] = {}
    for column, feature in (features or {}).items():
        while isinstance(feature, list):
            feature = feature[0]
        if isinstance(feature, ClassNames):
            found[column] = feature.names
    return found


def holds_json(schema: pa.Schema) -> bool:
    """Return whether a file has columns of JSON text that stands for values."""
    return b'"Json"' in (schema.metadata or {}).get(b"huggingface", b"")


def _from_yaml(entry: Mapping[str, Any]) -> Feature:
    for key in _LIST_KEYS:
        if key in entry:
            return _list_from_yaml(key, entry[key])
    if "struct" in entry:
        return features_from_yaml(entry["struct"])
    if "class_label" in entry:
        return _class_names(entry["class_label"])
    kind = entry.get("dtype")
    return kind if isinstance(kind, str) else _from_yaml(kind) if isinstance(kind, dict) else None


def _list_from_yaml(key: str, inner: Any) -> Feature:  # noqa: ANN401 - any YAML value
    if isinstance(inner, str):
        return [inner]
    if isinstance(inner, list):
        members = features_from_yaml(inner)
        if key == "sequence":
            # `datasets` turns a sequence of structs into a struct of lists.
            return {name: [member] for name, member in members.items()}
        return [members]
    return [_from_yaml(inner)] if isinstance(inner, dict) else [None]


def _class_names(value: Any) -> Feature:  # noqa: ANN401 - any YAML or JSON value
    names = value.get("names") if isinstance(value, dict) else None
    if isinstance(names, dict):
        names = [names[key] for key in sorted(names, key=int)]
    # A card that says `0: no` without quotes means `false` to most YAML readers.
    is_text = isinstance(names, list) and all(isinstance(name, str) for name in names)
    return ClassNames(tuple(names)) if is_text and names else "int64"


def _from_json(value: Json) -> Feature:
    if isinstance(value, list):
        return [_from_json(value[0])] if value else None
    if not isinstance(value, dict):
        return None
    kind = value.get("_type")
    if not isinstance(kind, str):
        return {name: _from_json(member) for name, member in value.items()}
    if kind == "Value":
        return str(value.get("dtype"))
    if kind == "ClassLabel":
        return _class_names(value)
    if kind == "Sequence" and isinstance(value.get("feature"), dict):
        inner = _from_json(value["feature"])
        if isinstance(inner, Mapping):
            return {name: [member] for name, member in inner.items()}
        return [inner]
    return [_from_json(value.get("feature"))] if kind in {"List", "LargeList"} else None
