"""Which turns are learned, by kind of turn."""

from __future__ import annotations

import itertools

import pytest

from pipeline.templates.loss_turns import select_loss
from pipeline.templates.styles import render_conversation
from pipeline.types import TaskExample, TaskSpec

CHAT = TaskSpec(id="t", kind="chat", family="f", instruction="")
CALLS = TaskSpec(id="t", kind="function_calling", family="f", instruction="")
HISTORY = [
    {"role": "user", "content": "Hello."},
    {"role": "assistant", "content": "Good day."},
    {"role": "user", "content": "Where?"},
]
FUNCTIONS = [{"name": "look_up", "description": "", "parameters": {"type": "object"}}]
GOLD = [{"name": "look_up", "arguments": {"place": "Oslo"}}]


def example(inputs, target) -> TaskExample:
    return TaskExample(key="t/train/0", task="t", split="train", inputs=inputs, target=target)


def learned(which: TaskExample, spec: TaskSpec, loss_on, **options) -> list[str]:
    """Return the contents of the turns that are learned, calls by their function's name."""
    conversation = render_conversation(which, spec, **options)
    return [
        message.content or message.tool_calls[0].name
        for message in select_loss(conversation, which, spec, loss_on).messages
        if message.trainable
    ]


@pytest.mark.parametrize(
    ("loss_on", "expected"),
    [
        (["answers"], ["Oslo"]),
        (["answers", "tool_calls"], ["Oslo"]),
        (["earlier_turns"], ["Good day."]),
        (["answers", "earlier_turns"], ["Good day.", "Oslo"]),
        (["tool_calls"], []),
    ],
)
def test_turns_of_a_chat_are_chosen_by_place(loss_on, expected) -> None:
    assert learned(example({"messages": HISTORY}, "Oslo"), CHAT, loss_on) == expected


@pytest.mark.parametrize(
    ("loss_on", "expected"),
    [(["tool_calls"], ["look_up"]), (["answers"], []), (["answers", "tool_calls"], ["look_up"])],
)
def test_calls_are_chosen_apart_from_text(loss_on, expected) -> None:
    which = example({"query": "Where?", "functions": FUNCTIONS}, GOLD)
    assert learned(which, CALLS, loss_on) == expected


def test_calls_written_as_text_count_as_calls() -> None:
    which = example({"query": "Where?", "functions": FUNCTIONS}, GOLD)
    options = {"render_calls": lambda calls: f"{calls[0].name}()"}
    assert learned(which, CALLS, ["tool_calls"], **options) == ["look_up()"]
    assert learned(which, CALLS, ["answers"], **options) == []


def test_answer_without_any_call_is_text() -> None:
    which = example({"query": "Where?", "functions": FUNCTIONS}, [])
    assert len(learned(which, CALLS, ["answers"])) == 1
    assert learned(which, CALLS, ["tool_calls"]) == []


def test_default_choice_changes_nothing() -> None:
    which = example({"messages": HISTORY}, "Oslo")
    conversation = render_conversation(which, CHAT)
    assert select_loss(conversation, which, CHAT, ["answers", "tool_calls"]) is conversation


def test_prompts_are_never_learned() -> None:
    kinds = ["answers", "tool_calls", "earlier_turns"]
    which = example({"messages": HISTORY}, "Oslo")
    for count in range(1, 4):
        for loss_on in itertools.combinations(kinds, count):
            chosen = select_loss(render_conversation(which, CHAT), which, CHAT, loss_on)
            assert all(m.role == "assistant" for m in chosen.messages if m.trainable)
