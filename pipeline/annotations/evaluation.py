"""Expressions and conditions as functions of a scope.

An expression is compiled once into nested closures; a row is then a few calls. The scope is a
plain dict of columns and bound names and is never changed.
"""

from __future__ import annotations

import contextlib
import json
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, cast

from pipeline.annotations import expressions as ex
from pipeline.annotations.cleaning import compile_steps, list_of, parse_json
from pipeline.annotations.comparisons import COMPARISONS
from pipeline.annotations.outcomes import RowSkipped, as_text, kind_of, raw_key
from pipeline.annotations.paths import Scope, compile_path, follow
from pipeline.annotations.patterns import matcher
from pipeline.annotations.tagging import mentions
from pipeline.errors import AnnotationError
from pipeline.types import Json
from pipeline.yaml_reader import excerpt

Evaluator = Callable[[Scope], Json]
Test = Callable[[Scope], bool]
Functions = Mapping[str, Callable[..., Json]]
"""Implementations of `FUNCTION_NAMES`, called as `function(value, **options)`."""


def compile_expression(
    expression: ex.Expression, functions: Functions, tag_names: tuple[str, ...] = ()
) -> Evaluator:
    """Return `expression` as a function of a scope.

    Args:
        expression: What to compile.
        functions: Implementations for `function:`.
        tag_names: Names of integer tags, for `spans`.

    Returns:
        A function that raises `RowSkipped` for a row without a usable value, and
        `AnnotationError` for a value the annotation does not provide for.
    """
    return _Compiler(functions, tag_names).expression(expression)


def compile_condition(condition: ex.Condition, functions: Functions) -> Test:
    """Return `condition` as a function of a scope; a null is unequal to all and fails `lt` etc."""
    return _Compiler(functions, ()).condition(condition)


