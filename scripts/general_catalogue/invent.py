"""Invented source rows that fit the paths and conditions of an annotation."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

from pipeline.annotations.paths import EVERY, Path, parse_path

Annotation = dict[str, Any]
Texts = Callable[[str, int], str]
"""Gives the text for a column; the number counts the texts of the row so far."""

_BY_NUMBER = {"clean", "pick", "majority", "first"}
"""Forms that hand a class number on as it is."""
_CUTS = {"before_first", "after_first", "before_last", "after_last"}


class CannotInvent(Exception):
    """No row can be made up for a form; the text names it."""


class Inventor:
    """Makes up one row by walking through the expressions and setting what they read."""

    def __init__(self, annotation: Annotation, texts: Texts, *, label: int = 0) -> None:
        """Prepare a row.

        Args:
            annotation: The annotation as plain data.
            texts: Gives texts.
            label: Which label, or which option, is to be the right one.
        """
        self.annotation = annotation
        self.row: dict[str, Any] = {}
        self._texts = texts
        self._label = label
        self._count = 0
        self._bound: dict[str, Any] = {}
        self._local: list[str] = []

    def make(self) -> dict[str, Any]:
        """Return the row.

        Raises:
            CannotInvent: A form has no counterpart here.
        """
        fields = self.annotation["fields"]
        operations = self.annotation.get("rows", [])
        for operation in operations:
            for name, inner in operation.get("let", {}).items():
                self._bound[name] = inner
            if "explode" in operation:
                self._explode(operation)
        for operation in operations:
            if "where" in operation:
                self.satisfy(operation["where"], wanted=True)
        if self.annotation["task"] != "multiple_choice":
            self._target(fields)
        for name, inner in fields.items():
            if name not in {"target", "choices"}:
                self.demand(inner)
        if self.annotation["task"] == "multiple_choice":
            self._target(fields)
        for operation in operations:
            for key in ("unique", "holdout", "cap_per", "conflict_of"):
                if key in operation:
                    self.demand(operation[key])
        return self.row

    # --- targets -------------------------------------------------------------------------------

    def _target(self, fields: dict[str, Any]) -> None:
        task, target = self.annotation["task"], fields["target"]
        if task == "multiple_choice":
            self.demand(fields["choices"], "options")
            number = self._label % max(2, self._option_count(fields["choices"]))
            self.demand(target, number)
        elif task == "regression":
            low = self.annotation["settings"]["minimum"]
            high = self.annotation["settings"]["maximum"]
            self.demand(target, low + (high - low) * (1 + self._label % 4) / 4)
        elif task == "token_classification":
            self._tokens(target)
        elif task == "multi_label":
            self.demand(target, [self._label])
        else:
            self.demand(target, self.raw_label())

    def _option_count(self, choices: Any) -> int:  # noqa: ANN401
        if isinstance(choices, list):
            return len(choices)
        return 2 if isinstance(choices, dict) and "item." in str(choices.get("do")) else 4

    def raw_label(self) -> Any:  # noqa: ANN401
        """Return the raw value of the label asked for."""
        labels = self.annotation.get("labels")
        overrides = self.annotation.get("per_config") or {}
        configs = self.annotation["source"].get("config")
        if isinstance(configs, list) and configs[0] in overrides:
            labels = overrides[configs[0]].get("labels", labels)
        if labels is None:
            raise CannotInvent("labels that only the data names")
        if isinstance(labels, list):
            target = self.annotation["fields"]["target"]
            by_name = isinstance(target, dict) and not _BY_NUMBER & set(target)
            number = self._label % len(labels)
            return labels[number] if by_name and not _gives_numbers(target) else number
        key = list(labels)[self._label % len(labels)]
        if labels[key] == key or self.annotation["id"] == "hyperpartisan_news":
            return key
        return _typed(key, list(labels))

    def _tokens(self, target: Any) -> None:  # noqa: ANN401
        plain = isinstance(target, str)
        tags = parse_path(target if plain else target["spans"])
        words = ["The", "river", "Elbe", "flows"]
        labels: list[str] = self.annotation.get("labels") or []
        self._set(parse_path("tokens"), words)
        if plain:
            names = ["DT", "NN", "NNP", "VBZ"] if labels else ["DET", "NOUN", "PROPN", "VERB"]
            self._set(tags, [labels.index(name) for name in names] if labels else names)
            return
        if not labels:
            kind = "location-river" if target.get("scheme") == "io" else "B-LOC"
            self._set(tags, ["O", "O", kind, "O"])
            return
        begins = [i for i, name in enumerate(labels) if name.startswith("B-")] or [1]
        places = [i for i in begins if re.search("LOC|loc|NP|GPE", labels[i])]
        begin, outside = (places or begins)[0], labels.index("O")
        self._set(tags, [outside, outside, begin, outside])

    # --- expressions ---------------------------------------------------------------------------

    def demand(self, value: Any, wanted: Any = None) -> None:  # noqa: ANN401
        """Set what `value` reads, so that it gives `wanted`; any text when that is `None`."""
        if isinstance(value, str):
            self._column(value, wanted)
        elif isinstance(value, list):
            for number, item in enumerate(value):
                self.demand(item, f"option {number}" if wanted == "options" else None)
        elif isinstance(value, dict):
            form = next((key for key in value if key in _FORMS), None)
            if form is None:
                raise CannotInvent(", ".join(value))
            getattr(self, _FORMS[form])(value, wanted)

    def _column(self, text: str, wanted: Any) -> None:  # noqa: ANN401
        if text == "$choices":
            self.demand(self.annotation["fields"]["choices"], "options")
            return
        path = parse_path(text)
        if path.root in self._local:
            return
        if path.root in self._bound and not path.steps:
            self.demand(self._bound[path.root], wanted)
            return
        if path.root == "top" and "top" in self._bound:
            votes = self._bound["top"]["each"]
            self._votes(votes, wanted)
            return
        if path.root in self._bound:
            raise CannotInvent("a path into a bound value")
        if wanted == "options":
            wanted = [self._text(f"{text} {number}") for number in range(4)]
        if wanted is None or (isinstance(wanted, str) and wanted.startswith("option ")):
            wanted = self._text(text)
        self._set(path, wanted)

    def _votes(self, column: str, position: int) -> None:
        count = len(self.annotation["labels"])
        votes = [4.0 if number == position else 1.0 for number in range(count)]
        inner = self._bound.get(column)
        if any(
            "ge" in c and not isinstance(c["ge"], dict) for c in self._bound["top"]["where"]["all"]
        ):
            votes = [0.75 if number == position else 0.25 / (count - 1) for number in range(count)]
        if isinstance(inner, list) and all(isinstance(item, str) for item in inner):
            for item, vote in zip(inner, votes, strict=True):
                self._set(parse_path(item), int(vote))
        elif inner is None:
            self._set(parse_path(column), [int(v) if v >= 1 else v for v in votes])
        else:
            raise CannotInvent("votes that are computed")

    def _text(self, column: str) -> str:
        self._count += 1
        return self._texts(column, self._count - 1)

    def _set(self, path: Path, value: Any, *, again: bool = False) -> None:  # noqa: ANN401
        steps = [path.root, *path.steps]
        if EVERY in steps:
            at = steps.index(EVERY)
            rest = Path(str(steps[at + 1]), tuple(steps[at + 2 :])) if at + 1 < len(steps) else None
            items = value if isinstance(value, list) else [value]
            if rest is None:
                self._put(steps[:at], items, again=again)
            else:
                old = self._peek(steps[:at]) or [{} for _ in items]
                for entry, item in zip(old, items, strict=False):
                    _nested(entry, [rest.root, *rest.steps], item)
                self._put(steps[:at], old, again=True)
            return
        self._put(steps, value, again=again)

    def _peek(self, steps: list[Any]) -> Any:  # noqa: ANN401
        found: Any = self.row
        for step in steps:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def _put(self, steps: list[Any], value: Any, *, again: bool) -> None:  # noqa: ANN401
        _nested(self.row, steps, value, again=again)

    # --- forms ---------------------------------------------------------------------------------

    def _const(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        pass

    def _template(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        named = value.get("with", {})
        for name in dict.fromkeys(re.findall(r"\{([^{}]+)\}", value["text"])):
            self.demand(named.get(name, name))

    def _joined(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        inner = value["join"]
        if isinstance(inner, str):
            path = parse_path(inner)
            if path.root not in self._local:
                self._set(path, [self._text(inner), self._text(inner)])
        else:
            self.demand(inner)

    def _concat(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        first, *rest = value["concat"]
        if wanted == "options":
            self.demand(first)
            for item in rest:
                self.demand(item, "options")
            return
        self._set(parse_path(first), [self._text(first), self._text(first)])
        for item in rest:
            self.demand(item)

    def _mapped(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        to = value["to"]
        entries = to if isinstance(to, dict) else {str(i): name for i, name in enumerate(to)}
        key = next((k for k, name in entries.items() if name == wanted), None)
        if key is None and "else" in value and wanted is not None:
            key = "something_else" if any(not k.isdigit() for k in entries) else "9"
        key = next(iter(entries)) if key is None else key
        self.demand(value["map"], _typed(key, list(entries)))
        if isinstance(entries.get(key), dict):
            self.demand(entries[key])

    def _found(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        among = value["in"]
        position = wanted if isinstance(wanted, int) else 0
        if isinstance(among, dict) and "const" in among:
            self.demand(value["find"], among["const"][position % len(among["const"])])
            return
        if (isinstance(among, str) and among.startswith("$")) or (
            isinstance(among, dict) and "clean" in among
        ):
            options = self.row_value(self.annotation["fields"]["choices"])
        else:
            options = list("ABCD") if "label" in str(among) else ["1", "2", "3", "4"]
            self.demand(among, options)
        self.demand(value["find"], options[position])

    def row_value(self, value: Any) -> Any:  # noqa: ANN401
        """Return what already stands at a path of the row."""
        if not isinstance(value, str):
            raise CannotInvent("a position among computed options")
        path = parse_path(value)
        found: Any = self.row
        for step in (path.root, *path.steps):
            if step is EVERY:
                raise CannotInvent("a position among nested options")
            found = found[step]
        return found

    def _binned(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        names, borders = value["to"], value["at"]
        position = names.index(wanted) if wanted in names else (wanted or 0)
        number = borders[0] - 0.5 if position == 0 else borders[position - 1] + 0.25
        if all(isinstance(b, int) for b in borders) and borders[0] > 1:
            number = borders[0] - 2 if position == 0 else borders[position - 1] + 2
        self.demand(value["bin"], max(number, 0))

    def _choose(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        then = value["then"]
        if wanted is None and "contains" in value["if"] and "else" in value:
            self.satisfy(value["if"], wanted=False)
            self.demand(value["else"])
            return
        constant = then["const"] if isinstance(then, dict) and "const" in then else then
        if wanted is None or constant == wanted or not isinstance(constant, str | int | float):
            self.satisfy(value["if"], wanted=True)
            self.demand(then, wanted)
        elif isinstance(then, dict | int | float):
            self.satisfy(value["if"], wanted=False)
            self.demand(value.get("else"), wanted)
        else:
            self.satisfy(value["if"], wanted=True)
            self.demand(then, wanted)

    def _each(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        items = value["each"]
        if not isinstance(items, str):
            self.demand(items)
            return
        members = sorted(set(re.findall(r"item\.([\w]+)", str(value["do"]))))
        entries: list[Any]
        if members:
            entries = [
                {name: "user" if name == "role" else self._text(name) for name in members}
                for _ in range(2)
            ]
            if "sentences" in members:
                entries = [{"sentences": [self._text("s"), self._text("s")]} for _ in range(2)]
        else:
            entries = [self._text(items) for _ in range(4)]
        self._set(parse_path(items), entries)
        if items in self._bound:
            return
        self._local = ["item", "index"]
        self.demand(value["do"])
        self._local = []

    def _counted(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        number = wanted if isinstance(wanted, int) else 1
        inner = value["count"]
        if isinstance(inner, str) and inner not in self._bound:
            self._set(parse_path(inner), [0] * number)

    def _cleaned(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        for step in reversed(value["steps"]):
            name, argument = next(iter(step.items())) if isinstance(step, dict) else (step, None)
            if name == "add":
                wanted = wanted - argument
            elif name == "scale":
                wanted = wanted / argument
            elif name == "len" and isinstance(wanted, int):
                wanted = ["a"] * wanted
            elif name == "int" and wanted is not None:
                wanted = str(wanted)
            elif name in {"split", "split_regex", "extract", "json"}:
                raise CannotInvent(f"the step {name}")
            elif name in _CUTS and wanted is None:
                wanted = f"{self._text('first')}{argument}{self._text('second')}"
        self.demand(value["clean"], wanted)

    def _listed(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        inner = value["majority"]
        if not isinstance(inner, str) or inner in self._bound:
            raise CannotInvent("a majority of computed values")
        self._set(parse_path(inner), [wanted, wanted, wanted])

    def _first(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        self.demand(value["first"][0], wanted)

    def _picked(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        self.demand(value["pick"])
        self.demand(value["at"], 0)

    def _marked(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        sentence = "Then Ann told Sue that she had won."
        spans = {"PRONOUN": "she", "A": "Ann", "B": "Sue", "TARGET": "Ann"}
        self.demand(value["mark"], sentence)
        for span in value["spans"]:
            mention = spans[span["name"]]
            start = sentence.index(mention)
            self.demand(span["start"], start)
            if "end" in span:
                self.demand(span["end"], start + len(mention))
            if "text" in span:
                self.demand(span["text"], mention)

    def _unknown(self, value: Annotation, wanted: Any) -> None:  # noqa: ANN401
        raise CannotInvent(next(iter(value)))

    def _explode(self, operation: Annotation) -> None:
        raise CannotInvent("explode")

    # --- conditions ----------------------------------------------------------------------------

    def satisfy(self, condition: Annotation, *, wanted: bool) -> None:
        """Set what a condition reads so that it holds, or does not."""
        if "all" in condition:
            parts = condition["all"] if wanted else condition["all"][:1]
            for part in parts:
                self.satisfy(part, wanted=wanted)
        elif "any" in condition:
            parts = condition["any"][:1] if wanted else condition["any"]
            for part in parts:
                self.satisfy(part, wanted=wanted)
        elif "not" in condition:
            self.satisfy(condition["not"], wanted=not wanted)
        else:
            self._compare(condition, wanted=wanted)

    def _compare(self, condition: Annotation, *, wanted: bool) -> None:
        of = condition["of"]
        operator = next(key for key in condition if key != "of")
        operand = condition[operator]
        if of in ({"count": "top"},) or (isinstance(operand, dict) and "value" in operand):
            if isinstance(of, dict) and "count" in of:
                return
            raise CannotInvent("a comparison of two values")
        if self._is_target(of) and operator in {"ne", "in", "not_in", "null", "starts", "contains"}:
            return
        if operator == "null":
            if operand is not wanted:
                self.demand(of)
            return
        if operator == "truthy":
            self.demand(
                of,
                (self._text(str(of)) if "answers" not in str(of) else ["x"])
                if operand is wanted
                else ([] if "text" in str(of) else ""),
            )
            return
        if operator == "contains" and not wanted:
            self.demand(of)
            return
        if wanted and (operator == "not_in" or (operator == "ne" and isinstance(operand, str))):
            self.demand(of)
            return
        self.demand(of, _satisfying(operator, operand, wanted))

    def _is_target(self, of: Any) -> bool:  # noqa: ANN401
        return bool(of == self.annotation["fields"]["target"])


def _satisfying(operator: str, operand: Any, wanted: bool) -> Any:  # noqa: ANN401
    if operator in {"eq", "ge", "le", "contains"}:
        if wanted:
            return operand
        return {"eq": f"not {operand}" if isinstance(operand, str) else -7}.get(
            operator,
            (operand - 1 if operator == "ge" else operand + 1)
            if isinstance(operand, int | float)
            else "other",
        )
    if operator in {"in", "not_in"}:
        return operand[0] if (operator == "in") is wanted else "other"
    if operator in {"gt", "ne"}:
        if isinstance(operand, str):
            return f"{operand} other"
        return operand + 1 if wanted else operand
    if operator == "lt":
        return operand - 1 if wanted else operand
    if operator == "is":
        return 1 if (operand == "number") is wanted else "A short text."
    if operator == "starts":
        return f"{operand}x"
    if operator == "matches" and not wanted:
        return "other"
    raise CannotInvent(operator)


def _gives_numbers(target: Annotation) -> bool:
    return "if" in target and not isinstance(target["then"], dict)


def _typed(key: str, keys: list[str]) -> Any:  # noqa: ANN401
    """Return the raw value that a key of a table stands for."""
    if re.fullmatch(r"-?\d+", key) and all(re.fullmatch(r"-?\d+", other) for other in keys):
        return int(key)
    if set(keys) <= {"true", "false"}:
        return key == "true"
    return key


def _nested(found: Any, steps: list[Any], value: Any, *, again: bool = True) -> None:  # noqa: ANN401
    for step, following in itertools.pairwise(steps):
        empty: Any = [] if isinstance(following, int) else {}
        if isinstance(step, int):
            while len(found) <= step:
                found.append(empty if len(found) == step else type(empty)())
            found = found[step]
        else:
            found = found.setdefault(step, empty)
    last = steps[-1]
    if isinstance(last, int):
        while len(found) <= last:
            found.append(value)
        found[last] = value
    elif again or last not in found:
        found[last] = value


_FORMS = {
    "const": "_const", "text": "_template", "join": "_joined", "concat": "_concat",
    "map": "_mapped", "find": "_found", "bin": "_binned", "if": "_choose", "each": "_each",
    "count": "_counted", "clean": "_cleaned", "majority": "_listed", "first": "_first",
    "pick": "_picked", "mark": "_marked", "json": "_unknown", "function": "_unknown",
    "get": "_unknown", "record": "_unknown",
}  # fmt: skip
