"""Cleaning steps: a closed list of small functions from value to value."""

from __future__ import annotations

import html
import json
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import cast

from pipeline.annotations import patterns
from pipeline.annotations.outcomes import RowSkipped, as_text, kind_of
from pipeline.annotations.paths import elements, follow, parse_path
from pipeline.annotations.sequences import either_strand
from pipeline.errors import did_you_mean
from pipeline.types import Json
from pipeline.yaml_reader import Loc, Problem, excerpt

MAX_JSON_LENGTH = 1_000_000

ValueFunction = Callable[[Json], Json]


@dataclass(frozen=True, slots=True)
class Step:
    """One cleaning step."""

    name: str
    argument: Json = None


def parse_steps(value: Json, loc: Loc, problems: list[Problem]) -> tuple[Step, ...]:
    """Return the steps that a YAML list spells; mistakes go to `problems`."""
    if isinstance(value, str | dict):
        value = [value]
    if not isinstance(value, list) or not value:
        message = f"a list of one or more cleaning steps is needed, got {kind_of(value)}"
        problems.append(Problem(loc, "ANN120", message))
        return ()
    found = [_parse_step(item, (*loc, i), problems) for i, item in enumerate(value)]
    return tuple(step for step in found if step is not None)


def _parse_step(item: Json, loc: Loc, problems: list[Problem]) -> Step | None:
    name, argument = next(iter(item.items())) if isinstance(item, dict) and item else (item, None)
    if not isinstance(name, str) or (isinstance(item, dict) and len(item) != 1):
        problems.append(Problem(loc, "ANN120", "a step is a name, or one `name: argument`"))
        return None
    if name not in STEPS:
        message = f"unknown cleaning step {excerpt(name)}"
        problems.append(Problem(loc, "ANN121", message, did_you_mean(name, STEPS)))
        return None
    rule = STEPS[name]
    complaint = rule.check(argument) if rule.check else _no_argument(argument)
    if complaint:
        problems.append(Problem(loc, "ANN122", f"step {name!r} {complaint}"))
        return None
    step = Step(name, argument)
    if name == "each":
        parse_steps(argument, (*loc, "each"), problems)
    return step


def compile_steps(steps: tuple[Step, ...]) -> ValueFunction:
    """Return one function that runs `steps` in order.

    The function raises `RowSkipped` where a step does not fit the value.
    """
    functions = [STEPS[step.name].build(step.argument) for step in steps]
    if len(functions) == 1:
        return functions[0]

    def run(value: Json) -> Json:
        for function in functions:
            value = function(value)
        return value

    return run


# --- arguments ---------------------------------------------------------------------------------


def _no_argument(argument: Json) -> str | None:
    return None if argument is None else "takes no argument"


def _optional_text(argument: Json) -> str | None:
    ok = argument is None or (isinstance(argument, str) and argument)
    return None if ok else "needs text, e.g. `rstrip: ','`"


def _needs_text(argument: Json) -> str | None:
    return None if isinstance(argument, str) and argument else "needs a text that is not empty"


def _needs_number(argument: Json) -> str | None:
    ok = isinstance(argument, int | float) and not isinstance(argument, bool)
    return None if ok else "needs a number"


def _needs_digits(argument: Json) -> str | None:
    ok = argument is None or (
        isinstance(argument, int) and not isinstance(argument, bool) and 0 <= argument <= 10
    )
    return None if ok else "needs a number of digits from 0 to 10"


def _needs_text_pair(argument: Json) -> str | None:
    ok = isinstance(argument, list) and len(argument) == 2
    ok = ok and all(isinstance(item, str) for item in cast("list[Json]", argument))
    if not ok or not cast("list[str]", argument)[0]:
        return "needs [old, new], two texts"
    return None


def _needs_slice(argument: Json) -> str | None:
    ok = isinstance(argument, list) and len(argument) == 2
    ok = ok and all(
        item is None or (isinstance(item, int) and not isinstance(item, bool))
        for item in cast("list[Json]", argument)
    )
    return None if ok else "needs [start, end], whole numbers or null"


