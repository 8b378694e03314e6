"""Row operations at work: from the rows of the source to the rows that fields are read from.

Everything streams. What must be remembered is one hash per different key, for the operations that
compare rows with each other (`unique`, `holdout`, `cap_per`): 11 to 22 bytes, twice that for
`cap_per` and `conflict_of`, see `key_sets`. `split_by` and all others remember nothing. Operations
that look across splits read the other splits again, as far as the operations before them.
"""

from __future__ import annotations

import contextlib
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from pipeline.annotations import row_operations as ops
from pipeline.annotations.cleaning import list_of
from pipeline.annotations.evaluation import (
    Evaluator,
    Functions,
    Test,
    compile_condition,
    compile_expression,
)
from pipeline.annotations.key_sets import KeyNumbers, KeySet
from pipeline.annotations.outcomes import RowSkipped, raw_key
from pipeline.annotations.paths import Scope
from pipeline.annotations.row_hashes import hash_fraction, key_hash, key_number, with_distractors
from pipeline.errors import AnnotationError
from pipeline.types import SPLITS, Json, Split

if TYPE_CHECKING:
    from pipeline.annotations.schema import DatasetAnnotation

Row = tuple[str, Scope]
"""Name of a row inside its split, and its columns and bound names."""

SplitRows = Callable[[Split], Iterable[tuple[int | str, Scope]]]
"""Opens the source rows of a split; called again for each pass, with the same rows."""

SideFile = Callable[[str], Sequence[dict[str, Json]]]
"""Gives the rows of a side file of the dataset by its name."""

MAX_EXPLODED = 100_000
"""A single row that gives more rows than this is a mistake."""


@dataclass(frozen=True, slots=True)
class RowSettings:
    """What row operations need from outside."""

    functions: Functions
    side_file: SideFile | None = None


class RowPipeline:
    """The row operations of one annotation, ready to run."""

    def __init__(
        self,
        annotation: DatasetAnnotation,
        *,
        functions: Functions | None = None,
        side_file: SideFile | None = None,
    ) -> None:
        """Compile the operations of `annotation`.

        Args:
            annotation: Of one task, see `expanded`.
            functions: Implementations of the functions that `function:` may name.
            side_file: Reads the files that `lookup` names.

        Raises:
            AnnotationError: A function, a side file or a regular expression cannot be used.
        """
        self._annotation = annotation
        settings = RowSettings(functions or {}, side_file)
        self._steps: list[_Step] = []
        for position, operation in enumerate(annotation.rows):
            where = annotation.mark(("rows", position))
            try:
                self._steps.append(_BUILDERS[type(operation)](operation, settings))
            except AnnotationError as error:
                error.where = error.where or where
                raise
            except ValueError as error:
                message = str(error).splitlines()[0]
                raise AnnotationError("ANN206", message, where=where) from error
        self.skipped: Counter[str] = Counter()
        """How often each operation left a row out, by reason; counts the asked split only."""

    @property
    def is_row_by_row(self) -> bool:
        """Whether each row is treated by itself, so that rows may be processed in any order."""
        return all(isinstance(step, _RowStep) for step in self._steps)

    def expand(self, name: int | str, row: Scope) -> Iterator[Row]:
        """Yield what one source row becomes; only for pipelines that are row by row."""
        if not self.is_row_by_row:
            raise ValueError("this annotation compares rows with each other; use `run`")
        return self._run_steps(len(self._steps), lambda _: [(name, row)], "train", self.skipped)

    def run(self, split: Split, open_split: SplitRows) -> Iterator[Row]:
        """Yield the rows of `split` after all operations, in the order of the source.

        Args:
            split: Which split.
            open_split: Opens the source rows of any split; a split without source has none.

        Raises:
            AnnotationError: A value that an operation does not know.
        """
        return self._run_steps(len(self._steps), open_split, split, self.skipped)

    def _run_steps(
        self, count: int, open_split: SplitRows, split: Split, skipped: Counter[str]
    ) -> Iterator[Row]:
        if count == 0:
            return ((str(name), row) for name, row in open_split(split))
        step = self._steps[count - 1]

        def before(of: Split) -> Iterator[Row]:
            # Rows of other splits are only looked at, so what they lose is not counted.
            counted = skipped if of == split else Counter()
            return self._run_steps(count - 1, open_split, of, counted)

        if isinstance(step, _RowStep):
            rows = self._row_by_row(step, count - 1, before(split), skipped)
        else:
            rows = step.run(split, before, skipped)
        return self._located(rows, count - 1)

    def _row_by_row(
        self, step: _RowStep, position: int, rows: Iterable[Row], skipped: Counter[str]
    ) -> Iterator[Row]:
        for name, row in rows:
            try:
                yield from step.run(name, row)
            except RowSkipped as reason:
                skipped[f"rows[{position}]: {reason.reason}"] += 1
            except AnnotationError as error:
                error.message = f"row {name}: {error.message}"
                raise

    def _located(self, rows: Iterator[Row], position: int) -> Iterator[Row]:
        """Yield `rows`; an error that has no place yet gets that of the operation."""
        try:
            yield from rows
        except AnnotationError as error:
            if error.where is None:
                error.where = self._annotation.mark(("rows", position))
                error.message = f"rows[{position}]: {error.message}"
            raise


