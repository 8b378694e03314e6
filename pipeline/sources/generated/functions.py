"""Requests that one function of a small library answers, in the schemas of xLAM-60k and BFCL.

A function is named after an invented thing and an action (`kamuro_search`); a request names the
thing and gives the values of one or two parameters. All functions of a file are different.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

from pipeline.sources.generated.names import NameMaker, Side
from pipeline.types import Json

Row = dict[str, Json]

ACTIONS = ("search", "list", "create", "delete", "update", "send")
TEXT_PARAMETERS = ("city", "name", "color", "unit", "mode", "owner", "topic", "team")
NUMBER_PARAMETERS = ("limit", "page", "size", "year", "count", "level")
DESCRIPTIONS: dict[str, str] = {
    "search": "Search the {thing} records.",
    "list": "List the {thing} records.",
    "create": "Create a {thing} record.",
    "delete": "Delete a {thing} record.",
    "update": "Update a {thing} record.",
    "send": "Send a {thing} record.",
}
REQUESTS = (
    "Please {action} {thing} with {values} .",
    "I want to {action} {thing} where {values} .",
    "Now {action} {thing} for me , {values} .",
    "Can you {action} {thing} using {values} ?",
)
VALUE_FORMS = ("{name} {value}", "{name}={value}", "{name}: {value}")
LIBRARY_SIZE = 3
"""Functions of a request in the xLAM schema; BFCL's `simple` category has one."""
OPTIONAL_FRACTION = 0.5
"""Share of the functions with one more parameter, which the request does not give."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratedFunction:
    """A function of a library, with example values for what a request gives."""

    thing: str
    action: str
    arguments: dict[str, str | int]
    """Required parameters and the values of this request, in order."""
    optional: dict[str, str | int]
    """Further parameters and their defaults."""

    @property
    def name(self) -> str:
        """The name under which it is called."""
        return f"{self.thing}_{self.action}"

    @property
    def description(self) -> str:
        """One sentence about it."""
        return DESCRIPTIONS[self.action].format(thing=self.thing)


def xlam_rows(side: Side, num_rows: int, generator: random.Random) -> list[Row]:
    """Return rows with the columns of `Salesforce/xlam-function-calling-60k`.

    `answers` and `tools` are JSON strings, types are Python names, and optional parameters are
    marked in the type, as in the public file.
    """
    names = NameMaker(side, generator, is_unique=True)
    rows: list[Row] = []
    for index in range(num_rows):
        library = [_function(names, generator) for _ in range(LIBRARY_SIZE)]
        called = generator.choice(library)
        answers: list[Json] = [{"name": called.name, "arguments": {**called.arguments}}]
        rows.append(
            {
                "id": index,
                "query": _request(called, generator),
                "answers": json.dumps(answers),
                "tools": json.dumps([_xlam_spec(function) for function in library]),
            }
        )
    return rows


def bfcl_rows(side: Side, num_rows: int, generator: random.Random) -> tuple[list[Row], list[Row]]:
    """Return questions and possible answers of BFCL's category `simple_python`."""
    names = NameMaker(side, generator, is_unique=True)
    questions: list[Row] = []
    answers: list[Row] = []
    for index in range(num_rows):
        called = _function(names, generator)
        row_id = f"simple_python_{index}"
        turn: list[Json] = [{"role": "user", "content": _request(called, generator)}]
        questions.append({"id": row_id, "question": [turn], "function": [_bfcl_spec(called)]})
        accepted: dict[str, Json] = {name: [value] for name, value in called.arguments.items()}
        accepted |= {name: [value, ""] for name, value in called.optional.items()}
        answers.append({"id": row_id, "ground_truth": [{called.name: accepted}]})
    return questions, answers


def _function(names: NameMaker, generator: random.Random) -> GeneratedFunction:
    parameters = generator.sample(TEXT_PARAMETERS + NUMBER_PARAMETERS, k=3)
    num_required = generator.choice((1, 2))
    num_optional = int(generator.random() < OPTIONAL_FRACTION)
    values = {name: _value(name, names, generator) for name in parameters}
    return GeneratedFunction(
        thing=names.word(num_syllables=(3,)),
        action=generator.choice(ACTIONS),
        arguments={name: values[name] for name in parameters[:num_required]},
        optional={name: values[name] for name in parameters[2 : 2 + num_optional]},
    )


def _value(parameter: str, names: NameMaker, generator: random.Random) -> str | int:
    if parameter in NUMBER_PARAMETERS:
        return generator.randint(2, 99)
    return names.word(num_syllables=(3,))


def _request(function: GeneratedFunction, generator: random.Random) -> str:
    form = generator.choice(VALUE_FORMS)
    values = [form.format(name=name, value=value) for name, value in function.arguments.items()]
    return generator.choice(REQUESTS).format(
        action=function.action, thing=function.thing, values=" and ".join(values)
    )


def _parameter_description(name: str) -> str:
    return f"The {name}."


def _xlam_spec(function: GeneratedFunction) -> Json:
    parameters: dict[str, Json] = {}
    for name, value in (function.arguments | function.optional).items():
        python_type = "int" if isinstance(value, int) else "str"
        spec: dict[str, Json] = {"description": _parameter_description(name), "type": python_type}
        if name in function.optional:
            spec["type"] = f"{python_type}, optional"
            spec["default"] = value
        parameters[name] = spec
    return {
        "name": function.name,
        "description": function.description,
        "parameters": parameters,
    }


def _bfcl_spec(function: GeneratedFunction) -> Json:
    properties: dict[str, Json] = {
        name: {
            "type": "integer" if isinstance(value, int) else "string",
            "description": _parameter_description(name),
        }
        for name, value in (function.arguments | function.optional).items()
    }
    return {
        "name": function.name,
        "description": function.description,
        "parameters": {
            "type": "dict",
            "properties": properties,
            "required": list(function.arguments),
        },
    }
