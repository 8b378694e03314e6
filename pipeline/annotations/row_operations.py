"""Row operations: what an annotation does to rows before it reads fields from them.

`rows:` is an ordered list; each entry has one key that names the operation. Here they are parsed,
`row_evaluation` runs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import PurePosixPath

from pipeline.annotations import expressions as ex
from pipeline.annotations.outcomes import kind_of
from pipeline.annotations.parsing import parse_condition, parse_expression
from pipeline.errors import did_you_mean
from pipeline.types import SPLITS, Json, Split
from pipeline.yaml_reader import Loc, Problem, excerpt


@dataclass(frozen=True, slots=True)
class Let:
    """`{let: {name: expression}}`: names for values, which later entries and fields may use."""

    names: Mapping[str, ex.Expression]


@dataclass(frozen=True, slots=True)
class Where:
    """`{where: condition}`: keeps the rows that meet it."""

    condition: ex.Condition


@dataclass(frozen=True, slots=True)
class Explode:
    """`{explode: list, as: item, history: before}`: one row per element.

    Binds the element, its position as `index` and, when named, the list of elements before it.
    """

    items: ex.Expression
    name: str = "item"
    history: str | None = None


@dataclass(frozen=True, slots=True)
class Lookup:
    """`{lookup: {as: library, file: tool.jsonl, key: api_name, of: paths, distractors: 4}}`.

    Binds the rows of a side file whose `key` is among the values, in the order of the values. With
    `distractors` so many others, chosen by a stable hash of the row's number, stand among them,
    in an order that the hash gives too.
    """

    name: str
    file: str
    key: str
    of: ex.Expression
    distractors: int = 0
    missing: str = "error"
    """What a value without a row in the file does: `error`, `skip` the row, or `drop` it."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """`{pairs: {entities: list, relations: list, ...}}`: one row per pair of entities.

    Binds `head` and `tail` (entities) and `relation` (its type, or `none` where the pair has no
    relation; without `none` such pairs are left out).
    """

    entities: ex.Expression
    relations: ex.Expression
    id: str = "id"
    type: str = "type"
    head: str = "arg1_id"
    tail: str = "arg2_id"
    none: str | None = None
    head_types: tuple[str, ...] | None = None
    tail_types: tuple[str, ...] | None = None
    is_ordered: bool = False
    """Whether a pair without relation is listed in both directions."""
    where: ex.Condition | None = None


@dataclass(frozen=True, slots=True)
class Unique:
    """`{unique: key, conflict_of: value}`: the first row of each key; test comes first.

    With `conflict_of`, every row of a key that has two different values there is left out.
    """

    key: ex.Expression
    conflict_of: ex.Expression | None = None


@dataclass(frozen=True, slots=True)
class Holdout:
    """`{holdout: key}`: keys of test stay out of validation and train, and so on down."""

    key: ex.Expression


@dataclass(frozen=True, slots=True)
class SplitBy:
    """`{split_by: key, validation: 0.05, test: 0.05}`: new splits by a stable hash of a key."""

    key: ex.Expression
    validation: float = 0.0
    test: float = 0.0
    seed: int = 0
    origins: tuple[Split, ...] = SPLITS
    """Splits whose rows are dealt out; those of the others stay where they are."""

    def deals_to(self, split: Split) -> bool:
        """Return whether a split is made of rows that are dealt out."""
        share = {"train": 0.0, "validation": self.validation, "test": self.test}[split]
        return split in self.origins or share > 0


@dataclass(frozen=True, slots=True)
class CapPer:
    """`{cap_per: key, max: 100}`: at most so many rows of each key, the first ones."""

    key: ex.Expression
    max: int


Operation = Let | Where | Explode | Lookup | Pairs | Unique | Holdout | SplitBy | CapPer

_Map = dict[str, Json]


def parse_operations(value: Json, loc: Loc, problems: list[Problem]) -> tuple[Operation, ...]:
    """Return the operations that the list under `rows:` spells; mistakes go to `problems`."""
    if not isinstance(value, list):
        message = f"a list of row operations is needed, got {kind_of(value)}"
        problems.append(Problem(loc, "ANN130", message))
        return ()
    found = [_parse_operation(item, (*loc, i), problems) for i, item in enumerate(value)]
    return tuple(operation for operation in found if operation is not None)


def _parse_operation(value: Json, loc: Loc, problems: list[Problem]) -> Operation | None:
    if not isinstance(value, dict) or not value:
        message = f"an operation such as {{where: ...}} is needed, got {kind_of(value)}"
        problems.append(Problem(loc, "ANN130", message))
        return None
    head = next((key for key in value if key in OPERATIONS), None)
    if head is None:
        key = next(iter(value))
        hint = did_you_mean(key, OPERATIONS)
        problems.append(Problem((*loc, key), "ANN131", f"no row operation {excerpt(key)}", hint))
        return None
    rule = OPERATIONS[head]
    _check_keys(value, (head, *rule.keys), loc, problems)
    return rule.build(value, loc, problems)


def _check_keys(value: _Map, allowed: tuple[str, ...], loc: Loc, problems: list[Problem]) -> None:
    for key in value:
        if key not in allowed:
            hint = did_you_mean(key, allowed)
            problems.append(Problem((*loc, key), "ANN101", f"unknown key {excerpt(key)}", hint))


def _wrong(loc: Loc, needed: str, got: Json, problems: list[Problem]) -> None:
    problems.append(Problem(loc, "ANN132", f"{needed} is needed, got {kind_of(got)}"))


def _name(value: _Map, key: str, loc: Loc, problems: list[Problem]) -> str | None:
    found = value.get(key)
    if found is None and key not in value:
        return None
    if not isinstance(found, str) or not found.isidentifier():
        _wrong((*loc, key), "a name of letters, digits and _", found, problems)
        return None
    return found


def _let(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    given = value["let"]
    if not isinstance(given, dict) or not given:
        _wrong((*loc, "let"), "a map from names to expressions", given, problems)
        given = {}
    names = {}
    for name, inner in given.items():
        if not name.isidentifier():
            _wrong((*loc, "let", name), "a name of letters, digits and _", name, problems)
        names[name] = parse_expression(inner, (*loc, "let", name), problems)
    return Let(names)


def _where(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    return Where(parse_condition(value["where"], (*loc, "where"), problems))


def _explode(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    return Explode(
        parse_expression(value["explode"], (*loc, "explode"), problems),
        _name(value, "as", loc, problems) or "item",
        _name(value, "history", loc, problems),
    )


def _inner(given: Json, loc: Loc, rule: _InnerKeys, problems: list[Problem]) -> _Map:
    """Return the map at `loc` once its keys are checked, else an empty one."""
    if not isinstance(given, dict):
        _wrong(loc, f"a map with {', '.join(rule.required)}", given, problems)
        return {}
    _check_keys(given, (*rule.required, *rule.optional), loc, problems)
    missing = [key for key in rule.required if key not in given]
    for key in missing:
        problems.append(Problem(loc, "ANN132", f"the key {key!r} is missing"))
    return {} if missing else given


def _lookup(value: _Map, loc: Loc, problems: list[Problem]) -> Operation | None:
    given = _inner(value["lookup"], (*loc, "lookup"), _LOOKUP_KEYS, problems)
    if not given:
        return None
    at = (*loc, "lookup")
    file, key = given["file"], given["key"]
    if not isinstance(file, str) or not _is_inside(file):
        _wrong((*at, "file"), "a file of the dataset, as a relative path,", file, problems)
    if not isinstance(key, str):
        _wrong((*at, "key"), "a column of the file", key, problems)
    distractors = _whole(given, "distractors", at, problems, default=0)
    missing = given.get("missing", "error")
    if missing not in {"error", "skip", "drop"}:
        _wrong((*at, "missing"), "error, skip or drop", missing, problems)
    of = parse_expression(given["of"], (*at, "of"), problems)
    name = _name(given, "as", at, problems) or "found"
    return Lookup(name, str(file), str(key), of, distractors, str(missing))


def _is_inside(file: str) -> bool:
    path = PurePosixPath(file)
    return bool(file) and not path.is_absolute() and ".." not in path.parts and "\\" not in file


def _pairs(value: _Map, loc: Loc, problems: list[Problem]) -> Operation | None:
    given = _inner(value["pairs"], (*loc, "pairs"), _PAIRS_KEYS, problems)
    if not given:
        return None
    at = (*loc, "pairs")
    texts = {}
    for key in ("id", "type", "head", "tail", "none"):
        if key in given:
            texts[key] = str(given[key])
            if not isinstance(given[key], str):
                _wrong((*at, key), "text", given[key], problems)
    ordered = given.get("ordered", False)
    if not isinstance(ordered, bool):
        _wrong((*at, "ordered"), "true or false", ordered, problems)
    where = None
    if "where" in given:
        where = parse_condition(given["where"], (*at, "where"), problems)
    return Pairs(
        parse_expression(given["entities"], (*at, "entities"), problems),
        parse_expression(given["relations"], (*at, "relations"), problems),
        **texts,
        head_types=_types(given, "head_types", at, problems),
        tail_types=_types(given, "tail_types", at, problems),
        is_ordered=ordered is True,
        where=where,
    )


def _types(value: _Map, key: str, loc: Loc, problems: list[Problem]) -> tuple[str, ...] | None:
    found = value.get(key)
    if found is None:
        return None
    if not isinstance(found, list) or not all(isinstance(item, str) for item in found):
        _wrong((*loc, key), "a list of entity types", found, problems)
        return None
    return tuple(str(item) for item in found)


def _unique(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    conflict = None
    if "conflict_of" in value:
        conflict = parse_expression(value["conflict_of"], (*loc, "conflict_of"), problems)
    return Unique(parse_expression(value["unique"], (*loc, "unique"), problems), conflict)


def _holdout(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    return Holdout(parse_expression(value["holdout"], (*loc, "holdout"), problems))


def _split_by(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    shares = [_share(value, key, loc, problems) for key in ("validation", "test")]
    if not 0 < sum(shares) < 1:
        message = "`validation` and `test` together need a share above 0 and below 1"
        problems.append(Problem(loc, "ANN132", message))
    key = parse_expression(value["split_by"], (*loc, "split_by"), problems)
    seed = _whole(value, "seed", loc, problems, default=0)
    origins = SPLITS
    if "from" in value:
        found = value["from"]
        if found in SPLITS:
            origins = (found,)
        else:
            _wrong((*loc, "from"), "one of train, validation, test", found, problems)
    return SplitBy(key, shares[0], shares[1], seed, origins)


def _cap_per(value: _Map, loc: Loc, problems: list[Problem]) -> Operation:
    limit = _whole(value, "max", loc, problems, default=0)
    if limit < 1:
        problems.append(Problem(loc, "ANN132", "`cap_per` needs `max`, at least 1"))
    return CapPer(parse_expression(value["cap_per"], (*loc, "cap_per"), problems), limit)


def _share(value: _Map, key: str, loc: Loc, problems: list[Problem]) -> float:
    found = value.get(key, 0)
    if not isinstance(found, int | float) or isinstance(found, bool) or not 0 <= found < 1:
        _wrong((*loc, key), "a share from 0 up to 1", found, problems)
        return 0.0
    return float(found)


def _whole(value: _Map, key: str, loc: Loc, problems: list[Problem], *, default: int) -> int:
    found = value.get(key, default)
    if not isinstance(found, int) or isinstance(found, bool) or found < 0:
        _wrong((*loc, key), "a whole number from 0", found, problems)
        return default
    return found


@dataclass(frozen=True, slots=True)
class _InnerKeys:
    required: tuple[str, ...]
    optional: tuple[str, ...]


_LOOKUP_KEYS = _InnerKeys(("as", "file", "key", "of"), ("distractors", "missing"))
_PAIRS_KEYS = _InnerKeys(
    ("entities", "relations"),
    ("id", "type", "head", "tail", "none", "head_types", "tail_types", "ordered", "where"),
)


@dataclass(frozen=True, slots=True)
class OperationRule:
    """Keys of an operation beside its first, and its reader."""

    build: Callable[[_Map, Loc, list[Problem]], Operation | None]
    keys: tuple[str, ...] = ()


OPERATIONS: dict[str, OperationRule] = {
    "let": OperationRule(_let),
    "where": OperationRule(_where),
    "explode": OperationRule(_explode, ("as", "history")),
    "lookup": OperationRule(_lookup),
    "pairs": OperationRule(_pairs),
    "unique": OperationRule(_unique, ("conflict_of",)),
    "holdout": OperationRule(_holdout),
    "split_by": OperationRule(_split_by, ("validation", "test", "seed", "from")),
    "cap_per": OperationRule(_cap_per, ("max",)),
}
"""Every row operation by its key; a new one is added here and in `row_evaluation`."""