@dataclass(frozen=True, slots=True)
class _RowStep:
    """An operation that treats each row by itself."""

    run: Callable[[str, Scope], Iterable[Row]]


@dataclass(frozen=True, slots=True)
class _SplitStep:
    """An operation that compares rows, in one split or across splits."""

    run: Callable[[Split, Callable[[Split], Iterator[Row]], Counter[str]], Iterator[Row]]


_Step = _RowStep | _SplitStep


# --- row by row --------------------------------------------------------------------------------


def _let(operation: ops.Let, settings: RowSettings) -> _Step:
    names = {
        name: compile_expression(value, settings.functions)
        for name, value in operation.names.items()
    }

    def run(name: str, row: Scope) -> Iterable[Row]:
        inner = dict(row)
        for bound, evaluate in names.items():
            inner[bound] = evaluate(inner)
        yield name, inner

    return _RowStep(run)


def _where(operation: ops.Where, settings: RowSettings) -> _Step:
    test: Test = compile_condition(operation.condition, settings.functions)

    def run(name: str, row: Scope) -> Iterable[Row]:
        if not test(row):
            raise RowSkipped("where")
        yield name, row

    return _RowStep(run)


def _explode(operation: ops.Explode, settings: RowSettings) -> _Step:
    items = compile_expression(operation.items, settings.functions)

    def run(name: str, row: Scope) -> Iterable[Row]:
        elements = list_of(items(row))
        if len(elements) > MAX_EXPLODED:
            raise RowSkipped("more elements than are allowed")
        for index, item in enumerate(elements):
            inner = {**row, operation.name: item, "index": index}
            if operation.history is not None:
                inner[operation.history] = elements[:index]
            yield f"{name}.{index}", inner

    return _RowStep(run)


def _lookup(operation: ops.Lookup, settings: RowSettings) -> _Step:
    of = compile_expression(operation.of, settings.functions)
    if settings.side_file is None:
        raise AnnotationError("ANN209", f"the side file {operation.file!r} is not available here")
    rows = settings.side_file(operation.file)
    by_key: dict[str, dict[str, Json]] = {}
    for side in rows:
        key = raw_key(side.get(operation.key))
        if key is not None:
            by_key.setdefault(key, side)
    if not by_key:
        message = f"no row of {operation.file!r} has a value in the column {operation.key!r}"
        raise AnnotationError("ANN210", message)
    keys, count = list(by_key), operation.distractors

    def run(name: str, row: Scope) -> Iterable[Row]:
        values = of(row)
        wanted = [raw_key(v) for v in (values if isinstance(values, list) else [values])]
        found: dict[str, Json] = {}
        for key in wanted:
            if key is not None and key in by_key:
                found[key] = by_key[key]
            elif operation.missing == "skip":
                raise RowSkipped("lookup finds no row")
            elif operation.missing == "error":
                message = f"`lookup` finds no row with {operation.key} {key!r}"
                raise AnnotationError("ANN211", message, hint="Add `missing: skip` or `drop`")
        shown = with_distractors(name, found, keys=keys, by_key=by_key, count=count)
        yield name, {**row, operation.name: shown}

    return _RowStep(run)


