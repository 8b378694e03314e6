"""Golden rows for a draft: invented ones in the columns of the source, or short real ones."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, cast

from pipeline.annotations.check import golden_values
from pipeline.annotations.parts import Golden
from pipeline.annotations.paths import Path, parse_path
from pipeline.annotations.schema import DatasetAnnotation
from pipeline.errors import PipelineError
from pipeline.examples.drafting.columns import Column
from pipeline.examples.drafting.guess import Columns, Guess
from pipeline.examples.drafting.structured_kinds import is_bio
from pipeline.examples.registered import REGISTERED_FUNCTIONS
from pipeline.types import Json

MAX_GOLDEN = 2
MAX_REAL_CHARACTERS = 1500
_SENTENCES = ("The lamp stands on the table.", "A small boat lies in the harbour.")
_SEQUENCES = ("ACGTTAGCCATGACGT", "TTGACCATGGCATTAA")
_OPTIONS = ("on the table", "in the sea", "at noon", "with a spoon", "never", "by boat")


def golden_entries(
    annotation: DatasetAnnotation, rows: Iterable[Mapping[str, Json]]
) -> list[dict[str, Any]]:
    """Return `golden:` of an annotation for rows in the source's columns.

    Rows that give no example are left out; at most `MAX_GOLDEN` with different targets are kept.
    """
    found: list[dict[str, Any]] = []
    targets: list[str] = []
    for row in rows:
        if len(found) == MAX_GOLDEN:
            break
        try:
            values = golden_values(
                annotation, Golden(row=dict(row), skipped=True), REGISTERED_FUNCTIONS
            )
        except (PipelineError, KeyError):
            continue
        target = json.dumps([value["target"] for value in values])
        if not values or target in targets:
            continue
        targets.append(target)
        examples = [_example(annotation, value) for value in values]
        one = {"example": examples[0]} if len(examples) == 1 else {"examples": examples}
        found.append({"row": dict(row), **one})
    return found


def _example(annotation: DatasetAnnotation, values: Mapping[str, Json]) -> dict[str, Json]:
    shown: dict[str, Json] = {"inputs": values["inputs"]}
    if annotation.rules.has_choices:
        shown["choices"] = values["choices"]
    return shown | {"target": values["target"]}


def real_rows(rows: Sequence[Mapping[str, Json]], used: Iterable[str]) -> list[dict[str, Json]]:
    """Return the shortest rows, with the used columns only.

    Args:
        rows: Rows of the source.
        used: Columns that the annotation reads.
    """
    names = list(dict.fromkeys(used))
    cut = [{name: row[name] for name in names if name in row} for row in rows]
    sized = [(len(json.dumps(row, ensure_ascii=False)), index) for index, row in enumerate(cut)]
    kept = sorted(entry for entry in sized if 30 < entry[0] <= MAX_REAL_CHARACTERS)
    return [cut[index] for _, index in kept]


def invented_rows(guess: Guess, columns: Columns, labels: Sequence[Json]) -> list[dict[str, Json]]:
    """Return rows of our own making in the columns that a guess reads.

    Args:
        guess: The kind and its fields.
        columns: Of the dataset.
        labels: Raw values of the label column, in order.
    """
    makers = {
        "dna_classification": _dna,
        "relation": _relation,
        "token_classification": _tokens,
        "extractive_qa": _answers,
        "multiple_choice": _choice,
        "chat": _talk,
        "function_calling": _calls,
        "multi_label": _several,
    }
    maker = makers.get(guess.kind, _plain)
    return [maker(guess, columns, labels, number) for number in range(MAX_GOLDEN)]


def _plain(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    row: dict[str, Json] = {}
    for index, (name, value) in enumerate(guess.fields.items()):
        path = value if isinstance(value, str) else _first_path(value)
        if name == "target":
            _put(row, path, _target(guess, columns, labels, number))
        else:
            text: Json = _SENTENCES[(number + index) % 2]
            is_list = path in columns and columns[path].form == "list"
            _put(row, path, [text] if is_list else text)
    return row


def _target(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> Json:
    if guess.kind == "regression":
        low, high = guess.settings["minimum"], guess.settings["maximum"]
        value = round(float(cast("float", low if number == 0 else high)), 6)
        return str(value) if isinstance(guess.fields["target"], dict) else value
    if labels:
        return labels[number % len(labels)]
    return ("An invented answer.", "Another answer.")[number]


def _dna(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    row = _plain(guess, columns, labels, number)
    _put(row, str(guess.fields["sequence"]), _SEQUENCES[number])
    return row


def _relation(
    guess: Guess, columns: Columns, labels: Sequence[Json], number: int
) -> dict[str, Json]:
    if guess.rows:
        return _knowledge(labels, number)
    row = _plain(guess, columns, labels, number)
    _put(row, str(guess.fields["head"]), ("lamp", "boat")[number])
    _put(row, str(guess.fields["tail"]), ("table", "harbour")[number])
    return row


def _knowledge(labels: Sequence[Json], number: int) -> dict[str, Json]:
    """Return a row of passages, entities and relations."""
    names = (("lamp", "table"), ("boat", "harbour"))[number]
    entities: list[Json] = [
        {"id": f"T{position}", "type": "thing", "text": [name], "offsets": [], "normalized": []}
        for position, name in enumerate(names)
    ]
    relation = {"id": "R1", "type": labels[number % len(labels)], "arg1_id": "T0", "arg2_id": "T1"}
    return {
        "passages": [{"id": "P1", "type": "text", "text": [_SENTENCES[number]], "offsets": []}],
        "entities": entities,
        "relations": [cast("Json", relation)],
    }


def _several(
    guess: Guess, columns: Columns, labels: Sequence[Json], number: int
) -> dict[str, Json]:
    row = _plain(guess, columns, labels, number)
    _put(row, str(guess.fields["target"]), list(labels[: 2 - number]))
    return row


def _tokens(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    words: list[Json] = [*_SENTENCES[number].rstrip(".").split()[:5]]
    target = guess.fields["target"]
    path = target["spans"] if isinstance(target, dict) else target
    names = guess.label_names or tuple(map(str, labels))
    tags: list[Json] = [labels[i % len(labels)] for i in range(len(words))]
    if isinstance(target, dict) and is_bio(names):
        raw = dict(zip(names, labels, strict=False))
        begin = next((n for n in names if n.partition("-")[0] in {"B", "I", "S", "U"}), names[0])
        tags = [raw.get("O", labels[0])] * len(words)
        tags[1 + number] = raw[begin]
    row: dict[str, Json] = {}
    _put(row, str(guess.fields["tokens"]), words)
    _put(row, str(path), tags)
    return row


def _answers(
    guess: Guess, columns: Columns, labels: Sequence[Json], number: int
) -> dict[str, Json]:
    answer = ("on the table", "in the harbour")[number]
    row: dict[str, Json] = {}
    _put(row, str(guess.fields["context"]), _SENTENCES[number])
    _put(row, str(guess.fields["question"]), ("Where is the lamp?", "Where is the boat?")[number])
    target = str(guess.fields["target"])
    is_list = columns[target].form in {"list", "empty"}
    _put(row, target, [answer] if is_list else answer)
    return row


def _choice(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    row: dict[str, Json] = {}
    for name in ("context", "question"):
        if name in guess.fields:
            _put(row, guess.fields[name], ("Where is the lamp?", "Where is the boat?")[number])
    value = guess.fields["choices"]
    members = value if isinstance(value, list) else None
    num_options = len(members) if members else 4
    options = [*_OPTIONS, *(f"option {n}" for n in range(7, num_options + 1))][:num_options]
    for path, option in zip(members or (), options, strict=False):
        _put(row, path, option)
    if members is None:
        _put(row, str(value), list(options))
    letters = [chr(ord("A") + index) for index in range(num_options)]
    target, right = guess.fields["target"], number % num_options
    if isinstance(target, dict) and "find" in target:
        where = target["in"]
        if isinstance(where, str) and where != value:
            _put(row, where, list(letters))
        in_options = where == value
        _put(row, target["find"], options[right] if in_options else letters[right])
    else:
        steps = target.get("steps", []) if isinstance(target, dict) else []
        raw: Json = right + ({"add": -1} in steps)
        path = target if isinstance(target, str) else target["clean"]
        _put(row, path, str(raw) if "int" in steps else raw)
    return row


def _talk(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    explode, where = guess.rows[0], guess.rows[1]
    said = cast("dict[str, Any]", where)["where"]["all"][0]
    role = str(said["of"]).removeprefix("turn.")
    content = str(guess.fields["target"]).removeprefix("turn.")
    record = guess.fields["messages"]["do"]["record"]
    spoken = list(record["role"]["to"])
    user = next((name for name, of in record["role"]["to"].items() if of == "user"), spoken[0])
    assistant = next(iter(n for n in ("gpt", "assistant", *said["in"]) if n in said["in"]))
    turns: list[Json] = [
        {role: user, content: ("Name a colour.", "Name a number.")[number]},
        {role: assistant, content: ("Blue.", "Seven.")[number]},
    ]
    row: dict[str, Json] = {}
    _put(row, str(cast("dict[str, Json]", explode)["explode"]), turns)
    return row


def _calls(guess: Guess, columns: Columns, labels: Sequence[Json], number: int) -> dict[str, Json]:
    name, city = ("get_weather", "get_time")[number], ("Oslo", "Lima")[number]
    question = f"{('Weather', 'Time')[number]} in {city}?"
    query = guess.fields["query"]
    row: dict[str, Json] = {}
    asked: Json = question if isinstance(query, str) else [{"role": "user", "content": question}]
    _put(row, query if isinstance(query, str) else query["each"], asked)
    parameters: Json = {
        "type": "object",
        "properties": {"city": {"type": "string", "description": "A city."}},
        "required": ["city"],
    }
    spec: Json = {"name": name, "description": "Tells it.", "parameters": parameters}
    _put_json(row, guess.fields["functions"], [spec], columns)
    call_path, _ = _function_path(guess.fields["target"])
    name_key, arguments_key = _call_keys(columns[call_path])
    call: Json = {name_key: name, arguments_key: {"city": city}}
    _put_json(row, guess.fields["target"], [call], columns)
    return row


def _call_keys(column: Column) -> tuple[str, str]:
    for sample in column.samples:
        value = json.loads(sample) if isinstance(sample, str) else sample
        first = value[0] if isinstance(value, list) and value else value
        if isinstance(first, dict):
            keys = set(first)
            for pair in (
                ("name", "arguments"),
                ("name", "parameters"),
                ("tool", "parameters"),
                ("api", "parameters"),
                ("api_name", "param_dict"),
                ("API", "Parameters"),
            ):
                if set(pair) <= keys:
                    return pair
    return "name", "arguments"


def _function_path(expression: Any) -> tuple[str, bool]:  # noqa: ANN401 - an expression
    """Return the column that a function reads, and whether it holds JSON text."""
    of = expression["of"]
    return (of["json"], True) if isinstance(of, dict) else (of, False)


def _put_json(row: dict[str, Json], expression: Any, value: Json, columns: Columns) -> None:  # noqa: ANN401
    if "of" not in expression:
        return
    path, is_text = _function_path(expression)
    _put(row, path, json.dumps(value) if is_text else value)


def _first_path(expression: Any) -> str:  # noqa: ANN401 - an expression
    """Return the first column that an expression names."""
    if isinstance(expression, str):
        return expression
    return str(next(iter(expression.values())))


def _put(row: dict[str, Json], path: str, value: Json) -> None:
    """Set the value at a path of names."""
    parsed: Path = parse_path(path)
    names = [parsed.root, *(str(step) for step in parsed.steps)]
    inner = row
    for name in names[:-1]:
        inner = cast("dict[str, Json]", inner.setdefault(name, {}))
    inner[names[-1]] = value
