"""BFCL's conversations of several turns: a model driven turn by turn over simulated APIs.

In a turn the model is asked again after each result, until it answers without a call; then the
next user message comes. At the end the state of the simulated APIs and the results of the calls
are compared with those of the answer key, see `eval.bfcl.simulator_server`. All conversations go
forward together, so that a backend answers them in batches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from eval.backends.base import Backend, Prompt, Request
from eval.bfcl.categories import find_category
from eval.bfcl.data import FOLDER, read_lines
from eval.bfcl.decode import DecodeError
from eval.bfcl.execution_text import call_text, decode_for_execution
from eval.bfcl.result_files import CategoryScore, ConversationResults
from eval.bfcl.simulator import Simulator
from eval.bfcl.simulator_server import MODULES
from pipeline.errors import EvalError, ParseError
from pipeline.functions.bfcl_hints import with_language_hints
from pipeline.functions.calls import specs_from_json
from pipeline.functions.dialects import parse_calls
from pipeline.templates.bfcl import prompting_mode
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Json, Message, Role

MAX_STEPS = 20
"""Answers in one turn; a model that still calls after them has failed, as officially."""

MORE_FUNCTIONS = "I have updated some more functions you can choose from. What about now?"
"""What the user says, officially, when functions that were held back become available."""

ANY_FORMAT = "any"
"""Reads calls in any of the project's dialects; the official formats are those of `decode`."""

Answers = Sequence[Sequence[str]]
"""What the model wrote in each step of each turn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """One conversation of the benchmark."""

    id: str
    turns: tuple[tuple[Message, ...], ...]
    """What the user (and in the first turn maybe the system) says at the start of each turn."""
    functions: tuple[Json, ...]
    """Specs in BFCL's own form, with its hints."""
    held_back: Mapping[int, tuple[Json, ...]]
    """Functions that become available only with a turn."""
    scenario: Mapping[str, Json]
    ground_truth: tuple[tuple[str, ...], ...]


@dataclass(slots=True)
class _Progress:
    dialogue: Dialogue
    messages: list[Message] = field(default_factory=list)
    functions: list[FunctionSpec] = field(default_factory=list)
    """Given to the chat template; none in prompting mode."""
    answers: list[list[str]] = field(default_factory=list)
    is_prompting: bool = False
    is_over: bool = False


def load_dialogues(data_root: Path, category: str) -> list[Dialogue]:
    """Read the conversations of a multi-turn category.

    Raises:
        EvalError: `BFC101` unknown category, `BFC102` not one of several turns, `BFC104` no file,
            `BFC105` a row is not what it should be.
    """
    if find_category(category).scoring != "multi_turn":
        raise EvalError("BFC102", f"{category!r} is no category of several turns", where=category)
    folder = data_root / FOLDER
    name = f"BFCL_v4_{category}.json"
    documents: dict[str, list[Json]] = {}
    questions, answers = read_lines(folder / name), read_lines(folder / "possible_answer" / name)
    try:
        for row in questions:
            for api in row["involved_classes"]:
                if api not in documents:
                    path = folder / "multi_turn_func_doc" / f"{MODULES[api]}.json"
                    documents[api] = cast("list[Json]", read_lines(path))
        return [
            _dialogue(row, answer["ground_truth"], documents, "long_context" in category)
            for row, answer in zip(questions, answers, strict=True)
        ]
    except (KeyError, TypeError, ValueError, ParseError) as error:
        message = f"a row is not a conversation ({error})"
        raise EvalError("BFC105", message, where=folder / name) from error


def converse(
    dialogues: Sequence[Dialogue],
    backend: Backend,
    simulator: Simulator,
    *,
    output_format: str = ANY_FORMAT,
    is_prompting: bool = False,
    max_new_tokens: int = 512,
    on_over: Callable[[int], None] | None = None,
) -> dict[str, list[list[str]]]:
    """Drive a model through conversations.

    Args:
        dialogues: The conversations.
        backend: What answers.
        simulator: Runs the calls.
        output_format: How calls are read from answers: `any`, or a name in
            `eval.bfcl.decode.FORMATS`.
        is_prompting: Functions and form of calls stand in the official system prompt, and the
            model sees its own words again; otherwise both are left to its chat template.
        max_new_tokens: Limit of one answer.
        on_over: Told after each step how many conversations it ended.

    Returns:
        The answers of each conversation by id. A turn that is cut off after `MAX_STEPS` is the
        last one, which makes the conversation wrong.

    Raises:
        EvalError: `BFC114`, the simulated APIs failed.
    """
    running = [_Progress(dialogue=dialogue, is_prompting=is_prompting) for dialogue in dialogues]
    for each in running:
        simulator.open(each.dialogue.id, each.dialogue.scenario)
        _start(each)
    while active := [each for each in running if not each.is_over]:
        texts = _ask(backend, [_conversation(each) for each in active], max_new_tokens)
        for each, text in zip(active, texts, strict=True):
            _take(each, text, simulator, output_format)
            if each.is_over:
                simulator.close(each.dialogue.id)
        if on_over is not None:
            on_over(sum(each.is_over for each in active))
    return {each.dialogue.id: each.answers for each in running}


def check_dialogue(
    dialogue: Dialogue, answers: Answers, simulator: Simulator, *, output_format: str = ANY_FORMAT
) -> str | None:
    """Return the official error type of a conversation, or `None` for a right one."""
    turns = [[read_calls(text, output_format) for text in steps] for steps in answers]
    return simulator.check(dialogue.scenario, turns, dialogue.ground_truth)


