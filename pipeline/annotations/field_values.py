"""From a source row to the inputs, target and choices of an example."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, cast

from pipeline.annotations.cleaning import list_of
from pipeline.annotations.evaluation import Evaluator, Functions, compile_expression, tag_name
from pipeline.annotations.expressions import Spans
from pipeline.annotations.input_shapes import input_shapes
from pipeline.annotations.labels import LabelTable
from pipeline.annotations.outcomes import RowSkipped, as_text, kind_of
from pipeline.annotations.paths import Scope
from pipeline.annotations.references import evaluation_order
from pipeline.annotations.sequences import SequenceRules
from pipeline.annotations.tagging import entity_types
from pipeline.annotations.task_kinds import CLUSTER, NO_INPUTS, TASK_KINDS
from pipeline.errors import AnnotationError
from pipeline.types import Json
from pipeline.yaml_reader import excerpt

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation

FieldValues = dict[str, Json]
"""`{"inputs": {...}, "target": ..., "choices": [...] or None}`, and `cluster` where the row has
one; where DNA was cleaned, `changed` says how."""

RowFunction = Callable[[Scope, int | str], FieldValues]


def compile_fields(
    annotation: DatasetAnnotation,
    functions: Functions | None = None,
    *,
    class_names: Sequence[str] | None = None,
) -> RowFunction:
    """Return the function that turns a row into the values of an example.

    Args:
        annotation: Of one task, see `expanded`.
        functions: Implementations of the functions that `function:` may name.
        class_names: Class names recorded with the data at `annotation.label_path()`; needed for
            an annotation that lists no labels.

    Returns:
        A function of a scope (the row with the names bound by row operations) and the row's
        number or name, which is only used in messages. It raises `RowSkipped` for a row
        that gives no example, and `AnnotationError` for a value the annotation does not know.

    Raises:
        AnnotationError: The annotation needs a function that is not given, or a regular
            expression that the engine refuses.
    """
    table = annotation.label_table(class_names)
    compiled = _compile_all(annotation, functions or {}, table)
    finish = _finisher(annotation, table)
    rules = TASK_KINDS[annotation.task]
    inputs = [name for name in annotation.fields if name not in NO_INPUTS]
    optional = {name for name in inputs if name in rules.optional_inputs}
    sequences = sequence_rules(annotation)
    shapes = input_shapes(annotation.task)

    def run(scope: Scope, row: int | str) -> FieldValues:
        inner = dict(scope)
        name = ""
        try:
            for name, evaluate in compiled:
                inner[f"${name}"] = evaluate(inner)
            found = {name: inner[f"${name}"] for name in inputs}
            name = next((n for n in inputs if found[n] is None and n not in optional), "")
            if name:
                raise RowSkipped("null")
            for name, shaped in shapes.items():
                if found.get(name) is not None:
                    found[name] = shaped(found[name])
            changes: list[str] = []
            for name, rules_of in sequences.items():
                found[name] = _bases(found[name], rules_of, name, changes)
            name = "target"
            target, choices = finish(inner)
        except RowSkipped as skipped:
            raise RowSkipped(f"fields.{name}: {skipped.reason}") from None
        except AnnotationError as error:
            if error.where is None:
                error.where = annotation.mark(("fields", name))
                error.message = f"row {row}: fields.{name}: {error.message}"
            raise
        kept: dict[str, Json] = {key: value for key, value in found.items() if value is not None}
        values: FieldValues = {
            "inputs": kept,
            "target": target,
            "choices": cast("Json", choices),
        }
        if (cluster := inner.get(f"${CLUSTER}")) is not None:
            values[CLUSTER] = cluster
        return values | {"changed": cast("Json", changes)} if changes else values

    return run


def sequence_rules(annotation: DatasetAnnotation) -> dict[str, SequenceRules]:
    """Return how the inputs that are DNA are read."""
    is_dna = annotation.task == "dna_classification" or annotation.source.modality == "dna"
    if not is_dna or "sequence" not in annotation.fields:
        return {}
    return {"sequence": SequenceRules.of(annotation.full_settings())}


def _bases(value: Json, rules: SequenceRules, name: str, changes: list[str]) -> Json:
    """Return a sequence as bases; what was changed is added to `changes`."""
    bases, changed = rules.read(as_text(value))
    changes += [f"fields.{name}: {change}" for change in changed]
    return bases


def _compile_all(
    annotation: DatasetAnnotation, functions: Functions, table: LabelTable | None
) -> list[tuple[str, Evaluator]]:
    tag_names = table.names if table else ()
    compiled = []
    for name in evaluation_order(annotation.fields):
        try:
            evaluate = compile_expression(annotation.fields[name], functions, tag_names)
        except (AnnotationError, ValueError) as error:
            # pyarrow reports a regular expression that RE2 refuses as a ValueError.
            code = error.code if isinstance(error, AnnotationError) else "ANN206"
            text = error.message if isinstance(error, AnnotationError) else str(error)
            where = annotation.mark(("fields", name))
            message = f"fields.{name}: {text.splitlines()[0]}"
            raise AnnotationError(code, message, where=where) from error
        compiled.append((name, evaluate))
    return compiled


_Finisher = Callable[[Mapping[str, Json]], tuple[Json, list[str] | None]]


def target_function(
    annotation: DatasetAnnotation, class_names: Sequence[str] | None = None
) -> Callable[[Mapping[str, Json]], tuple[Json, list[str] | None]]:
    """Return the function that brings target and choices into the shape of the kind.

    It takes the computed values `$target`, `$choices` and `$tokens` and raises as the function of
    `compile_fields` does.

    Raises:
        AnnotationError: The kind needs labels, and there are none.
    """
    return _finisher(annotation, annotation.label_table(class_names))


def _finisher(annotation: DatasetAnnotation, table: LabelTable | None) -> _Finisher:
    """Return the function that brings target and choices into the shape of the kind."""
    shape = TASK_KINDS[annotation.task].target
    settings = annotation.full_settings()
    if shape in {"label", "labels"}:
        known = _needed(annotation, table)
        return _label(known) if shape == "label" else _labels(known)
    if shape == "shares":
        return _shares(_needed(annotation, table))
    if shape == "index":
        return _choice(settings.get("choice_order") == "hashed", settings.get("max_choices"))
    if shape == "calls":
        return _calls(_CALL_TARGETS.get(str(settings.get("granular"))), settings.get("checker"))
    if shape == "number":
        return _number(settings.get("minimum"), settings.get("maximum"))
    if shape == "tags":
        return _tags(annotation, table, is_plain=settings.get("scheme") == "plain")
    if shape == "anything":
        return lambda scope: (_present(_named(scope["$target"], table)), _names_of(table))
    return _SIMPLE[shape]


def _needed(annotation: DatasetAnnotation, table: LabelTable | None) -> LabelTable:
    if table is None:
        raise AnnotationError(
            "ANN207",
            "the labels are not listed, and none are recorded with the data",
            where=annotation.mark(("fields", "target")),
            hint="List them under `labels`, or write `labels: from_data`",
        )
    return table


def _shares(table: LabelTable) -> _Finisher:
    """Return the finisher of soft labels: votes or weights become shares that sum to 1."""
    names = list(table.names)

    def finish(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        target = scope["$target"]
        weights = dict.fromkeys(names, 0.0)
        if isinstance(target, dict):
            for raw, weight in target.items():
                weights[table.name_of(raw)] += _weight(weight)
        else:
            given = list_of(target)
            if len(given) != len(names):
                message = f"a weight for each of {len(names)} labels is needed, got {len(given)}"
                raise AnnotationError("ANN214", message, hint="Count votes with {count:, of:}")
            weights.update(zip(names, map(_weight, given), strict=True))
        total = math.fsum(weights.values())
        if total <= 0:
            raise RowSkipped("no votes")
        return {name: weight / total for name, weight in weights.items()}, names

    return finish


def _weight(value: Json) -> float:
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise RowSkipped(f"{kind_of(value)} where a weight from 0 is needed")
    return float(value)


def _present(target: Json) -> Json:
    if target is None:
        raise RowSkipped("null")
    return target


def _names_of(table: LabelTable | None) -> list[str] | None:
    return list(table.names) if table else None


def _named(target: Json, table: LabelTable | None) -> Json:
    if table is None:
        return target
    if isinstance(target, list):
        return [table.name_of(item) for item in target]
    return table.name_of(target)


def _label(table: LabelTable) -> _Finisher:
    names = list(table.names)
    return lambda scope: (table.name_of(scope["$target"]), names)


def _labels(table: LabelTable) -> _Finisher:
    names = list(table.names)
    order = {name: position for position, name in enumerate(names)}

    def finish(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        found = {table.name_of(item) for item in list_of(scope["$target"])}
        return cast("Json", sorted(found, key=order.__getitem__)), names

    return finish


def _tags(annotation: DatasetAnnotation, table: LabelTable | None, *, is_plain: bool) -> _Finisher:
    names = table.names if table else ()
    target = annotation.fields["target"]
    types: set[str] | None = None
    if table and isinstance(target, Spans):
        types = {*entity_types(names, scheme=target.scheme), target.type or ""}

    def spans(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        found = list_of(scope["$target"])
        for span in found:
            kind = span.get("type") if isinstance(span, dict) else None
            if types is not None and kind not in types:
                message = f"the tags name the type {kind!r}, which is not under `labels`"
                raise AnnotationError("ANN205", message)
        return found, None

    def plain(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        found = [tag_name(tag, names) for tag in list_of(scope["$target"])]
        if len(found) != len(list_of(scope["$tokens"])):
            raise RowSkipped("tokens and tags differ in number")
        return cast("Json", [known.name_of(tag) for tag in found]), None

    if not is_plain:
        return spans
    # Tags are read back by their names, so an answer of unknown names could not be scored.
    known = _needed(annotation, table)
    return plain


def _choice(is_hashed: bool, limit: Json) -> _Finisher:
    """Return the finisher of multiple choice.

    `limit` keeps the right option and the first wrong ones; in the order of the source the right
    one would mostly come last then, so what is cut is always hashed. The hashed order depends on
    the texts alone: it is the same on every machine and does not tell which option is right.
    """

    def finish(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        options = _options(scope)
        gold = scope["$target"]
        if isinstance(gold, bool):
            gold = int(gold)
        if gold is None:
            raise RowSkipped("null")
        if not isinstance(gold, int):
            message = (
                f"a whole number is needed, the position of the right option, got {excerpt(gold)}"
            )
            hint = "Use {find: ..., in: ...} or {clean: ..., steps: [int]}"
            raise AnnotationError("ANN208", message, hint=hint)
        if len(options) < 2:
            raise RowSkipped("fewer than two options")
        if not 0 <= gold < len(options):
            message = f"option {gold} is right, but there are {len(options)}, counted from 0"
            hint = "Leave rows without an answer out with `where`"
            raise AnnotationError("ANN208", message, hint=hint)
        kept = list(range(len(options)))
        is_cut = False
        if isinstance(limit, int) and limit < len(options):
            kept = [gold, *(i for i in kept if i != gold)][:limit]
            is_cut = True
        if is_hashed or is_cut:
            kept.sort(key=_hashed_order(options))
        return kept.index(gold), [options[position] for position in kept]

    return finish


def _options(scope: Mapping[str, Json]) -> list[str]:
    try:
        return [as_text(option) for option in list_of(scope["$choices"])]
    except RowSkipped as skipped:
        raise RowSkipped(f"choices: {skipped.reason}") from None


def _hashed_order(options: list[str]) -> Callable[[int], tuple[bytes, int]]:
    salt = "\x1f".join(sorted(options)).encode(errors="replace")

    def key(position: int) -> tuple[bytes, int]:
        text = options[position].encode(errors="replace")
        return hashlib.sha256(salt + b"\x1e" + text).digest(), position

    return key


def _ranking(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
    options = _options(scope)
    ranked = list_of(scope["$target"])
    if not all(isinstance(item, int) and 0 <= item < len(options) for item in ranked):
        raise AnnotationError("ANN208", "a ranking lists positions of `choices`, counted from 0")
    if len(set(cast("list[int]", ranked))) < len(ranked):
        message = f"a ranking lists each position once, got {excerpt(ranked)}"
        raise AnnotationError("ANN208", message)
    return ranked, options


def _number(minimum: Json, maximum: Json) -> _Finisher:
    low = float(minimum) if isinstance(minimum, int | float) else -math.inf
    high = float(maximum) if isinstance(maximum, int | float) else math.inf

    def finish(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        target = scope["$target"]
        if isinstance(target, bool) or not isinstance(target, int | float):
            raise RowSkipped(f"{kind_of(target)} where a number is needed")
        if not low <= target <= high:
            raise RowSkipped("a number outside of minimum and maximum")
        return float(target), None

    return finish


def _answers(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
    target = scope["$target"]
    answers = [target] if isinstance(target, str) else list_of(target)
    return cast("Json", list(dict.fromkeys(as_text(answer) for answer in answers))), None


def _free_text(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
    return as_text(scope["$target"]), None


def _calls(needed: str | None, checker: Json) -> _Finisher:
    def finish(scope: Mapping[str, Json]) -> tuple[Json, list[str] | None]:
        target = _present(scope["$target"])
        if checker is None and needed is not None and not _SHAPES[needed](target):
            hint = "See the table of kinds in the guide to annotations"
            message = f"{needed} is needed, got {kind_of(target)}"
            raise AnnotationError("ANN212", message, hint=hint)
        return target, None

    return finish


_CALL_TARGETS = {
    "calls": "a list of calls with name and arguments",
    "names": "a list of function names",
    "parameters": "a map of arguments",
    "next": "a function name",
    "response": "text",
}

_SHAPES: dict[str, Callable[[Json], bool]] = {
    "a list of calls with name and arguments": lambda value: (
        isinstance(value, list)
        and all(isinstance(call, dict) and {"name", "arguments"} <= set(call) for call in value)
    ),
    "a list of function names": lambda value: (
        isinstance(value, list) and all(isinstance(name, str) for name in value)
    ),
    "a map of arguments": lambda value: isinstance(value, dict),
    "a function name": lambda value: isinstance(value, str) and value != "",
    "text": lambda value: isinstance(value, str),
}

_SIMPLE: dict[str, _Finisher] = {
    "answers": _answers,
    "text": _free_text,
    "ranking": _ranking,
}
