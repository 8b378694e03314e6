"""Styles: named ways to word the same example.

A style is a function from an example to the user's text, chosen by name from a closed table.
What must be answered does not depend on the style, so scores of two styles can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from pipeline.errors import RecipeError, did_you_mean
from pipeline.templates.answers import EMPTY_ANSWER, option_letter, render_answer, render_tags
from pipeline.types import (
    ContextSide,
    Conversation,
    FunctionCall,
    FunctionSpec,
    Json,
    Message,
    Role,
    TaskExample,
    TaskSpec,
)

MAX_LISTED_OPTIONS = 40
"""Longer label lists are left out of the prompt; the model learns them from the answers."""

RenderCalls = Callable[[Sequence[FunctionCall]], str]


def render_conversation(
    example: TaskExample,
    spec: TaskSpec,
    *,
    style: str = "plain",
    render_calls: RenderCalls | None = None,
) -> Conversation:
    """Return what the model reads for `example`, ending with the answer it learns.

    Args:
        example: The example.
        spec: Its task.
        style: A name in `STYLES`.
        render_calls: Writes function calls as text, in a dialect. `None` hands them to the
            model's own chat template as `tool_calls`.

    Raises:
        RecipeError: There is no style of that name.
        ValueError: The example does not have the shape of its kind.
    """
    if style not in STYLES:
        raise RecipeError(
            "TPL001", f"no style {style!r}", where="style", hint=did_you_mean(style, STYLES)
        )
    history, text = STYLES[style](example, spec)
    answer = _answer_message(example, spec, render_calls)
    messages = (*history, Message(role="user", content=text), answer)
    if not text and history and history[-1].role == "user":
        messages = (*history, answer)
    return Conversation(
        key=example.key,
        task=example.task,
        messages=messages,
        tools=_tools(example, spec),
        context_side=_context_side(spec),
    )


def _context_side(spec: TaskSpec) -> ContextSide:
    """Return where context is cut: never where the answer lists what the whole text holds."""
    if spec.kind == "token_classification":
        return "none"
    truncate = cast("dict[str, Json]", spec.settings.get("truncate") or {})
    return cast("ContextSide", truncate.get("side", "right"))


def _plain(example: TaskExample, spec: TaskSpec) -> tuple[tuple[Message, ...], str]:
    history, lines = _input_lines(example, spec)
    if spec.kind == "chat" or _calls_are_the_answer(spec):
        return history, "\n".join(lines)
    return history, "\n".join([spec.instruction, *lines, *_option_lines(example, spec)])


def _bare(example: TaskExample, spec: TaskSpec) -> tuple[tuple[Message, ...], str]:
    history, lines = _input_lines(example, spec)
    options = _option_lines(example, spec) if spec.kind == "multiple_choice" else []
    return history, "\n".join([*lines, *options])


STYLES: dict[str, Callable[[TaskExample, TaskSpec], tuple[tuple[Message, ...], str]]] = {
    "plain": _plain,
    "bare": _bare,
}
"""Name -> (earlier turns, text of the user's turn)."""


def _calls_are_the_answer(spec: TaskSpec) -> bool:
    """Return whether `tools` alone says what to do, as chat templates have it."""
    granular = spec.settings.get("granular", "calls")
    return spec.kind == "function_calling" and granular in {"calls", "response"}


def _input_lines(example: TaskExample, spec: TaskSpec) -> tuple[tuple[Message, ...], list[str]]:
    """Return earlier turns, and one `Name: value` line per input."""
    history: tuple[Message, ...] = ()
    lines: list[str] = []
    for name, value in example.inputs.items():
        if name == "functions":
            continue
        if isinstance(value, list) and name in {"messages", "query"}:
            history = tuple(_turn(cast("dict[str, str]", turn)) for turn in value)
        elif _calls_are_the_answer(spec):
            lines.append(_input_text(name, value))
        else:
            lines.append(f"{_display_name(name)}: {_input_text(name, value)}")
    return history, lines


def _turn(turn: dict[str, str]) -> Message:
    return Message(role=cast("Role", turn["role"]), content=turn["content"])


def _display_name(name: str) -> str:
    if name == "tokens":
        return "Text"
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _input_text(name: str, value: Json) -> str:
    if name == "sequence":
        return f"<dna>{value}</dna>"
    if name == "tokens":
        return " ".join(cast("list[str]", value))
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _option_lines(example: TaskExample, spec: TaskSpec) -> list[str]:
    choices = example.choices
    if spec.kind == "token_classification" and spec.labels and len(spec.labels) > 1:
        choices = spec.labels
    if choices is None:
        return []
    if spec.kind in {"multiple_choice", "ranking"}:
        return [f"{option_letter(index)}. {choice}" for index, choice in enumerate(choices)]
    if len(choices) > MAX_LISTED_OPTIONS:
        return []
    return ["Options: " + ", ".join(choices)]


def _tools(example: TaskExample, spec: TaskSpec) -> tuple[FunctionSpec, ...]:
    if spec.kind != "function_calling":
        return ()
    functions = cast("list[dict[str, Json]]", example.inputs.get("functions", []))
    return tuple(
        FunctionSpec(
            name=cast("str", function["name"]),
            description=cast("str", function.get("description", "")),
            parameters=cast("dict[str, Json]", function.get("parameters", {})),
        )
        for function in functions
    )


def _answer_message(
    example: TaskExample, spec: TaskSpec, render_calls: RenderCalls | None
) -> Message:
    if spec.kind == "function_calling" and spec.settings.get("granular", "calls") == "calls":
        calls = _gold_calls(example.target)
        if calls and render_calls is None:
            return Message(role="assistant", tool_calls=_without_labels(calls), trainable=True)
        text = render_calls(calls) if render_calls else EMPTY_ANSWER
        return Message(role="assistant", content=text, trainable=True)
    if spec.kind == "token_classification" and spec.settings.get("scheme") == "plain":
        tokens = cast("list[str]", example.inputs["tokens"])
        text = render_tags(tokens, cast("list[str]", example.target))
        return Message(role="assistant", content=text, trainable=True)
    return Message(role="assistant", content=render_answer(example.target, spec), trainable=True)


def _without_labels(calls: tuple[FunctionCall, ...]) -> tuple[FunctionCall, ...]:
    """Return the calls as chat templates can show them, which have no place for labels.

    Nothing is lost: the n-th call is `var{n}`, so `$var2.x$` still names the second call's result.

    Raises:
        ValueError: A label is not the one of its position.
    """
    for number, call in enumerate(calls, start=1):
        if call.label not in {None, f"var{number}"}:
            raise ValueError(f"call {number} is labelled {call.label!r}, expected 'var{number}'")
    return tuple(replace(call, label=None) for call in calls)


def _gold_calls(target: Json) -> tuple[FunctionCall, ...]:
    if isinstance(target, dict):  # a benchmark's answer key: nothing to train on
        return ()
    return tuple(
        FunctionCall(
            name=cast("str", call["name"]),
            arguments=cast("dict[str, Json]", call["arguments"]),
            label=cast("str | None", call.get("label")),
        )
        for call in cast("list[dict[str, Json]]", target)
    )
