"""The only YAML reader: a small, safe part of YAML, with the place of every value kept.

What is read: one UTF-8 document of mappings, lists and scalars, at most 256 KB and 20 levels deep.
What is refused: anchors, aliases, tags, merge keys, duplicate keys, several documents and control
characters. Scalars follow the YAML 1.2 core schema, narrowed: only `true` and `false` are booleans,
so `no`, `on`, `1:30` and dates stay text, and `017` stays text because YAML versions disagree
on it. Keys are always text; a plain `0:` is the key `"0"`.

Not covered: comments are not kept, and nothing is written back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pydantic_core import ErrorDetails, InitErrorDetails, PydanticCustomError

from pipeline.errors import (
    PipelineError,
    SourceMark,
    YamlError,
    did_you_mean,
    nearest_names,
    raise_all,
)
from pipeline.types import Json

MAX_BYTES = 256 * 1024
MAX_DEPTH = 20

Loc = tuple[str | int, ...]
"""Keys and list positions that lead from the root to a value, as in pydantic's errors."""

_EVENT_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C scanner is ten times faster; only its events are used, never its constructor."""

_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,17})")
_DIGITS = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x84\x86-\x9f\ud800-\udfff\ufffe\uffff]"
)
_CODE = re.compile(r"[A-Z]{3}\d{3}")


@dataclass(frozen=True, slots=True)
class YamlDocument:
    """The value of a file, and where each part of it stands."""

    name: str
    """Path or name as the user gave it."""
    value: Json
    values: Mapping[Loc, tuple[int, int]] = field(repr=False)
    """Line and column of each value, counted from 1."""
    keys: Mapping[Loc, tuple[int, int]] = field(repr=False)
    """Line and column of each mapping key."""

    def mark(self, loc: Sequence[str | int] = (), *, key: bool = False) -> SourceMark:
        """Return the place of the value at `loc`, or of the nearest parent that exists.

        Args:
            loc: Path from the root. Elements that are no part of the document are left out, so
                the locations in pydantic's errors, which hold type names too, can be given.
            key: Whether to point at the mapping key instead of its value.
        """
        found = self._existing(loc)
        line, column = (key and self.keys.get(found)) or self.values.get(found, (1, 1))
        return SourceMark(self.name, line, column)

    def _existing(self, loc: Sequence[str | int]) -> Loc:
        found: Loc = ()
        for part in loc:
            step = (*found, part)
            if step in self.values:
                found = step
        return found


def load_yaml(path: Path) -> YamlDocument:
    """Read one YAML file.

    Raises:
        YamlError: The file cannot be read, or holds something that is refused.
        PipelineErrors: It holds several such things.
    """
    try:
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        message = f"cannot read the file: {reason}"
        hint = "Check the path's spelling"
        raise YamlError("YML001", message, where=path, hint=hint) from error
    return read_yaml(data, name=str(path))


def read_yaml(text: str | bytes, *, name: str = "<text>") -> YamlDocument:
    """Read YAML text.

    Args:
        text: The document, as text or UTF-8 bytes.
        name: What error messages call it.

    Raises:
        YamlError: The text holds something that is refused.
        PipelineErrors: It holds several such things.
    """
    content = _checked_text(text, name)
    builder = _Builder(name)
    events = yaml.parse(content, Loader=_EVENT_LOADER)
    try:
        value = builder.document(events)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = (error.problem or "not valid YAML").replace("\n", " ")
        if error.context:
            problem = f"{error.context.strip()}, {problem}"
        builder.refuse((line, column), "YML002", f"not valid YAML: {problem}")
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        builder.refuse(builder.last, "YML002", f"not valid YAML: {str(error).splitlines()[0]}")
    except _TooDeepError:
        builder.refuse(
            builder.last, "YML004", f"more than {MAX_DEPTH} levels inside each other", "Flatten it"
        )
    raise_all(builder.errors)
    return YamlDocument(name, value, builder.values, builder.keys)


def _checked_text(text: str | bytes, name: str) -> str:
    size = len(text) if isinstance(text, bytes) else len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise YamlError(
            "YML003",
            f"the file is larger than {MAX_BYTES // 1024} KB",
            where=SourceMark(name, 1, 1),
            hint="Keep data in data files",
        )
    if isinstance(text, bytes):
        text = _decoded(text, name)
    text = text.removeprefix("\ufeff")
    bad = _FORBIDDEN.search(text)
    if bad:
        where = SourceMark(name, *_position(text[: bad.start()]))
        message = f"the character U+{ord(bad.group()):04X} is not allowed"
        raise YamlError("YML006", message, where=where)
    return text


def _decoded(data: bytes, name: str) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        where = SourceMark(name, *_position(before))
        raise YamlError("YML005", "not UTF-8 text", where=where) from error


def _position(before: str) -> tuple[int, int]:
    """Return line and column of the character that follows `before`."""
    lines = re.split(r"\r\n|\n|\r", before)
    return len(lines), len(lines[-1]) + 1


class _TooDeepError(Exception):
    pass


class _Builder:
    """Turns parser events into a value, and collects what is refused on the way."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.values: dict[Loc, tuple[int, int]] = {}
        self.keys: dict[Loc, tuple[int, int]] = {}
        self.errors: list[PipelineError] = []
        self.last = (1, 1)

    def refuse(self, at: tuple[int, int], code: str, message: str, hint: str | None = None) -> None:
        where = SourceMark(self.name, *at)
        self.errors.append(YamlError(code, message, where=where, hint=hint))

    def document(self, events: Iterator[Any]) -> Json:
        value: Json = None
        num_documents = 0
        for event in events:
            self._remember(event)
            if isinstance(event, yaml.DocumentStartEvent):
                num_documents += 1
                if num_documents > 1:
                    self.refuse(self.last, "YML007", "a second document; one per file is allowed")
                    return value
                value = self._node(next(events), events, ())
        return value

    def _remember(self, event: Any) -> tuple[int, int]:  # noqa: ANN401 - PyYAML is untyped
        mark = event.start_mark
        self.last = (mark.line + 1, mark.column + 1)
        return self.last

    def _node(self, event: Any, events: Iterator[Any], loc: Loc) -> Json:  # noqa: ANN401
        at = self._remember(event)
        self.values[loc] = at
        if isinstance(event, yaml.AliasEvent):
            self.refuse(at, "YML008", f"alias *{str(event.anchor)[:60]}", "Write the value out")
            return None
        self._refuse_extras(event, at)
        if isinstance(event, yaml.ScalarEvent):
            if not event.implicit[0] or event.style:
                return str(event.value)
            return self._scalar(event.value, at)
        if len(loc) >= MAX_DEPTH:
            raise _TooDeepError
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(events, loc)
        return self._mapping(events, loc)

    def _refuse_extras(self, event: Any, at: tuple[int, int]) -> None:  # noqa: ANN401
        if event.anchor is not None:
            self.refuse(
                at,
                "YML008",
                f"anchor &{str(event.anchor)[:60]}",
                "Write the value out where needed",
            )
        if event.tag is not None:
            self.refuse(
                at, "YML009", f"tag {str(event.tag)[:60]}", "Quote text, leave numbers bare"
            )

    def _sequence(self, events: Iterator[Any], loc: Loc) -> Json:
        items: list[Json] = []
        for event in events:
            if isinstance(event, yaml.SequenceEndEvent):
                break
            items.append(self._node(event, events, (*loc, len(items))))
        return items

    def _mapping(self, events: Iterator[Any], loc: Loc) -> Json:
        mapping: dict[str, Json] = {}
        for event in events:
            if isinstance(event, yaml.MappingEndEvent):
                break
            at = self._remember(event)
            key = self._key(event, events, (*loc, "?"))
            step = (*loc, key)
            if key in mapping:
                first = self.keys[step][0]
                self.refuse(at, "YML010", f"key {excerpt(key)} stands twice, first in line {first}")
                step = (*loc, f"{key} again")
            self.keys[step] = at
            mapping.setdefault(key, self._node(next(events), events, step))
        return mapping

    def _key(self, event: Any, events: Iterator[Any], loc: Loc) -> str:  # noqa: ANN401
        at = self.last
        if not isinstance(event, yaml.ScalarEvent):
            self._node(event, events, loc)
            self.refuse(at, "YML011", "a key must be one word or number, got a list, map or alias")
            return f"?{at}"
        self._refuse_extras(event, at)
        key = str(event.value)
        if key == "<<" and not event.style:
            self.refuse(at, "YML012", "merge key <<", "Write the keys out")
        return key

    def _scalar(self, text: str, at: tuple[int, int]) -> Json:
        if text in {"", "~", "null"}:
            return None
        if text in {"true", "false"}:
            return text == "true"
        if _INTEGER.fullmatch(text):
            return int(text)
        if _DIGITS.fullmatch(text):
            if text.lstrip("+-").startswith("0"):
                return text
            self.refuse(at, "YML013", f"the number {text[:40]} is too large", "Quote it")
            return None
        if _FLOAT.fullmatch(text):
            number = float(text)
            if math.isinf(number):
                self.refuse(at, "YML013", f"the number {text[:40]} is too large", "Quote it")
                return None
            return number
        return text


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake found by a check of our own, to be reported with pydantic's."""

    loc: Loc
    code: str
    message: str
    hint: str | None = None


