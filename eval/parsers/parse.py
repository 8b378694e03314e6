"""From an answer's text to a value, by the shape of the task's answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from eval.answers import AnswerType, answer_type
from eval.parsers.failure import failure
from eval.parsers.labels import parse_label, parse_label_set, parse_option, parse_ranking
from eval.parsers.spans import parse_entities, parse_tags
from eval.parsers.values import (
    ANY_FORMAT,
    parse_arguments,
    parse_call_list,
    parse_names,
    parse_number,
    parse_span,
)
from pipeline.functions.dialects import without_thinking
from pipeline.types import Json, ParseFailure, Prediction, TaskExample, TaskSpec


def parse_answer(
    text: str, example: TaskExample, spec: TaskSpec, *, call_format: str = ANY_FORMAT
) -> Json | ParseFailure:
    """Return the value of an answer, or why it has none.

    Of a `scored_label` only the label is in the text; `with_scores` adds the rest.

    The answer is read as `pipeline.templates.answers` writes gold answers; a first part of
    thinking, up to `</think>`, is left out. Text of a model is never executed.

    Args:
        text: What the model wrote.
        example: The example it answered.
        spec: Its task.
        call_format: How answers to the benchmark of calls are read, see
            `eval.parsers.benchmark_calls`.

    Returns:
        A value in the shape `eval.answers.answer_type(spec)`, or a failure. The failures are
        `empty` and those named by the parser of the shape.
    """
    answer = without_thinking(text)
    if not answer.strip():
        return failure("empty", text)
    if answer_type(spec) == "bfcl_calls":
        return _benchmark_calls(answer, example, call_format)
    return _PARSERS[answer_type(spec)](answer, example, spec)


def with_scores(parsed: Json, prediction: Prediction, spec: TaskSpec) -> Json:
    """Return a parsed answer with the likelihoods of the labels, where its shape has them."""
    if answer_type(spec) != "scored_label":
        return parsed
    scores = prediction.choice_log_likelihoods
    return {"label": parsed, "scores": None if scores is None else list(scores)}


def _label(text: str, example: TaskExample, spec: TaskSpec) -> Json | ParseFailure:
    return parse_label(text, example.choices or spec.labels or ())


def _option(text: str, example: TaskExample, _spec: TaskSpec) -> Json | ParseFailure:
    return parse_option(text, example.choices or ())


def _label_set(text: str, example: TaskExample, spec: TaskSpec) -> Json | ParseFailure:
    return parse_label_set(text, spec.labels or example.choices or ())


def _entities(text: str, _example: TaskExample, spec: TaskSpec) -> Json | ParseFailure:
    return parse_entities(text, spec.labels or ())


def _tags(text: str, example: TaskExample, spec: TaskSpec) -> Json | ParseFailure:
    tokens = cast("list[str]", example.inputs["tokens"])
    return parse_tags(text, spec.labels or (), tokens)


def _text(text: str, _example: TaskExample, spec: TaskSpec) -> Json | ParseFailure:
    return parse_span(text) if spec.kind == "extractive_qa" else text.strip()


def _benchmark_calls(text: str, example: TaskExample, call_format: str) -> Json | ParseFailure:
    # The benchmark's decoders are loaded only by the tasks that need them.
    from eval.parsers.benchmark_calls import parse_benchmark_calls

    functions = cast("list[dict[str, Json]]", example.inputs.get("functions") or [])
    target = cast("dict[str, Json]", example.target)
    return parse_benchmark_calls(text, target, call_format, functions)


def _calls(text: str, example: TaskExample, _spec: TaskSpec) -> Json | ParseFailure:
    """Return the calls; those of functions outside of the row's library are marked `unknown`."""
    functions = example.inputs.get("functions")
    shown = cast("list[dict[str, Json]]", functions or [])
    calls = parse_call_list(text, shown)
    if isinstance(calls, ParseFailure) or functions is None:
        return calls
    known = {function["name"] for function in shown}
    return [
        call if call["name"] in known else {**call, "unknown": True}
        for call in cast("list[dict[str, Json]]", calls)
    ]


_PARSERS: dict[AnswerType, Callable[[str, TaskExample, TaskSpec], Json | ParseFailure]] = {
    "label": _label,
    "scored_label": _label,
    "soft_label": _label,
    "option": _option,
    "label_set": _label_set,
    "ranking": lambda text, example, _spec: parse_ranking(text, example.choices or ()),
    "entities": _entities,
    "tags": _tags,
    "text": _text,
    "number": lambda text, _example, spec: parse_number(text, spec),
    "names": lambda text, _example, _spec: parse_names(text),
    "arguments": lambda text, _example, _spec: parse_arguments(text),
    "calls": _calls,
}
