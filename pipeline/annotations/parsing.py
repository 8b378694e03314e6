"""From YAML values to expressions and conditions; every mistake is collected with its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, cast, get_args

from pipeline.annotations import expressions as ex
from pipeline.annotations.cleaning import parse_steps
from pipeline.annotations.outcomes import kind_of
from pipeline.annotations.paths import Path
from pipeline.annotations.patterns import regex_complaint
from pipeline.annotations.yaml_parts import (
    Mapping_,
    flag_at,
    list_at,
    only_keys,
    read_path,
    text_at,
    wrong,
)
from pipeline.errors import did_you_mean
from pipeline.types import Json
from pipeline.yaml_reader import Loc, Problem, excerpt

MAX_TEMPLATE_LENGTH = 4_000

_NOTHING = ex.Const(None)
_PLACEHOLDER = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")


def parse_expression(value: Json, loc: Loc, problems: list[Problem]) -> ex.Expression:
    """Return the expression that a YAML value spells.

    Args:
        value: The YAML value.
        loc: Its place in the annotation.
        problems: Collects mistakes; the returned expression is of no use when one was added.
    """
    if isinstance(value, str):
        path = read_path(value, loc, problems)
        return ex.Column(path, loc) if path else _NOTHING
    if isinstance(value, list):
        return ex.Listed(_expressions(value, loc, problems))
    if not isinstance(value, dict):
        return ex.Const(value)
    heads = [key for key in value if key in FORMS]
    if len(heads) > 1:
        heads = [key for key in heads if not any(key in FORMS[other].keys for other in heads)]
    if not heads:
        key = next(iter(value), "")
        message = f"no expression begins with {excerpt(key)}"
        problems.append(Problem((*loc, key), "ANN110", message, did_you_mean(key, FORMS)))
        return _NOTHING
    form = FORMS[heads[0]]
    fits = only_keys(value, (heads[0], *form.keys), loc, problems)
    for key in form.required:
        if key not in value:
            message = f"{heads[0]!r} needs the key {key!r} too"
            problems.append(Problem((*loc, heads[0]), "ANN112", message))
            fits = False
    return form.build(value, loc, problems) if fits else _NOTHING


def parse_condition(value: Json, loc: Loc, problems: list[Problem]) -> ex.Condition:
    """Return the condition that a YAML value spells; see `parse_expression`."""
    nothing = ex.AllOf(())
    if not isinstance(value, dict):
        message = f"a condition such as {{of: label, ne: -1}} is needed, got {kind_of(value)}"
        problems.append(Problem(loc, "ANN115", message))
        return nothing
    for key, build in (("all", ex.AllOf), ("any", ex.AnyOf)):
        if key in value:
            only_keys(value, (key,), loc, problems)
            items = value[key]
            if not isinstance(items, list) or not items:
                message = f"{key!r} needs a list of conditions, got {kind_of(items)}"
                problems.append(Problem((*loc, key), "ANN115", message))
                return nothing
            parts = [
                parse_condition(item, (*loc, key, i), problems) for i, item in enumerate(items)
            ]
            return build(tuple(parts))
    if "not" in value:
        only_keys(value, ("not",), loc, problems)
        return ex.Not(parse_condition(value["not"], (*loc, "not"), problems))
    return _comparison(value, loc, problems)


_COMPARISONS: tuple[str, ...] = get_args(ex.Comparison)
_TYPE_NAMES = ("text", "number", "boolean", "list", "map", "null")


def _comparison(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Condition:
    used = [key for key in value if key in _COMPARISONS]
    if not only_keys(value, ("of", *_COMPARISONS), loc, problems):
        return ex.AllOf(())
    if "of" not in value or len(used) != 1:
        allowed = ", ".join(_COMPARISONS)
        message = f"a condition has `of` and exactly one of {allowed}, or all, any, not"
        problems.append(Problem(loc, "ANN115", message))
        return ex.AllOf(())
    of = parse_expression(value["of"], (*loc, "of"), problems)
    name = cast("ex.Comparison", used[0])
    operand = value[name]
    if isinstance(operand, dict) and set(operand) == {"value"} and name not in _FIXED_OPERAND:
        other = parse_expression(operand["value"], (*loc, name, "value"), problems)
        return ex.Compare(of, name, None, other)
    complaint = _operand_complaint(name, operand)
    if complaint:
        problems.append(Problem((*loc, name), "ANN116", complaint))
    return ex.Compare(of, name, operand)


_FIXED_OPERAND = ("null", "truthy", "matches", "is")


def _operand_complaint(name: str, operand: Json) -> str | None:
    if name in {"null", "truthy"} and not isinstance(operand, bool):
        return f"needs true or false, got {kind_of(operand)}"
    if name in {"in", "not_in"} and not isinstance(operand, list):
        return f"needs a list of values, got {kind_of(operand)}"
    if name == "is" and operand not in _TYPE_NAMES:
        return f"needs one of {', '.join(_TYPE_NAMES)}, got {operand!r}"
    if name == "matches":
        return regex_complaint(operand)
    if name in {"starts", "ends"} and not isinstance(operand, str):
        return f"needs text, got {kind_of(operand)}"
    if name in {"lt", "le", "gt", "ge"} and isinstance(operand, list | dict | None | bool):
        return f"needs a number or text, got {kind_of(operand)}"
    return None


# --- one list of expressions, and what `else` says ------------------------------------------------


def _expressions(
    values: list[Json], loc: Loc, problems: list[Problem]
) -> tuple[ex.Expression, ...]:
    return tuple(parse_expression(v, (*loc, i), problems) for i, v in enumerate(values))


_Action = Literal["error", "skip", "keep"]
_ACTIONS: tuple[_Action, ...] = ("error", "skip", "keep")


def _otherwise(
    value: Mapping_, allowed: tuple[_Action, ...], loc: Loc, problems: list[Problem]
) -> ex.Otherwise:
    if "else" not in value:
        return ex.Otherwise()
    found = value["else"]
    if found is None:
        return ex.Otherwise("value", _NOTHING)
    if found in allowed:
        return ex.Otherwise(found)
    if found in _ACTIONS:
        message = f"`else` is {', '.join(allowed)} or an expression here, got {found!r}"
        problems.append(Problem((*loc, "else"), "ANN113", message))
        return ex.Otherwise()
    return ex.Otherwise("value", parse_expression(found, (*loc, "else"), problems))


# --- one reader per form -----------------------------------------------------------------------


def _const(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Const(value["const"])


def _text(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    template = text_at(value, "text", loc, problems)
    if len(template) > MAX_TEMPLATE_LENGTH:
        message = f"a text has at most {MAX_TEMPLATE_LENGTH} characters, got {len(template)}"
        problems.append(Problem((*loc, "text"), "ANN114", message))
        return _NOTHING
    named: dict[str, ex.Expression] = {}
    given = value.get("with", {})
    if not isinstance(given, dict):
        wrong((*loc, "with"), "a map from names to expressions", given, problems)
        given = {}
    for name, inner in given.items():
        named[name] = parse_expression(inner, (*loc, "with", name), problems)
    return ex.Text(_template_parts(template, named, (*loc, "text"), problems))


def _template_parts(
    template: str, named: Mapping[str, ex.Expression], loc: Loc, problems: list[Problem]
) -> tuple[str | ex.Expression, ...]:
    parts: list[str | ex.Expression] = []
    literal, end, used = "", 0, set()
    for match in _PLACEHOLDER.finditer(template):
        literal += template[end : match.start()]
        end = match.end()
        found = match.group()
        if found in {"{{", "}}"}:
            literal += found[0]
        elif len(found) == 1:
            message = f"a single {found!r} in a text; placeholders are {{path}}"
            problems.append(Problem(loc, "ANN114", message, f"Write {found * 2} for the sign"))
        else:
            parts.append(literal)
            literal = ""
            used.add(match[1])
            parts.append(named.get(match[1]) or parse_expression(match[1], loc, problems))
    for name in named:
        if name not in used:
            message = f"`with` names {excerpt(name)}, which the text does not use"
            problems.append(Problem(loc, "ANN114", message))
    return tuple(part for part in (*parts, literal + template[end:]) if part != "")


def _join(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    skip = value.get("skip", [])
    if not isinstance(skip, list):
        wrong((*loc, "skip"), "a list of values to leave out", skip, problems)
        skip = []
    return ex.Join(
        parse_expression(value["join"], (*loc, "join"), problems),
        text_at(value, "sep", loc, problems, default=" "),
        tuple(skip),
        flag_at(value, "strip", loc, problems),
    )


def _concat(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    items = list_at(value, "concat", loc, problems)
    return ex.Concat(_expressions(items, (*loc, "concat"), problems))


def _map(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    table = value["to"]
    if isinstance(table, list):
        table = {str(position): entry for position, entry in enumerate(table)}
        entries = {
            key: _entry(each, (*loc, "to", int(key)), problems) for key, each in table.items()
        }
    elif isinstance(table, dict) and table:
        entries = {key: _entry(each, (*loc, "to", key), problems) for key, each in table.items()}
    else:
        wrong((*loc, "to"), "a list or map", table, problems)
        entries = {}
    return ex.Map(
        parse_expression(value["map"], (*loc, "map"), problems),
        entries,
        _otherwise(value, ("error", "skip", "keep"), loc, problems),
    )


def _entry(value: Json, loc: Loc, problems: list[Problem]) -> ex.Expression:
    """Read an entry of a map table, where plain text means itself."""
    if isinstance(value, dict):
        return parse_expression(value, loc, problems)
    return ex.Const(value)


def _find(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Find(
        parse_expression(value["find"], (*loc, "find"), problems),
        parse_expression(value["in"], (*loc, "in"), problems),
        _otherwise(value, ("error", "skip"), loc, problems),
    )


def _bin(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    at = [
        float(border)
        for border in list_at(value, "at", loc, problems)
        if isinstance(border, int | float) and not isinstance(border, bool)
    ]
    to = list_at(value, "to", loc, problems)
    if at != sorted(set(at)) or len(to) != len(at) + 1:
        message = "`at` needs rising numbers and `to` one value more than `at`"
        problems.append(Problem((*loc, "at"), "ANN113", message))
    return ex.Bin(
        parse_expression(value["bin"], (*loc, "bin"), problems),
        tuple(at),
        tuple(to),
        flag_at(value, "strict", loc, problems),
    )


def _if(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.If(
        parse_condition(value["if"], (*loc, "if"), problems),
        parse_expression(value["then"], (*loc, "then"), problems),
        parse_expression(value.get("else"), (*loc, "else"), problems),
    )


def _each(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    where = None
    if "where" in value:
        where = parse_condition(value["where"], (*loc, "where"), problems)
    items = parse_expression(value["each"], (*loc, "each"), problems)
    return ex.Each(items, parse_expression(value["do"], (*loc, "do"), problems), where)


def _count(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    items = parse_expression(value["count"], (*loc, "count"), problems)
    of = tuple(list_at(value, "of", loc, problems)) if "of" in value else None
    return ex.Count(items, of)


def _mark(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    spans: list[ex.MarkedSpan] = []
    for i, span in enumerate(list_at(value, "spans", loc, problems)):
        at = (*loc, "spans", i)
        if not isinstance(span, dict) or not {"name", "start"} <= set(span):
            wrong(at, "a map with name, start and end or text", span, problems)
            continue
        only_keys(span, ("name", "start", "end", "text"), at, problems)
        if "end" not in span and "text" not in span:
            problems.append(Problem(at, "ANN112", "a span needs `end`, `text` or both"))
        inner = {
            key: parse_expression(span[key], (*at, key), problems)
            for key in ("start", "end", "text")
            if key in span
        }
        name = text_at(span, "name", at, problems)
        spans.append(ex.MarkedSpan(name, inner["start"], inner.get("end"), inner.get("text")))
    return ex.Mark(
        parse_expression(value["mark"], (*loc, "mark"), problems),
        tuple(spans),
        flag_at(value, "blanks", loc, problems, default=True),
    )


def _clean(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Clean(
        parse_expression(value["clean"], (*loc, "clean"), problems),
        parse_steps(value["steps"], (*loc, "steps"), problems),
    )


def _members(value: Json, loc: Loc, problems: list[Problem]) -> dict[str, ex.Expression]:
    if not isinstance(value, dict) or not value:
        wrong(loc, "a map from names to expressions", value, problems)
        return {}
    return {name: parse_expression(item, (*loc, name), problems) for name, item in value.items()}


def _record(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Record(_members(value["record"], (*loc, "record"), problems))


def _get(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    path = read_path(text_at(value, "path", loc, problems, default="?"), (*loc, "path"), problems)
    return ex.Get(parse_expression(value["get"], (*loc, "get"), problems), path or Path("?"))


def _json(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.ParsedJson(parse_expression(value["json"], (*loc, "json"), problems))


def _spans(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    scheme = text_at(value, "scheme", loc, problems, default="bio")
    if scheme not in {"bio", "io"}:
        problems.append(Problem((*loc, "scheme"), "ANN113", f"bio or io is needed, got {scheme!r}"))
    return ex.Spans(
        parse_expression(value["spans"], (*loc, "spans"), problems),
        parse_expression(value["tokens"], (*loc, "tokens"), problems),
        "io" if scheme == "io" else "bio",
        text_at(value, "type", loc, problems) or None,
    )


def _flags(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    found = value["flags"]
    if isinstance(found, dict) and not any(key in FORMS for key in found):
        return ex.Flags(_members(found, (*loc, "flags"), problems))
    return ex.Flags(None, parse_expression(found, (*loc, "flags"), problems))


def _first(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    items = list_at(value, "first", loc, problems)
    return ex.First(_expressions(items, (*loc, "first"), problems))


def _pick(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    items = parse_expression(value["pick"], (*loc, "pick"), problems)
    return ex.Pick(items, parse_expression(value["at"], (*loc, "at"), problems))


def _mean(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Mean(parse_expression(value["mean"], (*loc, "mean"), problems))


def _argmax(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Argmax(parse_expression(value["argmax"], (*loc, "argmax"), problems))


def _zip(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Zip(_members(value["zip"], (*loc, "zip"), problems))


def _sort(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Sort(
        parse_expression(value["sort"], (*loc, "sort"), problems),
        parse_expression(value.get("by", "item"), (*loc, "by"), problems),
        flag_at(value, "descending", loc, problems),
    )


def _majority(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    return ex.Majority(parse_expression(value["majority"], (*loc, "majority"), problems))


def _function(value: Mapping_, loc: Loc, problems: list[Problem]) -> ex.Expression:
    name = text_at(value, "function", loc, problems)
    if name not in ex.FUNCTION_NAMES:
        hint = did_you_mean(name, ex.FUNCTION_NAMES)
        problems.append(
            Problem((*loc, "function"), "ANN117", f"no function is named {excerpt(name)}", hint)
        )
    options = value.get("options", {})
    if not isinstance(options, dict):
        wrong((*loc, "options"), "a map", options, problems)
        options = {}
    return ex.Function(name, parse_expression(value["of"], (*loc, "of"), problems), options)


@dataclass(frozen=True, slots=True)
class Form:
    """Keys of an expression form beside its first, and its reader."""

    build: Callable[[Mapping_, Loc, list[Problem]], ex.Expression]
    required: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key besides the one that names the form."""
        return (*self.required, *self.optional)