class _Compiler:
    def __init__(self, functions: Functions, tag_names: tuple[str, ...]) -> None:
        self.functions = functions
        self.tag_names = tag_names

    def expression(self, node: ex.Expression) -> Evaluator:
        return _BUILDERS[type(node)](self, node)

    def expressions(self, nodes: tuple[ex.Expression, ...]) -> list[Evaluator]:
        return [self.expression(node) for node in nodes]

    def condition(self, node: ex.Condition) -> Test:
        if isinstance(node, ex.AllOf):
            tests = [self.condition(part) for part in node.conditions]
            return lambda scope: all(test(scope) for test in tests)
        if isinstance(node, ex.AnyOf):
            tests = [self.condition(part) for part in node.conditions]
            return lambda scope: any(test(scope) for test in tests)
        if isinstance(node, ex.Not):
            inner = self.condition(node.condition)
            return lambda scope: not inner(scope)
        return self._compare(node)

    def _compare(self, node: ex.Compare) -> Test:
        of = self.expression(node.of)
        compare = matcher(str(node.value)) if node.comparison == "matches" else None
        if compare is not None:
            return lambda scope: isinstance(found := of(scope), str) and compare(found)
        test = COMPARISONS[node.comparison]
        if node.other is not None:
            other = self.expression(node.other)
            return lambda scope: test(of(scope), other(scope))
        value = node.value
        return lambda scope: test(of(scope), value)

    def const(self, node: ex.Const) -> Evaluator:
        value = node.value
        return lambda scope: value

    def column(self, node: ex.Column) -> Evaluator:
        return compile_path(node.path)

    def listed(self, node: ex.Listed) -> Evaluator:
        items = self.expressions(node.items)
        return lambda scope: [item(scope) for item in items]

    def text(self, node: ex.Text) -> Evaluator:
        parts = [part if isinstance(part, str) else self.expression(part) for part in node.parts]

        def run(scope: Scope) -> Json:
            return "".join(
                [part if isinstance(part, str) else _inserted(part(scope)) for part in parts]
            )

        return run

    def join(self, node: ex.Join) -> Evaluator:
        items, sep, skip, strip = self.expression(node.items), node.sep, node.skip, node.strip

        def run(scope: Scope) -> Json:
            found = list_of(items(scope))
            texts = [as_text(item) for item in found if not (skip and item in skip)]
            return sep.join([text.strip() for text in texts] if strip else texts)

        return run

    def concat(self, node: ex.Concat) -> Evaluator:
        items = self.expressions(node.items)

        def run(scope: Scope) -> Json:
            joined: list[Json] = []
            for item in items:
                value = item(scope)
                joined.extend(value if isinstance(value, list) else [value])
            return joined

        return run

    def otherwise(self, node: ex.Otherwise, what: str) -> Callable[[Scope, Json], Json]:
        if node.action == "value" and node.value is not None:
            inner = self.expression(node.value)
            return lambda scope, value: inner(scope)
        if node.action == "keep":
            return lambda scope, value: value
        if node.action == "skip":
            return lambda scope, value: _skip(f"{what} meets a value it does not know")

        def refuse(scope: Scope, value: Json) -> Json:
            raise AnnotationError(
                "ANN201",
                f"{what} does not know the value {excerpt(value)}",
                hint="Add the value, or say what else happens: `else: skip` or `else: {const: x}`",
            )

        return refuse

    def map(self, node: ex.Map) -> Evaluator:
        value = self.expression(node.value)
        entries = {key: self.expression(entry) for key, entry in node.to.items()}
        otherwise = self.otherwise(node.otherwise, "`map`")

        def run(scope: Scope) -> Json:
            found = value(scope)
            entry = _entry(entries, found)
            return otherwise(scope, found) if entry is None else entry(scope)

        return run

    def find(self, node: ex.Find) -> Evaluator:
        value, among = self.expression(node.value), self.expression(node.among)
        otherwise = self.otherwise(node.otherwise, "`find`")

        def run(scope: Scope) -> Json:
            found, items = value(scope), list_of(among(scope))
            for position, item in enumerate(items):
                if item == found and isinstance(item, bool) == isinstance(found, bool):
                    return position
            return otherwise(scope, found)

        return run

    def bin(self, node: ex.Bin) -> Evaluator:
        value, at, to = self.expression(node.value), node.at, node.to
        bisect = bisect_left if node.strict else bisect_right

        def run(scope: Scope) -> Json:
            found = value(scope)
            if not isinstance(found, int | float) or found != found:
                raise RowSkipped(f"{kind_of(found)} where a number is needed")
            return to[bisect(at, found)]

        return run

    def conditional(self, node: ex.If) -> Evaluator:
        test = self.condition(node.condition)
        then, otherwise = self.expression(node.then), self.expression(node.otherwise)
        return lambda scope: then(scope) if test(scope) else otherwise(scope)

    def each(self, node: ex.Each) -> Evaluator:
        items, do = self.expression(node.items), self.expression(node.do)
        where = self.condition(node.where) if node.where else None

        def run(scope: Scope) -> Json:
            found: list[Json] = []
            inner = dict(scope)
            for index, item in enumerate(list_of(items(scope))):
                inner["item"], inner["index"] = item, index
                if where is None or where(inner):
                    found.append(do(inner))
            return found

        return run

    def count(self, node: ex.Count) -> Evaluator:
        items, of = self.expression(node.items), node.of

        def run(scope: Scope) -> Json:
            found = list_of(items(scope))
            if of is None:
                return len(found)
            return [sum(item == value for item in found) for value in of]

        return run

    def mark(self, node: ex.Mark) -> Evaluator:
        text = self.expression(node.text)
        spans = [
            (
                span.name,
                self.expression(span.start),
                self.expression(span.end) if span.end else None,
                self.expression(span.text) if span.text else None,
            )
            for span in node.spans
        ]
        blank = " " if node.blanks else ""

        def run(scope: Scope) -> Json:
            whole = as_text(text(scope))
            placed = [_placed(whole, scope, span) for span in spans]
            # From the back, so that earlier positions stay valid.
            for start, end, name in sorted(placed, reverse=True):
                mention = f"{blank}{whole[start:end]}{blank}"
                whole = f"{whole[:start]}[{name}]{mention}[/{name}]{whole[end:]}"
            return whole

        return run

    def clean(self, node: ex.Clean) -> Evaluator:
        value, steps = self.expression(node.value), compile_steps(node.steps)
        return lambda scope: steps(value(scope))

    def record(self, node: ex.Record) -> Evaluator:
        members = {name: self.expression(member) for name, member in node.members.items()}
        return lambda scope: {name: member(scope) for name, member in members.items()}

    def get(self, node: ex.Get) -> Evaluator:
        value, steps = self.expression(node.value), (node.path.root, *node.path.steps)
        return lambda scope: follow(value(scope), steps)

    def parsed_json(self, node: ex.ParsedJson) -> Evaluator:
        value = self.expression(node.value)
        return lambda scope: parse_json(value(scope))

    def spans(self, node: ex.Spans) -> Evaluator:
        tags, tokens = self.expression(node.tags), self.expression(node.tokens)
        names, scheme, kind = self.tag_names, node.scheme, node.type

        def run(scope: Scope) -> Json:
            words = [as_text(token) for token in list_of(tokens(scope))]
            named = [tag_name(tag, names) for tag in list_of(tags(scope))]
            if len(words) != len(named):
                raise RowSkipped("tokens and tags differ in number")
            return cast("Json", mentions(words, named, scheme=scheme, kind=kind))

        return run

    def flags(self, node: ex.Flags) -> Evaluator:
        if node.members is None:
            items = self.expression(cast("ex.Expression", node.items))
            return lambda scope: [i for i, item in enumerate(list_of(items(scope))) if item]
        members = {name: self.expression(member) for name, member in node.members.items()}
        return lambda scope: [name for name, member in members.items() if member(scope)]

    def first(self, node: ex.First) -> Evaluator:
        items = self.expressions(node.items)

        def run(scope: Scope) -> Json:
            values = (item(scope) for item in items)
            return next((value for value in values if value not in (None, "")), None)

        return run

    def pick(self, node: ex.Pick) -> Evaluator:
        items, at = self.expression(node.items), self.expression(node.at)

        def run(scope: Scope) -> Json:
            found, position = items(scope), at(scope)
            if isinstance(found, dict) and isinstance(position, str):
                return found.get(position)
            position = int(position) if isinstance(position, int) else -1
            elements = list_of(found)
            return elements[position] if 0 <= position < len(elements) else None

        return run

    def majority(self, node: ex.Majority) -> Evaluator:
        items = self.expression(node.items)

        def run(scope: Scope) -> Json:
            found = list_of(items(scope))
            keys = [json.dumps(item, sort_keys=True) for item in found]
            best = Counter(keys).most_common(2)
            if not best or (len(best) == 2 and best[0][1] == best[1][1]):
                raise RowSkipped("no majority")
            return found[keys.index(best[0][0])]

        return run

    def mean(self, node: ex.Mean) -> Evaluator:
        items = self.expression(node.items)

        def run(scope: Scope) -> Json:
            found = [_number(item) for item in list_of(items(scope))]
            if not found:
                raise RowSkipped("no number to take the mean of")
            return math.fsum(found) / len(found)

        return run

    def argmax(self, node: ex.Argmax) -> Evaluator:
        items = self.expression(node.items)

        def run(scope: Scope) -> Json:
            found = items(scope)
            values = found if isinstance(found, dict) else dict(enumerate(list_of(found)))
            numbers = {key: _number(value) for key, value in values.items()}
            best = [key for key, value in numbers.items() if value == max(numbers.values())]
            if len(best) != 1:
                raise RowSkipped("no largest value")
            return best[0]

        return run

    def zip(self, node: ex.Zip) -> Evaluator:
        members = {name: self.expression(member) for name, member in node.members.items()}

        def run(scope: Scope) -> Json:
            lists = [list_of(member(scope)) for member in members.values()]
            if len({len(found) for found in lists}) > 1:
                raise RowSkipped("lists of `zip` differ in length")
            return [dict(zip(members, values, strict=True)) for values in zip(*lists, strict=True)]

        return run

    def sort(self, node: ex.Sort) -> Evaluator:
        items, by = self.expression(node.items), self.expression(node.by)

        def run(scope: Scope) -> Json:
            found = list_of(items(scope))
            keys: list[Any] = [
                by({**scope, "item": item, "index": i}) for i, item in enumerate(found)
            ]
            try:
                order = sorted(range(len(found)), key=keys.__getitem__, reverse=node.descending)
            except TypeError:
                raise RowSkipped("values of `sort` cannot be compared") from None
            return [found[position] for position in order]

        return run

    def function(self, node: ex.Function) -> Evaluator:
        of, options = self.expression(node.of), dict(node.options)
        function = self.functions.get(node.name)
        if function is None:
            raise AnnotationError("ANN202", f"the function {node.name!r} is not available here")
        if isinstance(node.of, ex.Const):
            # A library written in the annotation is read once, not for every row.
            with contextlib.suppress(RowSkipped):
                constant = function(node.of.value, **options)
                return lambda scope: constant
        return lambda scope: function(of(scope), **options)


