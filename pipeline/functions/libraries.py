"""The library a request is shown with: distractors, order, masked names, fewer specs.

Published work varies these to make function calling robust: distractor functions and irrelevance
rows (BFCL), masked names (Hammer, arXiv:2410.04587), specs without optional parts
(Granite-20B-FunctionCalling, arXiv:2407.00121, 5.3.4). Every choice is a hash of the row, so it
does not change between runs, machines and orders of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, cast

from pipeline.errors import ParseError
from pipeline.types import FunctionCall, FunctionSpec, Json

Mask = Literal["none", "functions", "arguments", "all"]
Drop = Literal["none", "descriptions", "optional"]
MASKS: tuple[str, ...] = ("none", "functions", "arguments", "all")
DROPS: tuple[str, ...] = ("none", "descriptions", "optional")
_ALLOWED = {
    "size": "a whole number from 1",
    "mask": ", ".join(MASKS),
    "drop": ", ".join(DROPS),
    "abstain": "a share from 0 to 1",
}
_NAMED_SCHEMAS = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_VALUE_KEYS = frozenset({"enum", "const", "default", "example", "examples"})
"""Keys of a JSON Schema whose values are data, which may look like a schema."""
_KeyOf = Callable[[str, str], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class LibraryOptions:
    """How a library is changed; the defaults change nothing."""

    size: int | None = None
    """Functions shown at most; those that are called are always among them."""
    shuffle: bool = False
    """Whether the order is a hash of the row."""
    mask: Mask = "none"
    """Names replaced by `f_3a91c2`, so that only descriptions tell what a function does."""
    drop: Drop = "none"
    """`descriptions` of parameters, or what is `optional`: parameters that are not required and
    not used by the row."""
    abstain: float = 0.0
    """Share of rows whose called functions are taken away; their answer is no call."""


def vary_library(
    functions: Sequence[FunctionSpec],
    calls: Sequence[FunctionCall],
    options: LibraryOptions,
    *,
    query: Json = None,
) -> tuple[list[FunctionSpec], list[FunctionCall]]:
    """Return the library that is shown, and the calls in its terms.

    Args:
        functions: The library.
        calls: The row's calls.
        options: What to change.
        query: What the row asks; without it all rows of the same calls, so all without any, are
            varied in the same way.

    Raises:
        ParseError: `FUN605`, an option that is not allowed.
    """
    _check(options)
    salt = _salt(query, calls)
    called = {call.name for call in calls}
    kept = list(functions)
    made = list(calls)
    if options.abstain and _share(salt, "abstain") < options.abstain:
        kept = [spec for spec in kept if spec.name not in called]
        made, called = [], set()
    if options.size is not None:
        kept = _at_most(kept, called, options.size, salt)
    if options.shuffle:
        # Not the hash that chose them, by which those that are called would stand last.
        kept.sort(key=lambda spec: _hash(salt, "order", spec.name))
    if options.drop != "none":
        kept = [_shortened(spec, made, options.drop) for spec in kept]
    if options.mask != "none":
        return _masked(kept, made, options.mask, salt)
    return kept, made


def _check(options: LibraryOptions) -> None:
    problems = {
        "size": options.size is not None and (type(options.size) is not int or options.size < 1),
        "mask": options.mask not in MASKS,
        "drop": options.drop not in DROPS,
        "abstain": not 0 <= options.abstain <= 1,
    }
    for name, is_wrong in problems.items():
        if is_wrong:
            raise ParseError(
                "FUN605",
                f"option {name!r} of a library is {getattr(options, name)!r}",
                hint=f"Allowed: {_ALLOWED[name]}",
            )


def _at_most(
    functions: list[FunctionSpec], called: set[str], size: int, salt: str
) -> list[FunctionSpec]:
    others = [spec.name for spec in functions if spec.name not in called]
    others.sort(key=lambda name: _hash(salt, name))
    num_called = sum(spec.name in called for spec in functions)
    shown = called | set(others[: max(0, size - num_called)])
    return [spec for spec in functions if spec.name in shown]


def _shortened(spec: FunctionSpec, calls: Sequence[FunctionCall], drop: Drop) -> FunctionSpec:
    if drop == "descriptions":
        plain = cast("dict[str, Json]", _undescribed(spec.parameters))
        return replace(spec, parameters=plain)
    properties = cast("dict[str, Json]", spec.parameters.get("properties") or {})
    used = {key for call in calls if call.name == spec.name for key in call.arguments}
    needed = {*cast("list[str]", spec.parameters.get("required") or []), *used}
    kept: dict[str, Json] = {name: item for name, item in properties.items() if name in needed}
    return replace(spec, parameters={**spec.parameters, "properties": kept})


def _undescribed(schema: Json) -> Json:
    """Return a JSON Schema without descriptions, at every depth."""
    if isinstance(schema, list):
        return [_undescribed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    kept: dict[str, Json] = {}
    for key, value in schema.items():
        if key in _VALUE_KEYS:
            kept[key] = value
        elif key in _NAMED_SCHEMAS and isinstance(value, dict):
            # Names of parameters, one of which may be called `description`.
            kept[key] = {name: _undescribed(item) for name, item in value.items()}
        elif key != "description":
            kept[key] = _undescribed(value)
    return kept


def _masked(
    functions: list[FunctionSpec], calls: list[FunctionCall], mask: Mask, salt: str
) -> tuple[list[FunctionSpec], list[FunctionCall]]:
    def name_of(name: str) -> str:
        return name if mask == "arguments" else f"f_{_hash(salt, name)[:8]}"

    def key_of(function: str, key: str) -> str:
        return key if mask == "functions" else f"a_{_hash(salt, function, key)[:8]}"

    specs = [
        replace(
            spec, name=name_of(spec.name), parameters=_renamed(spec.name, spec.parameters, key_of)
        )
        for spec in functions
    ]
    renamed = [
        replace(
            call,
            name=name_of(call.name),
            arguments={key_of(call.name, key): value for key, value in call.arguments.items()},
        )
        for call in calls
    ]
    return specs, renamed


def _renamed(function: str, schema: Mapping[str, Json], key_of: _KeyOf) -> dict[str, Json]:
    properties = cast("dict[str, Json]", schema.get("properties") or {})
    required = cast("list[str]", schema.get("required") or [])
    return {
        **schema,
        "properties": {key_of(function, key): value for key, value in properties.items()},
        "required": [key_of(function, key) for key in required],
    }


def _salt(query: Json, calls: Sequence[FunctionCall]) -> str:
    asked = [query, [[call.name, call.arguments] for call in calls]]
    return json.dumps(asked, sort_keys=True)


def _hash(*parts: str) -> str:
    return hashlib.sha256("\x1f".join(parts).encode(errors="replace")).hexdigest()


def _share(salt: str, purpose: str) -> float:
    return int(_hash(salt, purpose)[:8], 16) / float(1 << 32)