FORMS: dict[str, Form] = {
    "const": Form(_const),
    "text": Form(_text, optional=("with",)),
    "join": Form(_join, optional=("sep", "skip", "strip")),
    "concat": Form(_concat),
    "map": Form(_map, required=("to",), optional=("else",)),
    "find": Form(_find, required=("in",), optional=("else",)),
    "bin": Form(_bin, required=("at", "to"), optional=("strict",)),
    "if": Form(_if, required=("then",), optional=("else",)),
    "each": Form(_each, required=("do",), optional=("where",)),
    "count": Form(_count, optional=("of",)),
    "mark": Form(_mark, required=("spans",), optional=("blanks",)),
    "clean": Form(_clean, required=("steps",)),
    "record": Form(_record),
    "get": Form(_get, required=("path",)),
    "json": Form(_json),
    "spans": Form(_spans, required=("tokens",), optional=("scheme", "type")),
    "flags": Form(_flags),
    "first": Form(_first),
    "pick": Form(_pick, required=("at",)),
    "majority": Form(_majority),
    "mean": Form(_mean),
    "argmax": Form(_argmax),
    "zip": Form(_zip),
    "sort": Form(_sort, optional=("by", "descending")),
    "function": Form(_function, required=("of",), optional=("options",)),
}
"""Every expression form by its first key; a new one is added here."""
