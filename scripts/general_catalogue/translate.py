"""From the expressions of the facts file to those of an annotation."""

from __future__ import annotations

import re
from typing import Any

Facts = dict[str, Any]

_PLAIN_PATH = re.compile(r"[A-Za-z_][\w\-]*(\.[A-Za-z_][\w\-]*|\[(\*|-?\d+)\])*")


class Untranslatable(Exception):
    """The facts use a form that has no counterpart; the text names it."""


def path(column: str) -> str:
    """Return a path to a column, in quotes where its name has odd letters."""
    if column.startswith("$"):
        return "$choices" if column == "$choices_list" else column
    return column if _PLAIN_PATH.fullmatch(column) else f'"{column}"'


def expression(value: Any) -> Any:  # noqa: ANN401 - any JSON value
    """Return the expression of an annotation for one of the facts file.

    Raises:
        Untranslatable: The form is not known.
    """
    if isinstance(value, str):
        return path(value)
    if isinstance(value, list):
        return [expression(item) for item in value]
    if not isinstance(value, dict):
        return value
    form = next((key for key in value if key in _FORMS), None)
    if form is None:
        raise Untranslatable(", ".join(value))
    return _FORMS[form](value)


def _const(value: Facts) -> Any:  # noqa: ANN401
    inner = value["const"]
    return inner if isinstance(inner, int | float) else {"const": inner}


def _text(value: Facts) -> Any:  # noqa: ANN401
    template = re.sub(r"\{([^{}]+)\}", lambda match: "{" + path(match[1]) + "}", value["text"])
    found: Facts = {"text": template}
    if value.get("with"):
        found["with"] = {name: expression(inner) for name, inner in value["with"].items()}
    if "null_if" not in value:
        return found
    names = re.findall(r"\{([^{}]+)\}", template)
    given = [item for item in value["null_if"] if item is not None]
    condition = {"all": [{"of": names[0], "null": False}, {"of": names[0], "not_in": given}]}
    return {"if": condition, "then": found}


def _join(value: Facts) -> Any:  # noqa: ANN401
    found: Facts = {"join": expression(value["join"])}
    if value.get("sep", " ") != " ":
        found["sep"] = value["sep"]
    skip = list(value.get("skip", []))
    if isinstance(value["join"], list) and any(isinstance(i, dict) for i in value["join"]):
        skip = skip or [None]
    if skip:
        found["skip"] = skip
    if value.get("strip"):
        found["strip"] = True
    return found


def _otherwise(value: Facts) -> Facts:
    if "else" not in value:
        return {}
    other = value["else"]
    return {"else": other if other in (None, "keep", "skip", "error") else expression(other)}


def _map(value: Facts) -> Any:  # noqa: ANN401
    if "to" not in value:
        raise Untranslatable("map to a file")
    to = value["to"]
    entries = to.values() if isinstance(to, dict) else to
    if any(isinstance(entry, dict) for entry in entries):
        to = {key: expression(entry) for key, entry in to.items()}
    return {"map": expression(value["map"]), "to": to, **_otherwise(value)}


def _find(value: Facts) -> Any:  # noqa: ANN401
    among = value["in"]
    among = {"const": list(among)} if value.get("letters") else expression(among)
    return {"find": expression(value["find"]), "in": among, **_otherwise(value)}


def _if(value: Facts) -> Any:  # noqa: ANN401
    found = {"if": condition(value["if"]), "then": expression(value["then"])}
    if "else" in value:
        found["else"] = expression(value["else"])
    return found


def _each(value: Facts) -> Any:  # noqa: ANN401
    return {"each": expression(value["each"]), "do": expression(value["do"])}


def _steps(steps: list[Any]) -> list[Any]:
    found: list[Any] = []
    for step in steps:
        name: str
        argument: Any
        name, argument = next(iter(step.items())) if isinstance(step, dict) else (step, None)
        if name == "each":
            argument = _steps(argument if isinstance(argument, list) else [argument])
        if name == "scale" and isinstance(argument, str):
            above, below = argument.split("/")
            argument = int(above) / int(below)
        if name == "sub":
            argument = [argument[0], argument[1].replace("\\n", "\n")]
        if name == "squeeze_spaces":
            name = "spaces"
        found.append(name if argument is None else {name: argument})
    return found


def _clean(value: Facts) -> Any:  # noqa: ANN401
    steps = value["steps"]
    inner = expression(value["clean"])
    if steps and steps[0] == "literal":
        inner, steps = {"function": "python_literal", "of": inner}, steps[1:]
    return {"clean": inner, "steps": _steps(steps)} if steps else inner