_BUILDERS: dict[type, Callable[..., Evaluator]] = {
    ex.Const: _Compiler.const,
    ex.Column: _Compiler.column,
    ex.Listed: _Compiler.listed,
    ex.Text: _Compiler.text,
    ex.Join: _Compiler.join,
    ex.Concat: _Compiler.concat,
    ex.Map: _Compiler.map,
    ex.Find: _Compiler.find,
    ex.Bin: _Compiler.bin,
    ex.If: _Compiler.conditional,
    ex.Each: _Compiler.each,
    ex.Count: _Compiler.count,
    ex.Mark: _Compiler.mark,
    ex.Clean: _Compiler.clean,
    ex.Record: _Compiler.record,
    ex.Get: _Compiler.get,
    ex.ParsedJson: _Compiler.parsed_json,
    ex.Spans: _Compiler.spans,
    ex.Flags: _Compiler.flags,
    ex.First: _Compiler.first,
    ex.Pick: _Compiler.pick,
    ex.Majority: _Compiler.majority,
    ex.Mean: _Compiler.mean,
    ex.Argmax: _Compiler.argmax,
    ex.Zip: _Compiler.zip,
    ex.Sort: _Compiler.sort,
    ex.Function: _Compiler.function,
}


def _skip(reason: str) -> Json:
    raise RowSkipped(reason)


