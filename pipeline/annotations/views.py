"""Views: several tasks from the same rows of calls.

The seven granular tasks are those of Granite-20B-FunctionCalling (arXiv:2407.00121); their names
here are short because they become part of task ids. `calls` is the plain task, fed by every row.
The wording of the instructions is this project's own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import pydantic
from pydantic import ConfigDict, Field

from pipeline.annotations.expressions import Function, Record
from pipeline.annotations.task_kinds import CLUSTER
from pipeline.errors import did_you_mean
from pipeline.yaml_reader import Problem, excerpt, problems_as_validation_error

if TYPE_CHECKING:
    from pipeline.annotations.expressions import Expression
    from pipeline.annotations.schema import DatasetAnnotation

VIEW_FUNCTION = "granular"
"""The registered function that derives the parts of a view."""
LIBRARY_FUNCTION = "library"
"""The registered function that varies functions, and calls with them."""
VIEW_FIELDS = ("results", "response")
"""Fields that only an annotation with views has beside those of its kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ViewRule:
    """One way to look at a row of calls."""

    granular: str
    """The setting `granular`: the shape of the target."""
    task: str | None = None
    """Name in `pipeline.functions.granular.GRANULAR_TASKS`, which says what rows feed it."""
    instruction: str = ""
    in_order: bool = False
    """Whether the order of calls is part of a right answer, as the instruction says."""


VIEWS: dict[str, ViewRule] = {
    "calls": ViewRule(granular="calls"),
    "nested": ViewRule(
        granular="calls",
        task="nested_calling",
        in_order=True,
        instruction=(
            "Call the functions that the request needs, in order. Where a call uses the result of "
            "an earlier one, write that result as $var1$ for the first call, $var1.field$ for a "
            "part of it."
        ),
    ),
    "chaining": ViewRule(
        granular="calls",
        task="function_chaining",
        in_order=True,
        instruction="Call all the functions that the request needs, in order.",
    ),
    "parallel": ViewRule(
        granular="calls",
        task="parallel_functions",
        instruction="Call the functions that the request needs, once for each thing it asks for.",
    ),
    "next": ViewRule(
        granular="next",
        task="next_best_function",
        instruction="Name the one function that should be called next.",
    ),
    "names": ViewRule(
        granular="names",
        task="function_names",
        in_order=True,
        instruction="List the names of the functions that the request needs, in order.",
    ),
    "parameters": ViewRule(
        granular="parameters",
        task="parameter_values",
        instruction="Fill in the arguments of the function from the request.",
    ),
    "response": ViewRule(
        granular="response",
        task="response_generation",
        instruction="Answer the user from the results of the function calls.",
    ),
}
"""Every view by its name."""


_NEED_CALLS = frozenset({"next", "parameters", "response"})
"""Views whose answer is a part of the calls or follows from them, so that none can abstain."""


class ViewOverride(pydantic.BaseModel):
    """What one view has of its own."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    title: Annotated[str, Field(min_length=1, max_length=200)] | None = None
    instruction: Annotated[str, Field(max_length=2000)] | None = None
    metrics: tuple[str, ...] = ()

    @pydantic.field_validator("metrics", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value


def read_views(value: object) -> object:
    """Turn the YAML form of `views` into overrides by name: a list of names, or a map."""
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        value = dict.fromkeys(value)
    if not isinstance(value, dict) or not value:
        message = "a list of views, or a map from views to what they have of their own, is needed"
        raise problems_as_validation_error([Problem((), "ANN103", message)])
    problems = [
        Problem((name,), "ANN147", f"no view {excerpt(name)}", did_you_mean(str(name), VIEWS))
        for name in value
        if name not in VIEWS
    ]
    if problems:
        raise problems_as_validation_error(problems)
    return {name: own or {} for name, own in value.items()}


def fields_of_view(view: str, fields: Mapping[str, Expression]) -> dict[str, Expression]:
    """Return the fields of one view, made of the fields of the annotation.

    What the registered function derives is written as an expression, so that a view's rows are
    made, cached and counted as any others.

    Args:
        view: A name in `VIEWS`.
        fields: `query`, `functions`, `target` (the calls), and for `response` also `response`
            and, where there are, `results`.
    """
    if view in _NEED_CALLS:
        fields = {name: _without_abstention(value) for name, value in fields.items()}
    given = {"calls": fields["target"]}
    if view not in _NEED_CALLS:
        given.update(_calls_before_abstention(fields["target"]))
    if view == "parameters":
        given["functions"] = fields["functions"]
    if view == "response":
        given["response"] = fields["response"]
    row = Record(given)

    def part(name: str) -> Expression:
        return Function(VIEW_FUNCTION, row, {"view": view, "part": name})

    made: dict[str, Expression] = {"query": fields["query"], "functions": fields["functions"]}
    if view == "parameters":
        made["functions"] = part("functions")
    if view in {"next", "response"}:
        made["calls"] = part("calls")
    if view == "response" and "results" in fields:
        made["results"] = fields["results"]
    if CLUSTER in fields:
        made[CLUSTER] = fields[CLUSTER]
    return {**made, "target": part("target")}


def _without_abstention(expression: Expression) -> Expression:
    """Return a library of which no row loses its functions; anything else as it is."""
    if not (isinstance(expression, Function) and expression.name == LIBRARY_FUNCTION):
        return expression
    options = {name: value for name, value in expression.options.items() if name != "abstain"}
    return Function(expression.name, expression.of, options)


def _calls_before_abstention(target: Expression) -> dict[str, Expression]:
    """Return the calls that say whether a row feeds a view, where abstaining takes them away."""
    if not (isinstance(target, Function) and target.name == LIBRARY_FUNCTION):
        return {}
    row, may_abstain = target.of, bool(target.options.get("abstain"))
    return {"asked": row.members["calls"]} if may_abstain and isinstance(row, Record) else {}


def view_problems(annotation: DatasetAnnotation) -> Iterator[Problem]:
    """Yield every contradiction between `views` and the other keys of an annotation."""
    if not annotation.views:
        if "{view}" in annotation.id:
            yield Problem(("id",), "ANN147", "`{view}` needs `views`")
        return
    if annotation.task != "function_calling":
        message = f"a {annotation.task} task has no views"
        yield Problem(("views",), "ANN147", message, "Only function_calling has")
    if "{view}" not in annotation.id:
        message = "views give several tasks, so the id must hold `{view}`"
        yield Problem(("id",), "ANN147", message)
    for key, why in (
        ("settings", "every view has its own"),
        ("metrics", "give them to a view"),
        ("guide", "it could not fit them all"),
        ("truncate", "it could not fit them all"),
    ):
        if getattr(annotation, key):
            yield Problem((key,), "ANN147", f"`views` allow no `{key}`: {why}")
    if "response" in annotation.views and "response" not in annotation.fields:
        message = "the view 'response' needs the field 'response'"
        yield Problem(("fields",), "ANN105", message)
    yield from _golden_problems(annotation)


def _golden_problems(annotation: DatasetAnnotation) -> Iterator[Problem]:
    for position, golden in enumerate(annotation.golden):
        if golden.explanation is not None:
            message = "a worked example could not fit all views"
            yield Problem(("golden", position, "explanation"), "ANN147", message)
        for name in golden.views:
            if name not in annotation.views:
                hint = did_you_mean(name, annotation.views)
                message = f"the annotation has no view {excerpt(name)}"
                yield Problem(("golden", position, "views", name), "ANN147", message, hint)
