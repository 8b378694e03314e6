"""Styles: named ways to word the same example.

A style is a function from an example to the user's text, chosen by name from a closed table.
What must be answered does not depend on the style, so scores of two styles can be compared.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import cast

from pipeline.errors import ParseError, RecipeError, did_you_mean
from pipeline.templates.answers import EMPTY_ANSWER, option_letter, render_answer, render_tags
from pipeline.templates.bfcl import prompting_mode
from pipeline.templates.guided import GUIDED_STYLES, Layout, ShownExample, ShownGuide
from pipeline.templates.records import render_records
from pipeline.types import (
    ContextSide,
    Conversation,
    FunctionCall,
    FunctionSpec,
    Json,
    Message,
    Role,
    TaskExample,
    TaskGuide,
    TaskKind,
    TaskSpec,
    WorkedExample,
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
        style: A name in `STYLES`, with the number of worked examples behind a colon if there
            shall be fewer than the annotation has: `box:1`.
        render_calls: Writes function calls as text, in a dialect. `None` hands them to the
            model's own chat template as `tool_calls`. With a dialect, functions are text too where
            that template has no place for them.

    Raises:
        ParseError: The dialect cannot write the calls.
        RecipeError: There is no style of that name (TPL001), or it shows no examples (TPL002).
        ValueError: The example does not have the shape of its kind.
    """
    name, num_examples = parse_style(style)
    history, head, text = STYLES[name](example, spec, num_examples)
    answer = _answer_message(example, spec, render_calls)
    question = Message(role="user", content=head + text, num_kept=len(head))
    messages = (*history, question, answer)
    if not question.content and history:
        messages = (*history, answer)
    return Conversation(
        key=example.key,
        task=example.task,
        messages=messages,
        tools=() if _tells_functions(name, spec) else _tools(example, spec),
        can_tell_tools=render_calls is not None,
        context_side=_context_side(spec),
    )


def _tells_functions(style: str, spec: TaskSpec) -> bool:
    """Return whether a style tells the functions in words, so that they are no tools."""
    return style == "bfcl_prompting" and spec.settings.get("checker") == "bfcl"


def _context_side(spec: TaskSpec) -> ContextSide:
    """Return where context is cut: never where the answer lists what the whole text holds."""
    if spec.kind == "token_classification":
        return "none"
    truncate = cast("dict[str, Json]", spec.settings.get("truncate") or {})
    # The latest records matter most.
    default = "left" if spec.kind == "records" else "right"
    return cast("ContextSide", truncate.get("side", default))


def parse_style(style: str) -> tuple[str, int | None]:
    """Return the name of a style and how many worked examples it shows, `None` for all.

    Raises:
        RecipeError: There is no style of that name (TPL001), or it shows no examples (TPL002).
    """
    name, colon, number = style.partition(":")
    if name not in STYLES:
        raise RecipeError(
            "TPL001", f"no style {name!r}", where="style", hint=did_you_mean(name, STYLES)
        )
    if not colon:
        return name, None
    if name not in GUIDED_STYLES or not re.fullmatch(r"\d{1,2}", number):
        raise RecipeError(
            "TPL002",
            f"{style!r} is no style with a number of worked examples",
            where="style",
            hint=f"Write one of {', '.join(f'{guided}:2' for guided in GUIDED_STYLES)}",
        )
    return name, int(number)


Worded = tuple[tuple[Message, ...], str, str]
"""Earlier turns, and the user's turn: what is never cut of it, and the rest."""


def _plain(example: TaskExample, spec: TaskSpec, _num_examples: int | None) -> Worded:
    history, lines = _input_lines(example, spec)
    if spec.kind == "chat":
        return history, "", "\n".join(lines)
    if _calls_are_the_answer(spec):
        # Without a view, or after earlier turns, the functions alone say what to do.
        is_told = "view" in spec.settings and spec.instruction and not history
        return history, *_told(spec.instruction if is_told else None, lines)
    return history, *_told(spec.instruction, [*lines, *_option_lines(example, spec)])


def _told(instruction: str | None, lines: list[str]) -> tuple[str, str]:
    """Return an instruction, which is never cut, and the lines after it."""
    if instruction is None:
        return "", "\n".join(lines)
    return instruction + "\n" * bool(lines), "\n".join(lines)


def _no_instruction(example: TaskExample, spec: TaskSpec, _num_examples: int | None) -> Worded:
    history, lines = _input_lines(example, spec)
    options = _option_lines(example, spec) if spec.kind in {"multiple_choice", "ranking"} else []
    return history, "", "\n".join([*lines, *options])


def _guided(layout: Layout) -> Callable[[TaskExample, TaskSpec, int | None], Worded]:
    def worded(example: TaskExample, spec: TaskSpec, num_examples: int | None) -> Worded:
        history, lines = _input_lines(example, spec)
        rest = "\n".join([*lines, *_option_lines(example, spec)])
        guide = shown_guide(spec, num_examples)
        return history, layout(guide, spec.instruction), rest

    return worded


def shown_guide(spec: TaskSpec, num_examples: int | None) -> ShownGuide:
    """Return what a layout may show of a task, with at most `num_examples` worked examples."""
    guide = spec.guide or TaskGuide()
    return ShownGuide(
        definition=guide.definition or spec.instruction,
        avoid=guide.avoid,
        examples=[_shown(worked, spec) for worked in guide.examples[:num_examples]],
        negatives=[_shown(worked, spec) for worked in guide.negatives],
    )