def problems_as_validation_error(problems: Sequence[Problem]) -> pydantic.ValidationError:
    """Return an error that, raised in a pydantic validator, adds each problem at its own place."""
    details = []
    for problem in problems:
        context = {"message": problem.message, "hint": problem.hint}
        error = PydanticCustomError(problem.code, "{message}", context)
        details.append(InitErrorDetails(type=error, loc=problem.loc, input=None))
    return pydantic.ValidationError.from_exception_data("problems", details)


@dataclass(frozen=True, slots=True)
class ErrorCodes:
    """Codes under which pydantic's own errors are reported."""

    unknown_key: str
    missing_key: str
    wrong_value: str
    error_class: type[PipelineError]


def validation_errors(
    error: pydantic.ValidationError,
    document: YamlDocument,
    *,
    model: type[pydantic.BaseModel],
    codes: ErrorCodes,
) -> list[PipelineError]:
    """Turn pydantic's errors into ours, in the order of the file.

    Args:
        error: What validating `document.value` raised.
        document: Gives each error its line and column.
        model: The validated model; its fields are suggested for unknown keys.
        codes: Our code for each kind of mistake.
    """
    found: dict[tuple[Loc, str], PipelineError] = {}
    wrong: dict[Loc, list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False):
        loc = _document_loc(detail, document)
        converted = _convert(detail, loc, document, model=model, codes=codes)
        if converted is None:
            wrong.setdefault(loc, []).append(detail)
        else:
            found.setdefault((loc, converted.message), converted)
    for loc, details in wrong.items():
        message, hint = _wrong_value(details)
        where = document.mark(loc)
        text = f"{dotted(loc)}: {message}" if loc else message
        found[loc, text] = codes.error_class(codes.wrong_value, text, where=where, hint=hint)
    return sorted(found.values(), key=position_of)