def _pairs(operation: ops.Pairs, settings: RowSettings) -> _Step:
    entities = compile_expression(operation.entities, settings.functions)
    relations = compile_expression(operation.relations, settings.functions)
    test = compile_condition(operation.where, settings.functions) if operation.where else None

    def run(name: str, row: Scope) -> Iterable[Row]:
        known = {
            str(entity.get(operation.id)): entity
            for entity in list_of(entities(row))
            if isinstance(entity, dict)
        }
        stated = _stated_relations(operation, known, list_of(relations(row)))
        for number, (head, tail) in enumerate(_candidate_pairs(operation, known, stated)):
            relation = stated.get((head, tail), operation.none)
            inner = {**row, "head": known[head], "tail": known[tail], "relation": relation}
            if test is None or test(inner):
                yield f"{name}.{number}", inner

    return _RowStep(run)


_Ids = tuple[str, str]


def _stated_relations(
    operation: ops.Pairs, known: Mapping[str, Json], relations: list[Json]
) -> dict[_Ids, Json]:
    stated: dict[_Ids, Json] = {}
    for relation in relations:
        if isinstance(relation, dict):
            ids = str(relation.get(operation.head)), str(relation.get(operation.tail))
            if ids[0] in known and ids[1] in known:
                stated.setdefault(ids, relation.get(operation.type))
    return stated


def _candidate_pairs(
    operation: ops.Pairs, known: Mapping[str, dict[str, Json]], stated: Mapping[_Ids, Json]
) -> Iterator[_Ids]:
    """Yield the stated pairs, and with `none` those without a relation, in entity order."""
    if operation.none is None:
        yield from (ids for ids in stated if _fits(operation, known, ids))
        return
    for first, second in itertools.combinations(known, 2):
        both = ((first, second), (second, first))
        fitting = [ids for ids in both if _fits(operation, known, ids)]
        told = [ids for ids in fitting if ids in stated]
        yield from fitting if operation.is_ordered else told or fitting[:1]


def _fits(operation: ops.Pairs, known: Mapping[str, dict[str, Json]], ids: _Ids) -> bool:
    wanted = (operation.head_types, operation.tail_types)
    return all(
        types is None or known[entity].get(operation.type) in types
        for entity, types in zip(ids, wanted, strict=True)
    )


# --- rows compared with each other -------------------------------------------------------------

_Before = Callable[[Split], Iterator[Row]]


def _more_held_out(split: Split) -> tuple[Split, ...]:
    """Return the splits that keep a key when `split` has it too."""
    return SPLITS[SPLITS.index(split) + 1 :]


def _keyed(
    key: Evaluator, rows: Iterable[Row], skipped: Counter[str]
) -> Iterator[tuple[bytes, str, Scope]]:
    """Yield each row with the hash of its key; rows without a key are left out."""
    for name, row in rows:
        try:
            found = key(row)
        except RowSkipped as reason:
            skipped[f"key: {reason.reason}"] += 1
            continue
        if found is None:  # not one key that all such rows share
            skipped["key: null"] += 1
            continue
        yield key_hash(found), name, row


def _hash_of(value: Evaluator, row: Scope) -> Iterator[bytes]:
    """Yield the hash of a value, null included; nothing where it cannot be computed."""
    with contextlib.suppress(RowSkipped):
        yield key_hash(value(row))


def _keys_of(key: Evaluator, before: _Before, splits: Sequence[Split]) -> KeySet:
    ignored: Counter[str] = Counter()
    keys = KeySet()
    for split in splits:
        for found, _, _ in _keyed(key, before(split), ignored):
            keys.add(key_number(found))
    return keys