def _shown(worked: WorkedExample, spec: TaskSpec) -> ShownExample:
    example = TaskExample(
        key="",
        task=spec.id,
        split="train",
        inputs=worked.inputs,
        target=worked.target,
        choices=worked.choices,
    )
    _, lines = _input_lines(example, spec)
    if worked.choices is not None:
        lines += _option_lines(example, spec)
    is_call = spec.kind == "function_calling"
    right = render_answer(worked.target, spec) if is_call else _answer_text(example, spec)
    answer = worked.wrong_answer or right
    return ShownExample("\n".join(lines), answer, worked.explanation)


def _bfcl_prompting(example: TaskExample, spec: TaskSpec, _num_examples: int | None) -> Worded:
    """Word a row of BFCL as its prompting mode does; other tasks as `plain` does."""
    if spec.settings.get("checker") != "bfcl":
        return _plain(example, spec, None)
    history, lines = _input_lines(example, spec)
    target = cast("dict[str, Json]", example.target)
    prompt = prompting_mode(target.get("shown", target["functions"]))
    if history and history[0].role == "system":
        prompt, history = f"{prompt}\n\n{history[0].content}", history[1:]
    return (Message(role="system", content=prompt), *history), "", "\n".join(lines)


STYLES: dict[str, Callable[[TaskExample, TaskSpec, int | None], Worded]] = {
    "plain": _plain,
    "no_instruction": _no_instruction,
    "bfcl_prompting": _bfcl_prompting,
    **{name: _guided(layout) for name, layout in GUIDED_STYLES.items()},
}
"""Every style by its name."""


def _calls_are_the_answer(spec: TaskSpec) -> bool:
    """Return whether `tools` alone says what to do, as chat templates have it."""
    granular = spec.settings.get("granular", "calls")
    return spec.kind == "function_calling" and granular in {"calls", "response"}


_TURNS: dict[TaskKind, str] = {"chat": "messages", "function_calling": "query"}
"""Input that holds earlier turns where it is a list, by kind."""


def _input_lines(example: TaskExample, spec: TaskSpec) -> tuple[tuple[Message, ...], list[str]]:
    """Return earlier turns, and one `Name: value` line per input."""
    history: tuple[Message, ...] = ()
    lines: list[str] = []
    for name, value in example.inputs.items():
        if name == "functions" and spec.kind == "function_calling":
            continue
        if isinstance(value, list) and name == _TURNS.get(spec.kind):
            history = tuple(_turn(cast("dict[str, Json]", turn)) for turn in value)
            if spec.kind == "function_calling" and history and history[-1].role == "user":
                # Two turns of the user in a row are no conversation.
                lines.append(history[-1].content)
                history = history[:-1]
        elif name == "query" and _answers_results(example, spec):
            history = _called_turns(example)
        elif name in {"calls", "results"} and _answers_results(example, spec):
            continue
        elif _calls_are_the_answer(spec):
            lines.append(_input_text(name, value, spec))
        else:
            text = _input_text(name, value, spec)
            blank = "" if text.startswith("\n") else " "
            lines.append(f"{_display_name(name, spec)}:{blank}{text}")
    return history, lines


def _turn(turn: dict[str, Json]) -> Message:
    calls = _gold_calls(turn.get("tool_calls") or [])
    return Message(
        role=cast("Role", turn["role"]),
        content=cast("str", turn.get("content") or ""),
        tool_calls=tuple(replace(call, label=None) for call in calls),
    )


def _answers_results(example: TaskExample, spec: TaskSpec) -> bool:
    """Return whether the calls of a request in words are turns that come before the answer."""
    is_response = spec.settings.get("granular") == "response"
    return is_response and "calls" in example.inputs and isinstance(example.inputs["query"], str)


def _called_turns(example: TaskExample) -> tuple[Message, ...]:
    calls = _gold_calls(example.inputs["calls"])
    results = example.inputs.get("results")
    texts = results if isinstance(results, list) else [] if results is None else [results]
    return (
        Message(role="user", content=cast("str", example.inputs["query"])),
        Message(role="assistant", tool_calls=tuple(replace(call, label=None) for call in calls)),
        *(Message(role="tool", content=_as_text(text)) for text in texts),
    )


def _display_name(name: str, spec: TaskSpec) -> str:
    if name == "tokens" and spec.kind == "token_classification":
        return "Text"
    words = name.replace("_", " ")
    return words[:1].upper() + words[1:]


def _input_text(name: str, value: Json, spec: TaskSpec) -> str:
    if name == "records" and spec.kind == "records":
        return render_records(value, spec.settings)
    if name == "sequence" and (spec.is_dna or spec.kind == "dna_classification"):
        return f"<dna>{value}</dna>"
    if name == "tokens" and isinstance(value, list):
        return " ".join(map(_as_text, value))
    return _as_text(value)


def _as_text(value: Json) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


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
        text = _in_dialect(calls, example, render_calls) if render_calls else EMPTY_ANSWER
        return Message(role="assistant", content=text, trainable=True)
    return Message(role="assistant", content=_answer_text(example, spec), trainable=True)


def _in_dialect(
    calls: Sequence[FunctionCall], example: TaskExample, render_calls: RenderCalls
) -> str:
    try:
        return render_calls(calls)
    except ParseError as error:
        raise ParseError(
            error.code, error.message, where=f"row {example.key}", hint=error.hint
        ) from error


def _answer_text(example: TaskExample, spec: TaskSpec) -> str:
    if spec.kind == "token_classification" and spec.settings.get("scheme") == "plain":
        tokens = cast("list[str]", example.inputs["tokens"])
        return render_tags(tokens, cast("list[str]", example.target))
    return render_answer(example.target, spec)


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