def position_of(error: PipelineError) -> tuple[int, int]:
    """Return line and column of an error, for sorting; `(0, 0)` when it has none."""
    where = error.where
    return (where.line, where.column) if isinstance(where, SourceMark) else (0, 0)


def _document_loc(detail: ErrorDetails, document: YamlDocument) -> Loc:
    """Drop pydantic's type names from an error's place; keep the name of a missing key."""
    loc = detail["loc"]
    names_missing_key = detail["type"] == "missing" or _CODE.fullmatch(detail["type"]) is not None
    kept: Loc = ()
    for position, part in enumerate(loc):
        step = (*kept, part)
        if step in document.values or (names_missing_key and position == len(loc) - 1):
            kept = step
    return kept


def _convert(
    detail: ErrorDetails,
    loc: Loc,
    document: YamlDocument,
    *,
    model: type[pydantic.BaseModel],
    codes: ErrorCodes,
) -> PipelineError | None:
    """Return our error for a problem of our own or a wrong key; `None` for a wrong value."""
    kind = detail["type"]
    prefix = f"{dotted(loc)}: " if loc else ""
    if _CODE.fullmatch(kind):
        context = detail["ctx"]
        message = f"{prefix}{context['message']}"
        return codes.error_class(kind, message, where=document.mark(loc), hint=context["hint"])
    if kind == "extra_forbidden":
        where = document.mark(loc, key=True)
        allowed = _model_fields(model, loc[:-1])
        hint = did_you_mean(str(loc[-1]), allowed) if allowed else None
        message = f"{prefix}unknown key {excerpt(str(loc[-1]))}"
        return codes.error_class(codes.unknown_key, message, where=where, hint=hint)
    if kind == "missing":
        message = f"{prefix}this key is missing"
        return codes.error_class(codes.missing_key, message, where=document.mark(loc))
    return None


