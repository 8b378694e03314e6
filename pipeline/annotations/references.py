"""Which paths an expression reads, and in which order fields must be computed."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping

from pipeline.annotations import expressions as ex
from pipeline.annotations.paths import Path
from pipeline.yaml_reader import Loc


@dataclasses.dataclass(frozen=True, slots=True)
class PathUse:
    """A path in an annotation, and where it is written."""

    path: Path
    loc: Loc


def column_uses(
    node: ex.Expression | ex.Condition, bound: frozenset[str] = frozenset()
) -> Iterator[PathUse]:
    """Yield every path below `node` that does not begin with a name in `bound`."""
    if isinstance(node, ex.Column):
        if node.path.root not in bound:
            yield PathUse(node.path, node.loc)
        return
    if isinstance(node, ex.Each):
        yield from column_uses(node.items, bound)
        inner = bound | {"item", "index"}
        for part in (node.do, node.where):
            if part is not None:
                yield from column_uses(part, inner)
        return
    if isinstance(node, ex.Sort):
        yield from column_uses(node.items, bound)
        yield from column_uses(node.by, bound | {"item", "index"})
        return
    for child in _children(node):
        yield from column_uses(child, bound)


def _children(node: object) -> Iterator[ex.Expression | ex.Condition]:
    """Yield the expressions and conditions that are direct members of a form."""
    for member in dataclasses.fields(node):  # type: ignore[arg-type]
        value = getattr(node, member.name)
        if isinstance(value, Mapping):
            value = tuple(value.values())
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, ex.MarkedSpan | ex.Otherwise):
                yield from _children(part)
            elif isinstance(part, ex.Expression | ex.Condition):
                yield part


def computed_names(node: ex.Expression) -> set[str]:
    """Return the fields that `node` reads as `$name`."""
    roots = (use.path.root for use in column_uses(node))
    return {root.removeprefix("$") for root in roots if root.startswith("$")}


def evaluation_order(fields: Mapping[str, ex.Expression]) -> list[str]:
    """Return the field names so that each comes after those it reads as `$name`.

    Raises:
        ValueError: Fields read each other in a circle; the message names one of them.
    """
    needs = {name: computed_names(field) & set(fields) for name, field in fields.items()}
    order: list[str] = []
    while len(order) < len(fields):
        ready = [n for n in fields if n not in order and needs[n] <= set(order)]
        if not ready:
            stuck = next(name for name in fields if name not in order)
            raise ValueError(stuck)
        order.extend(ready)
    return order


def functions_in(*parts: object) -> Iterator[str]:
    """Yield the name of every `function:` in expressions, conditions and row operations."""
    for part in parts:
        if isinstance(part, ex.Function):
            yield part.name
        if isinstance(part, Mapping):
            yield from functions_in(*part.values())
        elif isinstance(part, tuple):
            yield from functions_in(*part)
        elif dataclasses.is_dataclass(part) and not isinstance(part, Path | type):
            members = dataclasses.fields(part)
            yield from functions_in(*(getattr(part, member.name) for member in members))
