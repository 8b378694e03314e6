"""The functions that an annotation may name under `function:`.

Each takes one value of a row and gives a JSON value. A value it cannot read skips the row, and
the reason is counted in the report.
"""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from pipeline.annotations.outcomes import RowSkipped, kind_of
from pipeline.annotations.views import VIEWS
from pipeline.errors import ParseError
from pipeline.functions import corpus_text
from pipeline.functions.bfcl_hints import with_language_hints
from pipeline.functions.calls import calls_from_json, calls_to_json, specs_from_json, specs_to_json
from pipeline.functions.dialogues import read_dialogue
from pipeline.functions.faults import FAULTS, first_fault
from pipeline.functions.granular import GRANULAR_TASKS, derive_target
from pipeline.functions.libraries import Drop, LibraryOptions, Mask, vary_library
from pipeline.functions.references import label_by_position
from pipeline.types import FunctionCall, FunctionSpec, Json

MAX_LITERAL_CHARACTERS = 1 << 20


def function_specs(value: Json) -> Json:
    """Return tool specs in any known spelling as `[{name, description, parameters}]`.

    Raises:
        RowSkipped: A spec cannot be read.
    """
    try:
        return specs_to_json(specs_from_json(value))
    except ParseError as error:
        raise RowSkipped(f"unreadable function specs ({error.code})") from error


def function_calls(value: Json, *, drop: list[str] | None = None) -> Json:
    """Return calls in any known spelling as `[{name, arguments[, label]}]`, labels by position.

    Args:
        value: The calls.
        drop: Names of pseudo calls to leave out, such as NESTFUL's `var_result`.

    Raises:
        RowSkipped: A call cannot be read.
    """
    try:
        calls = calls_from_json(value)
    except ParseError as error:
        raise RowSkipped(f"unreadable function calls ({error.code})") from error
    kept = [call for call in calls if call.name not in (drop or ())]
    return calls_to_json(label_by_position(kept))


def python_literal(value: Json) -> Json:
    """Return the value of a Python literal such as `['a', None]`; only literals are read.

    Raises:
        RowSkipped: `value` is no text, or no literal that JSON can hold.
    """
    if not isinstance(value, str):
        raise RowSkipped(f"{kind_of(value)} where a Python literal is needed")
    if len(value) > MAX_LITERAL_CHARACTERS:
        raise RowSkipped("a Python literal is too long")
    try:
        return _json_of(ast.literal_eval(value.strip()))
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:
        raise RowSkipped("unreadable Python literal") from error


def specs_in_text(value: Json) -> Json:
    """Return the function specs that a prompt lists, see `pipeline.functions.corpus_text`.

    Raises:
        RowSkipped: A spec cannot be read.
    """
    try:
        return specs_to_json(corpus_text.specs_in_text(_text_of(value)))
    except ParseError as error:
        raise RowSkipped(f"unreadable function specs ({error.code})") from error


def calls_in_text(value: Json) -> Json:
    """Return the calls of an answer in any dialect; prose gives none.

    Raises:
        RowSkipped: A call cannot be read.
    """
    try:
        return calls_to_json(corpus_text.calls_in_text(_text_of(value)))
    except ParseError as error:
        raise RowSkipped(f"unreadable function calls ({error.code})") from error


def top_calls(value: Json, *, unsupported: str = "UNSUPPORTED") -> Json:
    """Return the intents of a TOP parse as calls, the inner ones first.

    Args:
        value: The parse.
        unsupported: Start of the names of intents that no function serves.

    Raises:
        RowSkipped: The parse is not balanced, or an intent is not supported.
    """
    try:
        calls = corpus_text.top_calls(_text_of(value))
    except ParseError as error:
        raise RowSkipped(f"unreadable parse ({error.code})") from error
    if any(call.name.startswith(unsupported) for call in calls):
        raise RowSkipped("an unsupported intent")
    return calls_to_json(calls)


def dialogue(value: Json, *, form: str) -> Json:
    """Return the turns of a dialogue as messages, see `pipeline.functions.dialogues`.

    Raises:
        RowSkipped: A turn cannot be read.
    """
    try:
        return cast("Json", read_dialogue(value, form))
    except ParseError as error:
        raise RowSkipped(f"unreadable dialogue ({error.code})") from error


def library(
    value: Json,
    *,
    part: str = "functions",
    size: int | None = None,
    shuffle: bool = False,
    mask: Mask = "none",
    drop: Drop = "none",
    abstain: float = 0.0,
    skip: list[str] | None = None,
) -> Json:
    """Return the library a request is shown with, or its calls in the library's terms.

    Args:
        value: `{functions, calls}`, as the functions above give them, and `query`, without which
            all rows that call nothing are shown the same library.
        part: `functions` or `calls`; both parts of a row need the same options.
        size: See `pipeline.functions.libraries.LibraryOptions`, for this and the rest.
        shuffle: As there.
        mask: As there.
        drop: As there.
        abstain: As there.
        skip: Faults of calls for which a row is left out, names in `functions.faults.FAULTS`.

    Raises:
        RowSkipped: A spec or call cannot be read, an option is not allowed, or the calls have
            one of the faults.
    """
    row = cast("dict[str, Json]", value)
    if part == "calls" and row.get("calls") is None:
        return None  # no answer, which is not the answer "no call"
    options = LibraryOptions(size=size, shuffle=shuffle, mask=mask, drop=drop, abstain=abstain)
    try:
        specs, calls = _inner_specs(row), calls_from_json(row["calls"])
        fault = first_fault(specs, calls, skip or ())
        if fault is not None:
            raise RowSkipped(FAULTS[fault])
        shown, made = vary_library(specs, calls, options, query=row.get("query"))
    except ParseError as error:
        raise RowSkipped(f"unreadable library ({error.code})") from error
    except (KeyError, TypeError) as error:
        raise RowSkipped("a library without functions and calls") from error
    return specs_to_json(shown) if part == "functions" else calls_to_json(made)