def _mark(value: Facts) -> Any:  # noqa: ANN401
    spans = [
        {key: inner if key == "name" else expression(inner) for key, inner in span.items()}
        for span in value["spans"]
    ]
    return {"mark": expression(value["mark"]), "spans": spans}


def _sub(value: Facts) -> Any:  # noqa: ANN401
    """Put a column in the place of the one `<.../>` of a text."""
    column, edit = expression(value["sub"]), expression(value["with"])
    return {
        "text": "{before}{edit}{after}",
        "with": {
            "before": {"clean": column, "steps": [{"before_first": "<"}]},
            "edit": edit if isinstance(edit, dict) else {"first": [edit]},
            "after": {"clean": column, "steps": [{"after_last": "/>"}]},
        },
    }


def _switch(value: Facts) -> Any:  # noqa: ANN401
    cases = {key: {"first": [expression(inner)]} for key, inner in value["cases"].items()}
    return {"map": expression(value["switch"]), "to": cases, "else": expression(value["else"])}


def _case(value: Facts) -> Any:  # noqa: ANN401
    found: Any = None
    for entry in reversed(value["case"]):
        found = {
            "if": condition(entry["when"]),
            "then": expression(entry["then"]),
            "else": found,
        }
    return found


_FORMS: dict[str, Any] = {
    "const": _const,
    "text": _text,
    "join": _join,
    "concat": lambda value: {"concat": expression(value["concat"])},
    "map": _map,
    "find": _find,
    "bin": lambda value: {**value, "bin": expression(value["bin"])},
    "if": _if,
    "each": _each,
    "count": lambda value: {**value, "count": expression(value["count"])},
    "clean": _clean,
    "mark": _mark,
    "first": lambda value: {"first": expression(value["first"])},
    "majority": lambda value: {"majority": expression(value["majority"])},
    "pick": lambda value: {"pick": expression(value["pick"]), "at": expression(value["at"])},
    "add": lambda value: {"clean": expression(value["add"]), "steps": [{"add": value["by"]}]},
    "drop_empty": lambda value: {
        "clean": expression(value["drop_empty"]),
        "steps": ["drop_empty"],
    },
    "path_in": lambda value: {"get": expression(value["path_in"]), "path": value["path"]},
    "sub": _sub,
    "switch": _switch,
    "case": _case,
}


def condition(value: Facts, targets: dict[str, Any] | None = None) -> Facts:
    """Return the condition of an annotation for one of the facts file.

    Args:
        value: The condition.
        targets: What the names of tasksource's own columns, such as `labels`, are read from.

    Raises:
        Untranslatable: The condition is written in words.
    """
    if not isinstance(value, dict):
        raise Untranslatable("a condition in words")
    for key in ("all", "any"):
        if key in value:
            return {key: [condition(item, targets) for item in value[key]]}
    if "not" in value:
        return {"not": condition(value["not"], targets)}
    of = value["of"]
    if isinstance(of, str) and targets and of in targets:
        of = targets[of]
    found: Facts = {"of": expression(of)}
    for name, operand in value.items():
        if name == "of":
            continue
        if name == "is" and operand == "str":
            operand = "text"
        if name in {"in", "not_in"} and isinstance(operand, dict):
            operand = list(operand)
        if name in {"in", "not_in"} and isinstance(operand, str):
            operand = operand.split() if " " in operand else list(operand)
        found[name] = operand
    return found


def operations(facts: Facts) -> list[Any]:
    """Return the row operations of an annotation.

    Raises:
        Untranslatable: One of them is written in words or in code.
    """
    labels = facts["fields"]["labels"]
    targets = {"labels": labels} if isinstance(labels, str) and labels != "labels" else {}
    found: list[Any] = []
    for operation in facts.get("row_ops", []):
        name = next(iter(operation))
        if name in {"label_names", "rename_labels", "shuffle", "merge_splits"}:
            continue
        value = operation[name]
        if name == "where":
            found.append({"where": condition(value, targets)})
        elif name in {"unique", "holdout"}:
            found.append(_keyed(name, operation))
        elif name == "split_by":
            found.append({"holdout": expression(value)})
        else:
            raise Untranslatable(name)
    return found


def _keyed(name: str, operation: Facts) -> Facts:
    value = operation[name]
    if isinstance(value, str) and re.search(r"[ (+]", value):
        raise Untranslatable(f"{name} in words")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    found: Facts = {name: expression(value)}
    conflict = operation.get("on_conflicting")
    if conflict:
        if conflict.startswith("_"):
            raise Untranslatable(f"{name} in words")
        found["conflict_of"] = expression(conflict)
    return found