def dotted(loc: Sequence[str | int]) -> str:
    """Return `loc` as a user reads it, e.g. `fields.target[0]`."""
    text = ""
    for part in loc:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            name = part if part.isprintable() and len(part) <= 60 else excerpt(part)
            text += f".{name}" if text else name
    return text


def excerpt(value: object, *, length: int = 60) -> str:
    """Return the start of `repr(value)`, for messages."""
    text = repr(value)
    return text if len(text) <= length else f"{text[: length - 3]}..."


_EXPECTED = {
    "a valid string": "text",
    "a valid dictionary": "a map",
    "a valid tuple": "a list",
    "a valid list": "a list",
    "a valid integer": "a whole number",
    "a valid boolean": "true or false",
    "a valid number": "a number",
    "None": "null",
}
"""pydantic's words for the types of a YAML file, and ours."""


def _wrong_value(details: Sequence[ErrorDetails]) -> tuple[str, str | None]:
    """Return message and hint for a value that fits none of the allowed forms."""
    messages: dict[str, None] = {}
    hint = None
    for detail in details:
        text = detail["msg"].removeprefix("Value error, ").removeprefix("Input should be ")
        text = re.sub(r"a valid dictionary or instance of \w+", "a valid dictionary", text)
        messages[_EXPECTED.get(text, text[:1].lower() + text[1:])] = None
        if detail["type"] == "literal_error":
            allowed = re.findall(r"'([^']*)'", str(detail["ctx"]["expected"]))
            close = nearest_names(str(detail["input"])[:80], allowed, count=1)
            hint = f"Did you mean {close[0]!r}?" if close else None
    got = _shown(details[0].get("input"))
    needed = " is needed" if details[0]["msg"].startswith("Input should be ") else ""
    return f"{' or '.join(messages)}{needed}, got {got}", hint


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return f"a map with {len(value)} keys"
    if isinstance(value, list | tuple):
        return f"a list of {len(value)}"
    return "nothing" if value is None else excerpt(value)


def _model_fields(model: type[pydantic.BaseModel], loc: Loc) -> list[str]:
    """Return the keys allowed at `loc` below `model`, as far as they can be told."""
    models: list[type[pydantic.BaseModel]] = [model]
    for part in loc:
        if isinstance(part, int):
            continue
        inner = [each.model_fields[part].annotation for each in models if part in each.model_fields]
        models = [found for annotation in inner for found in _models_in(annotation)] or models
    return sorted({name for each in models for name in _field_names(each)})


def _field_names(model: type[pydantic.BaseModel]) -> list[str]:
    return [info.alias or name for name, info in model.model_fields.items()]


def _models_in(annotation: Any) -> list[type[pydantic.BaseModel]]:  # noqa: ANN401
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return [annotation]
    arguments = getattr(annotation, "__args__", ())
    return [found for argument in arguments for found in _models_in(argument)]