def _needs_path(argument: Json) -> str | None:
    try:
        parse_path(argument if isinstance(argument, str) else "")
    except ValueError as error:
        return f"needs a path: {error}"
    return None


def _needs_steps(argument: Json) -> str | None:
    return None if argument else "needs a step or a list of steps"


# --- what the steps do -------------------------------------------------------------------------


def _text_step(function: Callable[[str], Json]) -> Callable[[Json], ValueFunction]:
    return lambda _: lambda value: function(as_text(value))


def _strip_step(method: Callable[..., str]) -> Callable[[Json], ValueFunction]:
    return lambda argument: lambda value: method(as_text(value), argument)


def _replace(argument: Json) -> ValueFunction:
    old, new = cast("list[str]", argument)
    return lambda value: as_text(value).replace(old, new)


def _split(argument: Json) -> ValueFunction:
    separator = cast("str | None", argument)
    return lambda value: cast("Json", as_text(value).split(separator))


def _around(last: bool, after: bool) -> Callable[[Json], ValueFunction]:
    """Build `before_first` and its three relatives; a missing separator keeps the text."""

    def build(argument: Json) -> ValueFunction:
        separator = cast("str", argument)

        def run(value: Json) -> Json:
            text = as_text(value)
            head, found, tail = text.rpartition(separator) if last else text.partition(separator)
            return (tail if after else head) if found else text

        return run

    return build


def _affix(prefix: bool) -> Callable[[Json], ValueFunction]:
    def build(argument: Json) -> ValueFunction:
        affix = cast("str", argument)
        method = str.removeprefix if prefix else str.removesuffix
        return lambda value: method(as_text(value), affix)

    return build


def _slice(argument: Json) -> ValueFunction:
    start, end = cast("list[int | None]", argument)

    def run(value: Json) -> Json:
        return value[start:end] if isinstance(value, list) else as_text(value)[start:end]

    return run


def _int(value: Json) -> Json:
    number = _number(value)
    if math.isnan(number) or math.isinf(number):
        raise RowSkipped("not a number")
    return int(number)


def _number(value: Json) -> float:
    if isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        try:
            return int(value) if re.fullmatch(r"\s*[-+]?\d{1,30}\s*", value) else float(value)
        except ValueError:
            pass
    raise RowSkipped("not a number")


def _boolean(value: Json) -> Json:
    if isinstance(value, str):
        known = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}
        if value.strip().lower() in known:
            return known[value.strip().lower()]
        raise RowSkipped("not true or false")
    return bool(value)


def _length(value: Json) -> Json:
    if isinstance(value, str | list | dict):
        return len(value)
    raise RowSkipped(f"{kind_of(value)} has no length")


def _round_half_up(argument: Json) -> ValueFunction:
    digits = cast("int | None", argument) or 0
    factor = 10**digits

    def run(value: Json) -> Json:
        number = math.floor(_number(value) * factor + 0.5)
        return number / factor if digits else number

    return run


def parse_json(value: Json) -> Json:
    """Return the value of a JSON text; what is no text is returned as it is.

    Raises:
        RowSkipped: The text is not JSON, or longer than `MAX_JSON_LENGTH`.
    """
    if not isinstance(value, str):
        return value
    if len(value) > MAX_JSON_LENGTH:
        raise RowSkipped("JSON text too long")
    try:
        return cast("Json", json.loads(value))
    except (ValueError, RecursionError) as error:
        raise RowSkipped("not JSON") from error


def list_of(value: Json) -> list[Json]:
    """Return the elements of a list or of a struct of lists.

    Raises:
        RowSkipped: `value` is neither.
    """
    if isinstance(value, list) or (isinstance(value, dict) and elements(value)):
        return elements(value)
    if isinstance(value, dict) and all(column == [] for column in value.values()):
        return []
    raise RowSkipped(f"{kind_of(value)} where a list is needed")