def _unique(operation: ops.Unique, settings: RowSettings) -> _Step:
    key = compile_expression(operation.key, settings.functions)
    conflict = None
    if operation.conflict_of is not None:
        conflict = compile_expression(operation.conflict_of, settings.functions)

    def run(split: Split, before: _Before, skipped: Counter[str]) -> Iterator[Row]:
        held = _keys_of(key, before, _more_held_out(split))
        values = _values_of(key, conflict, before) if conflict else None
        seen = KeySet()
        for found, name, row in _keyed(key, before(split), skipped):
            number = key_number(found)
            if values is not None and values[number] == _CONFLICT:
                skipped["unique: conflict"] += 1
            elif number in held or number in seen:
                skipped["unique: repeated"] += 1
            else:
                seen.add(number)
                yield name, row

    return _SplitStep(run)


_CONFLICT = 1
"""Stands for a key with two values."""


def _values_of(key: Evaluator, conflict: Evaluator, before: _Before) -> KeyNumbers:
    """Return a hash of each key's value over all splits, `_CONFLICT` where there are two."""
    values = KeyNumbers()
    ignored: Counter[str] = Counter()
    for split in SPLITS:
        for found, _, row in _keyed(key, before(split), ignored):
            number = key_number(found)
            for value in _hash_of(conflict, row):
                hashed = max(key_number(value), _CONFLICT + 1)
                if values[number] in (0, hashed):
                    values[number] = hashed
                else:
                    values[number] = _CONFLICT
    return values


def _holdout(operation: ops.Holdout, settings: RowSettings) -> _Step:
    key = compile_expression(operation.key, settings.functions)

    def run(split: Split, before: _Before, skipped: Counter[str]) -> Iterator[Row]:
        held = _keys_of(key, before, _more_held_out(split))
        for found, name, row in _keyed(key, before(split), skipped):
            if key_number(found) in held:
                skipped["holdout"] += 1
            else:
                yield name, row

    return _SplitStep(run)


def _split_by(operation: ops.SplitBy, settings: RowSettings) -> _Step:
    key = compile_expression(operation.key, settings.functions)
    borders = (operation.test, operation.test + operation.validation)
    salt = operation.seed.to_bytes(8)

    def assigned(found: bytes) -> Split:
        share = hash_fraction(salt + found)
        return "test" if share < borders[0] else "validation" if share < borders[1] else "train"

    def run(split: Split, before: _Before, skipped: Counter[str]) -> Iterator[Row]:
        has_others = split not in operation.origins
        if has_others:
            yield from before(split)
        for origin in operation.origins if operation.deals_to(split) else ():
            for found, name, row in _keyed(key, before(origin), skipped):
                if assigned(found) == split:
                    # Numbers of different source splits would collide without their names.
                    is_plain = origin == "train" and not has_others
                    yield (name if is_plain else f"{origin}-{name}"), row

    return _SplitStep(run)


def _cap_per(operation: ops.CapPer, settings: RowSettings) -> _Step:
    key = compile_expression(operation.key, settings.functions)

    def run(split: Split, before: _Before, skipped: Counter[str]) -> Iterator[Row]:
        counts = KeyNumbers()
        for found, name, row in _keyed(key, before(split), skipped):
            number = key_number(found)
            count = counts[number]
            if count < operation.max:
                counts[number] = count + 1
                yield name, row
            else:
                skipped["cap_per"] += 1

    return _SplitStep(run)


_BUILDERS = cast(
    "dict[type, Callable[[ops.Operation, RowSettings], _Step]]",
    {
        ops.Let: _let,
        ops.Where: _where,
        ops.Explode: _explode,
        ops.Lookup: _lookup,
        ops.Pairs: _pairs,
        ops.Unique: _unique,
        ops.Holdout: _holdout,
        ops.SplitBy: _split_by,
        ops.CapPer: _cap_per,
    },
)
