"""The closed expression language: what a field's value may be made of.

Every form is one frozen dataclass. `parsing` builds them from YAML, `evaluation` runs them and
`columns` lists the paths they read; a new form is added to those three closed tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from pipeline.annotations.cleaning import Step as CleanStep
from pipeline.annotations.paths import Path
from pipeline.types import Json
from pipeline.yaml_reader import Loc

FUNCTION_NAMES: tuple[str, ...] = (
    "function_specs",
    "function_calls",
    "python_literal",
    "granular",
    "specs_in_text",
    "calls_in_text",
    "top_calls",
    "dialogue",
    "library",
    "slot_arguments",
    "bfcl_functions",
)
"""Functions that `function:` may name; they are implemented in `pipeline.examples`."""


@dataclass(frozen=True, slots=True)
class Const:
    """`{const: value}`, or a bare number or boolean."""

    value: Json


@dataclass(frozen=True, slots=True)
class Column:
    """A path, written as plain text."""

    path: Path
    loc: Loc = field(default=(), compare=False)
    """Where the annotation says it, below the annotation's root."""


@dataclass(frozen=True, slots=True)
class Listed:
    """`[a, b]`: a list of values."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """`{text: "{a} of {b}", with: {b: expression}}`: plain substitution, one pass."""

    parts: tuple[str | Expression, ...]


@dataclass(frozen=True, slots=True)
class Join:
    """`{join: list, sep: " ", skip: [null]}`: a list as one text."""

    items: Expression
    sep: str = " "
    skip: tuple[Json, ...] = ()
    strip: bool = False


@dataclass(frozen=True, slots=True)
class Concat:
    """`{concat: [a, b]}`: lists one after the other; what is no list counts as one element."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Otherwise:
    """What happens when nothing matches."""

    action: Literal["error", "skip", "keep", "value"] = "error"
    value: Expression | None = None
    """Used by the action `value`."""


@dataclass(frozen=True, slots=True)
class Map:
    """`{map: a, to: {raw: expression}, else: error}`: a table from raw values to others."""

    value: Expression
    to: Mapping[str, Expression]
    otherwise: Otherwise = Otherwise()


@dataclass(frozen=True, slots=True)
class Find:
    """`{find: a, in: list, else: error}`: position of a value in a list, from 0."""

    value: Expression
    among: Expression
    otherwise: Otherwise = Otherwise()


@dataclass(frozen=True, slots=True)
class Bin:
    """`{bin: a, at: [0.5], to: [low, high]}`: `to[i]` where `i` borders are at or below `a`.

    With `strict: true` only the borders below `a` count.
    """

    value: Expression
    at: tuple[float, ...]
    to: tuple[Json, ...]
    strict: bool = False


@dataclass(frozen=True, slots=True)
class If:
    """`{if: condition, then: a, else: b}`; without `else` the value is null."""

    condition: Condition
    then: Expression
    otherwise: Expression


@dataclass(frozen=True, slots=True)
class Each:
    """`{each: list, do: expression, where: condition}`; binds `item` and `index`."""

    items: Expression
    do: Expression
    where: Condition | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """`{count: list}`: its length; with `of: [a, b]` how often each value occurs."""

    items: Expression
    of: tuple[Json, ...] | None = None


@dataclass(frozen=True, slots=True)
class MarkedSpan:
    """One span of `mark`; `end` is exclusive."""

    name: str
    start: Expression
    end: Expression | None = None
    text: Expression | None = None
    """The mention; gives the end where there is none and is checked where there is."""


@dataclass(frozen=True, slots=True)
class Mark:
    """`{mark: text, spans: [{name: A, start: s, end: e}]}`: `... [A] mention [/A] ...`."""

    text: Expression
    spans: tuple[MarkedSpan, ...]
    blanks: bool = True
    """Whether a blank stands between the marks and the mention."""


@dataclass(frozen=True, slots=True)
class Clean:
    """`{clean: a, steps: [strip, lower]}`."""

    value: Expression
    steps: tuple[CleanStep, ...]


@dataclass(frozen=True, slots=True)
class Record:
    """`{record: {name: expression}}`: a mapping; null members stay null."""

    members: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Get:
    """`{get: a, path: b.c[0]}`: a path into a computed value."""

    value: Expression
    path: Path


@dataclass(frozen=True, slots=True)
class ParsedJson:
    """`{json: a}`: the value of a JSON text; a value that is no text is kept."""

    value: Expression


@dataclass(frozen=True, slots=True)
class Spans:
    """`{spans: tags, tokens: tokens}`: tagged tokens as a list of mentions."""

    tags: Expression
    tokens: Expression
    scheme: Literal["bio", "io"] = "bio"
    type: str | None = None
    """Type of tags that name none, such as a bare `B`."""


@dataclass(frozen=True, slots=True)
class Flags:
    """`{flags: {name: expression}}` or `{flags: list}`: names, or positions, of what is truthy."""

    members: Mapping[str, Expression] | None
    items: Expression | None = None


@dataclass(frozen=True, slots=True)
class First:
    """`{first: [a, b]}`: the first value that is neither null nor empty text."""

    items: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Pick:
    """`{pick: list, at: a}`: the element at a position, or member of a map."""

    items: Expression
    at: Expression


@dataclass(frozen=True, slots=True)
class Majority:
    """`{majority: list}`: the most frequent value; a tie skips the row."""

    items: Expression


@dataclass(frozen=True, slots=True)
class Mean:
    """`{mean: list}`: the mean of numbers."""

    items: Expression


@dataclass(frozen=True, slots=True)
class Argmax:
    """`{argmax: list}`: position, or member of a map, of the largest number; a tie skips."""

    items: Expression


@dataclass(frozen=True, slots=True)
class Zip:
    """`{zip: {q: list, a: list}}`: lists of one length as one list of maps."""

    members: Mapping[str, Expression]


@dataclass(frozen=True, slots=True)
class Sort:
    """`{sort: list, by: item.score, descending: true}`: stable; binds `item` and `index`."""

    items: Expression
    by: Expression
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Function:
    """`{function: name, of: a, options: {...}}`: a function of this package, by its name."""

    name: str
    of: Expression
    options: Mapping[str, Json]


Expression = (
    Const
    | Column
    | Listed
    | Text
    | Join
    | Concat
    | Map
    | Find
    | Bin
    | If
    | Each
    | Count
    | Mark
    | Clean
    | Record
    | Get
    | ParsedJson
    | Spans
    | Flags
    | First
    | Pick
    | Majority
    | Mean
    | Argmax
    | Zip
    | Sort
    | Function
)

Comparison = Literal[
    "eq",
    "ne",
    "lt",
    "le",
    "gt",
    "ge",
    "in",
    "not_in",
    "null",
    "truthy",
    "contains",
    "starts",
    "ends",
    "matches",
    "is",
]


@dataclass(frozen=True, slots=True)
class Compare:
    """`{of: a, eq: value}`."""

    of: Expression
    comparison: Comparison
    value: Json
    """What is compared with, unless `other` is given."""
    other: Expression | None = None
    """From `{value_of: expression}`."""


@dataclass(frozen=True, slots=True)
class AllOf:
    """`{all: [condition, ...]}`."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`{any: [condition, ...]}`."""

    conditions: tuple[Condition, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`{not: condition}`."""

    condition: Condition


Condition = Compare | AllOf | AnyOf | Not