def _unique(value: Json) -> Json:
    seen: dict[str, Json] = {}
    for item in list_of(value):
        seen.setdefault(json.dumps(item, sort_keys=True, default=str), item)
    return list(seen.values())


def _drop_empty(value: Json) -> Json:
    return [
        item
        for item in list_of(value)
        if item not in (None, [], {}) and not (isinstance(item, str) and not item.strip())
    ]


class _TextOnly(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        self.parts.append(data)


def _html_text(text: str) -> Json:
    parser = _TextOnly()
    parser.feed(text)
    parser.close()
    return " ".join("".join(parser.parts).split())


def _get(argument: Json) -> ValueFunction:
    path = parse_path(cast("str", argument))
    steps = (path.root, *path.steps)
    return lambda value: follow(value, steps)


def _each(argument: Json) -> ValueFunction:
    ignored: list[Problem] = []
    run = compile_steps(parse_steps(argument, (), ignored))
    return lambda value: [run(item) for item in list_of(value)]


def _capfirst(text: str) -> Json:
    return text[:1].upper() + text[1:]


def _plain(function: ValueFunction) -> Callable[[Json], ValueFunction]:
    return lambda _: function


@dataclass(frozen=True, slots=True)
class StepRule:
    """How a step is checked and built."""

    build: Callable[[Json], ValueFunction]
    check: Callable[[Json], str | None] | None = None
    """Returns a complaint about the argument; `None` for steps without argument."""


STEPS: dict[str, StepRule] = {
    "strip": StepRule(_strip_step(str.strip), _optional_text),
    "lstrip": StepRule(_strip_step(str.lstrip), _optional_text),
    "rstrip": StepRule(_strip_step(str.rstrip), _optional_text),
    "lower": StepRule(_text_step(str.lower)),
    "upper": StepRule(_text_step(str.upper)),
    "capitalize": StepRule(_text_step(str.capitalize)),
    "capfirst": StepRule(_text_step(_capfirst)),
    "spaces": StepRule(_text_step(lambda text: " ".join(text.split()))),
    "replace": StepRule(_replace, _needs_text_pair),
    "sub": StepRule(patterns.substitute, patterns.substitution_complaint),
    "extract": StepRule(patterns.extract, patterns.regex_complaint),
    "split": StepRule(_split, _optional_text),
    "split_regex": StepRule(patterns.split_by_regex, patterns.regex_complaint),
    "before_first": StepRule(_around(last=False, after=False), _needs_text),
    "after_first": StepRule(_around(last=False, after=True), _needs_text),
    "before_last": StepRule(_around(last=True, after=False), _needs_text),
    "after_last": StepRule(_around(last=True, after=True), _needs_text),
    "removeprefix": StepRule(_affix(prefix=True), _needs_text),
    "removesuffix": StepRule(_affix(prefix=False), _needs_text),
    "slice": StepRule(_slice, _needs_slice),
    "int": StepRule(_plain(_int)),
    "float": StepRule(_plain(lambda value: float(_number(value)))),
    "str": StepRule(_plain(as_text)),
    "bool": StepRule(_plain(_boolean)),
    "len": StepRule(_plain(_length)),
    "add": StepRule(lambda by: lambda value: _number(value) + cast("float", by), _needs_number),
    "scale": StepRule(lambda by: lambda value: _number(value) * cast("float", by), _needs_number),
    "round_half_up": StepRule(_round_half_up, _needs_digits),
    "json": StepRule(_plain(parse_json)),
    "unique": StepRule(_plain(_unique)),
    "drop_empty": StepRule(_plain(_drop_empty)),
    "html_text": StepRule(_text_step(_html_text)),
    "unescape": StepRule(_text_step(html.unescape)),
    "either_strand": StepRule(_text_step(either_strand)),
    "get": StepRule(_get, _needs_path),
    "each": StepRule(_each, _needs_steps),
}
"""Every cleaning step; a new one is added here."""
