"""The granular function-calling tasks: several views of the same (functions, calls) row.

The seven tasks are those of Granite-20B-FunctionCalling (arXiv:2407.00121). Which rows feed which
task is this project's own, because it is not published; so is the wording of the instructions,
which is in `pipeline.annotations.views`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.errors import ParseError, did_you_mean
from pipeline.functions.calls import calls_to_json
from pipeline.functions.references import is_nested
from pipeline.types import FunctionCall, Json

Granular = Literal["calls", "names", "parameters", "next", "response"]
"""Value of the setting `granular` of a function-calling task: the shape of its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GranularTask:
    """One of the seven tasks."""

    name: str
    granular: Granular
    applies: Callable[[Sequence[FunctionCall]], bool]
    """Whether a row with these calls can feed the task."""


def derive_target(
    granular: str, calls: Sequence[FunctionCall], *, num_made: int = 0, response: str | None = None
) -> Json:
    """Return what the model must answer in one view of a row.

    Args:
        granular: One of `Granular`.
        calls: The row's calls in order.
        num_made: For `next`, how many calls are already in the conversation.
        response: For `response`, the assistant's text.

    Returns:
        `calls`: list of `{name, arguments[, label]}`; `names`: list of names in order, repeats
        kept; `parameters`: the first call's arguments; `next`: the next function's name;
        `response`: the text.

    Raises:
        ParseError: `FUN501` unknown view, `FUN502` the row lacks what the view needs.
    """
    if granular == "calls":
        return calls_to_json(calls)
    if granular == "names":
        return [call.name for call in calls]
    if granular == "parameters" and calls:
        return dict(calls[0].arguments)
    if granular == "next" and 0 <= num_made < len(calls):
        return calls[num_made].name
    if granular == "response" and response is not None:
        return response
    known = ("calls", "names", "parameters", "next", "response")
    if granular not in known:
        raise ParseError(
            "FUN501", f"unknown granular view {granular!r}", hint=did_you_mean(granular, known)
        )
    raise ParseError(
        "FUN502", f"a row of {len(calls)} calls, {num_made} made, has no target for {granular!r}"
    )


def _is_chain(calls: Sequence[FunctionCall]) -> bool:
    return len(calls) > 1


def _is_parallel(calls: Sequence[FunctionCall]) -> bool:
    return len({call.name for call in calls}) < len(calls)


def _has_call(calls: Sequence[FunctionCall]) -> bool:
    return len(calls) > 0


def _is_single(calls: Sequence[FunctionCall]) -> bool:
    return len(calls) == 1


def _always(calls: Sequence[FunctionCall]) -> bool:
    return True


GRANULAR_TASKS: dict[str, GranularTask] = {
    "nested_calling": GranularTask(
        name="nested_calling",
        granular="calls",
        applies=is_nested,
    ),
    "function_chaining": GranularTask(
        name="function_chaining",
        granular="calls",
        applies=_is_chain,
    ),
    "parallel_functions": GranularTask(
        name="parallel_functions",
        granular="calls",
        applies=_is_parallel,
    ),
    "next_best_function": GranularTask(
        name="next_best_function",
        granular="next",
        applies=_has_call,
    ),
    "function_names": GranularTask(
        name="function_names",
        granular="names",
        applies=_always,
    ),
    "parameter_values": GranularTask(
        name="parameter_values",
        granular="parameters",
        applies=_is_single,
    ),
    "response_generation": GranularTask(
        name="response_generation",
        granular="response",
        applies=_always,
    ),
}
"""The seven tasks by name."""