def _number(value: Json) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value != value:
        raise RowSkipped(f"{kind_of(value)} where a number is needed")
    return value


def _inserted(value: Json) -> str:
    if isinstance(value, list | dict):
        raise AnnotationError(
            "ANN203", f"{kind_of(value)} cannot stand in a text", hint="Join it first"
        )
    return as_text(value)


def _entry(entries: Mapping[str, Evaluator], value: Json) -> Evaluator | None:
    key = raw_key(value)
    if key is None:
        return entries.get("null") if value is None else None
    found = entries.get(key)
    return entries.get(str(value)) if found is None else found


def tag_name(tag: Json, names: tuple[str, ...]) -> str:
    """Return the name of a tag that may be given by its position in `names`.

    Raises:
        AnnotationError: The position is outside of `names`.
    """
    if isinstance(tag, str):
        return tag
    if isinstance(tag, int) and 0 <= tag < len(names):
        return names[tag]
    raise AnnotationError(
        "ANN204", f"the tag {excerpt(tag)} has no name", hint="List all tag names under `labels`"
    )


_SpanParts = tuple[str, Evaluator, Evaluator | None, Evaluator | None]


def _placed(whole: str, scope: Scope, span: _SpanParts) -> tuple[int, int, str]:
    name, start_of, end_of, text_of = span
    start = start_of(scope)
    mention = as_text(text_of(scope)) if text_of else None
    end = end_of(scope) if end_of else None
    if end is None and isinstance(start, int) and mention is not None:
        end = start + len(mention)
    if not isinstance(start, int) or not isinstance(end, int) or not 0 <= start < end <= len(whole):
        raise RowSkipped("a span lies outside of the text")
    if mention is not None and whole[start:end] != mention:
        raise RowSkipped("a span differs from its mention")
    return start, end, name