def score_conversations(
    results: ConversationResults,
    data_root: Path,
    simulator: Simulator,
    *,
    output_format: str = ANY_FORMAT,
) -> dict[str, CategoryScore]:
    """Score answers to conversations by category; a conversation without answers is wrong.

    Raises:
        EvalError: As `load_dialogues`; `BFC106`, a conversation that the benchmark does not have.
    """
    scores = {}
    for category, by_id in results.items():
        dialogues = {each.id: each for each in load_dialogues(data_root, category)}
        unknown = [name for name in by_id if name not in dialogues]
        if unknown:
            raise EvalError("BFC106", f"{category} has no row {unknown[0]!r:.80}", where=category)
        errors = [
            check_dialogue(dialogues[name], answers, simulator, output_format=output_format)
            for name, answers in by_id.items()
        ]
        scores[category] = CategoryScore(
            num_rows=len(dialogues),
            num_correct=errors.count(None),
            num_missing=len(dialogues) - len(by_id),
        )
    return scores


def read_calls(text: str, output_format: str) -> list[str]:
    """Return the calls in an answer as Python text; none ends the turn.

    Raises:
        EvalError: `BFC103`, unknown format.
    """
    if output_format == ANY_FORMAT:
        return [call_text(call.name, call.arguments) for call in _parse(text)]
    try:
        return decode_for_execution(text, output_format)
    except DecodeError:
        return []


def _parse(text: str) -> Sequence[FunctionCall]:
    try:
        return parse_calls(text)
    except ParseError:
        return []


def _dialogue(
    row: Mapping[str, Any],
    ground_truth: Sequence[Sequence[str]],
    documents: Mapping[str, Sequence[Json]],
    is_long: bool,
) -> Dialogue:
    docs = [
        cast("dict[str, Json]", doc) for api in row["involved_classes"] for doc in documents[api]
    ]
    by_name = {doc["name"]: doc for doc in docs}
    missed = {int(turn): names for turn, names in row.get("missed_function", {}).items()}
    hidden = {name for names in missed.values() for name in names}
    shown: list[Json] = [doc for doc in docs if doc["name"] not in hidden]
    scenario: dict[str, Json] = {
        "classes": row["involved_classes"],
        "initial_config": row["initial_config"],
        "long_context": is_long,
    }
    return Dialogue(
        id=row["id"],
        turns=tuple(
            tuple(
                Message(role=cast("Role", item["role"]), content=item["content"]) for item in turn
            )
            for turn in row["question"]
        ),
        functions=tuple(with_language_hints(shown, row["id"])),
        held_back={
            turn: tuple(by_name[name] for name in names if name in by_name)
            for turn, names in missed.items()
        },
        scenario=scenario,
        ground_truth=tuple(tuple(calls) for calls in ground_truth),
    )


def _start(state: _Progress) -> None:
    functions = [*state.dialogue.functions]
    if state.is_prompting:
        state.messages.append(Message(role="system", content=prompting_mode(functions)))
    else:
        state.functions.extend(specs_from_json(functions))
    _next_turn(state)


def _next_turn(state: _Progress) -> None:
    number = len(state.answers)
    if number == len(state.dialogue.turns):
        state.is_over = True
        return
    state.answers.append([])
    more = state.dialogue.held_back.get(number)
    if more is None:
        for message in state.dialogue.turns[number]:
            _say(state, message)
    elif state.is_prompting:
        state.messages.append(Message(role="user", content=f"{[*more]}\n{MORE_FUNCTIONS}"))
    else:
        state.functions.extend(specs_from_json([*more]))
        state.messages.append(Message(role="user", content=MORE_FUNCTIONS))


def _say(state: _Progress, message: Message) -> None:
    """Add a message; a system message joins the prompt that stands before it."""
    if message.role == "system" and state.messages and state.messages[-1].role == "system":
        prompt = state.messages.pop()
        message = Message(role="system", content=f"{prompt.content}\n\n{message.content}")
    state.messages.append(message)


def _conversation(state: _Progress) -> Conversation:
    answer = Message(role="assistant", trainable=True)
    return Conversation(
        key=f"{state.dialogue.id}/{len(state.answers) - 1}/{len(state.answers[-1])}",
        task="bfcl",
        messages=(*state.messages, answer),
        tools=tuple(state.functions),
        context_side="left",
    )


def _ask(backend: Backend, conversations: Sequence[Conversation], limit: int) -> Iterator[str]:
    requests = [Request(kind="generate", conversation=each) for each in conversations]
    prompts: list[Prompt] = backend.prompts(requests, max_new_tokens=limit)
    texts: dict[str, str] = {}
    for batch in backend.batches(prompts, max_new_tokens=limit):
        for prediction in backend.generate(batch, max_new_tokens=limit):
            texts[prediction.key] = prediction.text
    # A conversation that no longer fits has no answer, which ends its turn.
    return (texts.get(prompt.key, "") for prompt in prompts)


def _take(state: _Progress, text: str, simulator: Simulator, output_format: str) -> None:
    state.answers[-1].append(text)
    calls = read_calls(text, output_format)
    if not calls:
        state.messages.append(Message(role="assistant", content=text))
        _next_turn(state)
        return
    results = simulator.call(state.dialogue.id, calls)
    is_raw = state.is_prompting or output_format == "python_call"
    parsed = () if is_raw else tuple(_parse(text))
    # What the template cannot write as calls stays in the model's own words.
    said = Message(role="assistant", tool_calls=parsed, content="" if parsed else text)
    state.messages.append(said)
    for call, result in zip(calls, results, strict=True):
        state.messages.append(Message(role="tool", name=call.split("(")[0], content=result))
    if len(state.answers[-1]) > MAX_STEPS:
        state.is_over = True
