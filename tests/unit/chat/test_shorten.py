"""What counts as context, and what must stay."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pipeline.chat.shorten import find_contexts, shorten
from pipeline.templates.styles import render_conversation
from pipeline.types import Conversation, Message, TaskExample, TaskSpec


def chat(*contents: str, role: str = "user") -> Conversation:
    messages = tuple(Message(role=role, content=content) for content in contents)
    return Conversation(key="t/train/0", task="t", messages=messages)


@pytest.mark.parametrize(
    ("content", "contexts"),
    [
        ("a single long line", ["a single long line"]),
        ("Text: a single line", ["a single line"]),
        ("Do it.\nText: short\nOptions: yes, no", ["short"]),
        (
            "Do it.\nContext: first\nsecond line\nQuestion: which of them?",
            ["first\nsecond line"],
        ),
        ("Do it.\nText a: x\nText b: longer", ["longer", "x"]),
        ("Pick.\nContext: c c\nQuestion: q q q\nA. long option one\nB. option two", ["c c"]),
        ("Sequence: <dna>ACGT</dna>\nOptions: yes, no", ["ACGT"]),
        (
            "Summarise:\nthe whole long document in one line",
            ["the whole long document in one line"],
        ),
        ("a long paragraph without any name\nWhy?", ["a long paragraph without any name"]),
        ("First line.\nab\ncd\nef\nLast line?", ["ab\ncd\nef"]),
    ],
)
def test_contexts_of_a_prompt(content: str, contexts: list[str]) -> None:
    conversation = chat(content)
    assert [content[span.start : span.end] for span in find_contexts(conversation)] == contexts


@pytest.mark.parametrize(
    "instruction",
    [
        "Note: tell the mood of a text, which may be long.",
        "Tell the mood.\nText: is what you read.",
    ],
)
def test_an_instruction_that_looks_like_data_is_never_cut(instruction: str) -> None:
    spec = TaskSpec(id="t", kind="text", family="f", instruction=instruction)
    example = TaskExample(
        key="t/train/0", task="t", split="train", inputs={"text": "a b"}, target="x"
    )
    conversation = render_conversation(example, spec)
    content = conversation.messages[0].content
    assert content == f"{instruction}\nText: a b"
    assert [content[span.start : span.end] for span in find_contexts(conversation)] == ["a b"]


def test_options_stay_where_only_a_question_can_be_cut() -> None:
    spec = TaskSpec(id="t", kind="multiple_choice", family="f", instruction="Pick.")
    example = TaskExample(
        key="t/train/0",
        task="t",
        split="train",
        inputs={"question": "q?"},
        target=0,
        choices=("one", "two", "three"),
    )
    conversation = render_conversation(example, spec)
    content = conversation.messages[0].content
    spans = find_contexts(conversation)
    assert [content[span.start : span.end] for span in spans] == ["Question: q?"]


def test_longest_context_of_all_turns_comes_first() -> None:
    spans = find_contexts(chat("Text: short", "Text: much longer"))
    assert [span.message for span in spans] == [1, 0]


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_system_and_assistant_turns_are_never_cut(role: str) -> None:
    assert find_contexts(chat("a very long line", role=role)) == []


def words(text: str, _is_sequence: bool) -> list[tuple[int, int]]:
    spans, start = [], 0
    for word in text.split(" "):
        spans.append((start, start + len(word)))
        start += len(word) + 1
    return spans


@pytest.mark.parametrize(
    ("side", "kept"), [("right", "a b c"), ("left", "d e f"), ("both", "b c d")]
)
def test_three_words_are_cut(side, kept: str) -> None:
    shorter = shorten(
        replace(chat("Do.\nText: a b c d e f"), context_side=side), 3, token_spans=words
    )
    assert shorter is not None
    assert shorter.messages[0].content == f"Do.\nText: {kept}"


def test_next_context_is_cut_when_the_first_is_gone() -> None:
    first = shorten(chat("Do.\nText a: a b c\nText b: d"), 9, token_spans=words)
    assert first is not None
    assert first.messages[0].content == "Do.\nText a: \nText b: d"
    second = shorten(first, 9, token_spans=words)
    assert second is not None
    assert second.messages[0].content == "Do.\nText a: \nText b: "
    assert shorten(second, 9, token_spans=words) is None