def _inner_specs(row: dict[str, Json]) -> list[FunctionSpec]:
    """Return specs that are in the inner form already; reading them anew takes most of the time."""
    return [
        FunctionSpec(
            name=cast("str", spec["name"]),
            description=cast("str", spec["description"]),
            parameters=cast("dict[str, Json]", spec["parameters"]),
        )
        for spec in cast("list[dict[str, Json]]", row["functions"])
    ]


def slot_arguments(value: Json) -> Json:
    """Return `[{name, value}]` as arguments; a name that stands twice has a list of values.

    Raises:
        RowSkipped: There are no names and values.
    """
    found: dict[str, list[Json]] = {}
    for slot in value if isinstance(value, list) else [None]:
        if not isinstance(slot, dict) or not isinstance(slot.get("name"), str):
            raise RowSkipped("no names and values of slots")
        found.setdefault(str(slot["name"]), []).append(slot.get("value"))
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def bfcl_functions(value: Json, *, category: str) -> Json:
    """Return the specs of a BFCL row with the benchmark's hints on their language.

    Raises:
        RowSkipped: A spec is not of BFCL's form.
    """
    try:
        return with_language_hints(value, category)
    except ParseError as error:
        raise RowSkipped(f"unreadable function specs ({error.code})") from error


def granular(value: Json, *, view: str, part: str = "target") -> Json:
    """Return one part of a row in one of the views of `pipeline.annotations.views`.

    Args:
        value: `{calls}`; for the part `functions` also `functions`, for the view `response` the
            text under `response`; where a row may abstain, the calls before under `asked`: they
            say whether the row feeds the view.
        view: The view.
        part: `target`; `calls`: those that are already made, null without any; `functions`:
            those of the calls.

    Raises:
        RowSkipped: The row does not feed the view.
    """
    row = cast("dict[str, Json]", value)
    if row.get("calls") is None and view != "response":
        raise RowSkipped("null")
    try:
        calls = calls_from_json(row["calls"])
        task = VIEWS[view].task
        response = row.get("response")
        if view == "response" and not (isinstance(response, str) and response.strip()):
            raise RowSkipped("does not feed the view 'response'")
        asked = calls_from_json(row["asked"]) if row.get("asked") is not None else calls
        if task is not None and not GRANULAR_TASKS[task].applies(asked):
            raise RowSkipped(f"does not feed the view {view!r}")
        if part == "functions":
            return _called(cast("list[dict[str, Json]]", row["functions"]), calls)
        num_made = _num_made(calls) if view == "next" else len(calls)
        if part == "calls":
            return calls_to_json(calls[:num_made]) or None
        text = response if isinstance(response, str) else None
        return derive_target(VIEWS[view].granular, calls, num_made=num_made, response=text)
    except ParseError as error:
        raise RowSkipped(f"unreadable function calls ({error.code})") from error


def _called(functions: list[dict[str, Json]], calls: Sequence[FunctionCall]) -> Json:
    """Return the specs of the functions that are called."""
    names = {call.name for call in calls}
    return [function for function in functions if function["name"] in names]


def _num_made(calls: Sequence[FunctionCall]) -> int:
    """Return how many of the calls are made already: by a hash of the calls, below their number.

    The row's number would do as well, but would change with rows before it.
    """
    text = json.dumps(calls_to_json(calls), sort_keys=True)
    digest = hashlib.sha256(text.encode(errors="replace")).digest()
    return int.from_bytes(digest[:8], "big") % len(calls)


REGISTERED_FUNCTIONS: Mapping[str, Callable[..., Json]] = {
    "function_specs": function_specs,
    "function_calls": function_calls,
    "python_literal": python_literal,
    "granular": granular,
    "specs_in_text": specs_in_text,
    "calls_in_text": calls_in_text,
    "top_calls": top_calls,
    "dialogue": dialogue,
    "library": library,
    "slot_arguments": slot_arguments,
    "bfcl_functions": bfcl_functions,
}
"""All of them, by the name that annotations use."""


def _text_of(value: Json) -> str:
    if not isinstance(value, str):
        raise RowSkipped(f"{kind_of(value)} where text is needed")
    return value


def _json_of(value: object) -> Json:
    if isinstance(value, dict):
        return {str(key): _json_of(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json_of(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted((_json_of(item) for item in value), key=repr)
    if value is None or isinstance(value, bool | int | float | str):
        return cast("Json", value)
    raise ValueError(f"a {type(value).__name__} is no JSON value")
