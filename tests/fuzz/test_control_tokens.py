"""Hostile conversations in many chat formats: no forged control token, exact masks and texts.

Cases per format come from `TASKLOOM_FUZZ_CASES` (default 300; the nightly run takes 10,000).
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import replace

import pytest

from pipeline.chat.render import render_segments
from pipeline.chat.tokenise import prompt_ids, tokenise_many
from pipeline.chat.vocabulary import encoder_for
from pipeline.types import Conversation, FunctionCall, FunctionSpec, Message
from tests.unit.chat.formats import FORMATS, TOOL_FORMATS

NUM_CASES = int(os.environ.get("TASKLOOM_FUZZ_CASES", "300"))
BATCH = 100

HOSTILE = [
    "<|im_start|>", "<|im_end|>", "<|im_start|>system\n", "<|endoftext|>", "<think>", "<tool_call>",
    "</tool_call>", "<tool_response>", "<|begin_of_text|>", "<|eot_id|>", "<|start_header_id|>",
    "<|end_header_id|>", "<bos>", "<eos>", "<pad>", "<unk>", "<start_of_turn>model\n",
    "<end_of_turn>", "<h1>", "<s>", "</s>", "[INST]", "[/INST]", "[TOOL_CALLS]", "<|user|>",
    "<|assistant|>\n", "<|system|>", "<|end|>", "<|pad|>", "<|tool|>", "<0x0A>", "<dna>ACGT</dna>",
]  # fmt: skip
FRAGMENTS = ["<|", "|>", "im_end", "<", ">", "[", "]", "INST", "<|im_", "end|>", "_of_turn>", "</"]
ODD = [
    "\n", "\n\n", " ", "   ", "\t", "\r\n", "\x00", "\x1b[31m", "\u200b", "\u202e", "\ufeff", "é",
    "\u0301", "\u00df", "漢字", "\U0001f600", "\ud7ff", "\uffff", '"', "\\", '\\"', "{{ 1 + 1 }}",
    "{% raw %}", "${x}", "'", "&lt;", "<é&'", "qz7f3k9wa0x", "qz7f3k9wb",
]  # fmt: skip
WORDS = ["the", "quick", "brown", "fox", "Oslo", "yes", "no", "12", "3.5", "gene", "Sample", "text"]

ANSWER_PREFIX = {"zephyr": "\n", "mistral": " "}
END_OF_TURN = {
    "chatml": "<|im_end|>",
    "llama3": "<|eot_id|>",
    "gemma": "<end_of_turn>",
    "zephyr": "</s>",
    "mistral": "</s>",
    "embedded": "<|end|>",
}
HEADERS = {
    "chatml": ("<|im_start|>", "assistant\n"),
    "llama3": ("<|end_header_id|>", "\n\n"),
    "gemma": ("<start_of_turn>", "model\n"),
    "zephyr": ("</s>", "\n<|assistant|>"),
    "mistral": ("[/INST]", ""),
    "embedded": ("<|assistant|>", "\n"),
}
"""Last control token before an answer, and the text between the two."""
TRIMS = ("llama3", "gemma")
ADDED_BLANKS = ("zephyr",)
"""Formats whose tokenizer puts a blank in front of every text between control tokens."""
CALLS = {
    "chatml": '<tool_call>\n{{"name": "{name}", "arguments": {arguments}}}\n</tool_call>',
    "llama3": '{{"name": "{name}", "parameters": {arguments}}}',
    "embedded": '{{"name": {name_json}, "arguments": {arguments}}}',
}


def hostile_text(rng: random.Random) -> str:
    pools = [HOSTILE, HOSTILE, FRAGMENTS, ODD, WORDS]
    parts = [rng.choice(rng.choice(pools)) for _ in range(rng.randint(1, 8))]
    if rng.random() < 0.2:
        parts.append(chr(rng.choice([rng.randint(1, 0xD7FF), rng.randint(0xE000, 0x10FFFF)])))
    return rng.choice(["", " "]).join(parts)


def benign_text(rng: random.Random) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(rng.randint(1, 12)))


def hostile_conversation(rng: random.Random, number: int, *, tools: bool) -> Conversation:
    messages = [Message(role="user", content=hostile_text(rng))]
    if rng.random() < 0.3:
        messages.insert(0, Message(role="system", content=hostile_text(rng)))
    for _ in range(rng.randint(0, 2)):
        trainable = rng.random() < 0.5
        messages.append(Message(role="assistant", content=hostile_text(rng), trainable=trainable))
        messages.append(Message(role="user", content=hostile_text(rng)))
    specs: tuple[FunctionSpec, ...] = ()
    answer = Message(role="assistant", content=hostile_text(rng), trainable=True)
    if tools and rng.random() < 0.5:
        properties = {
            hostile_text(rng): {"type": "string", "description": hostile_text(rng)},
            "type": {"type": rng.choice(["integer", "float"]), "enum": [1, hostile_text(rng)]},
        }
        parameters = {"type": "object", "properties": properties, "required": list(properties)[:1]}
        specs = (
            FunctionSpec(
                name=hostile_text(rng), description=hostile_text(rng), parameters=parameters
            ),
        )
        if rng.random() < 0.7:
            arguments = {hostile_text(rng): hostile_text(rng), "n": [1.5, None, True]}
            call = FunctionCall(name=specs[0].name, arguments=arguments)
            answer = Message(role="assistant", tool_calls=(call,), trainable=True)
    return Conversation(
        key=f"fuzz/train/{number}", task="fuzz", messages=(*messages, answer), tools=specs
    )


def folded(conversation: Conversation, name: str) -> Conversation:
    """Return the conversation as formats without system messages are given it."""
    first, *rest = conversation.messages
    if first.role != "system" or name not in ("gemma", "mistral"):
        return conversation
    user = replace(rest[0], content=f"{first.content}\n\n{rest[0].content}")
    return replace(conversation, messages=(user, *rest[1:]))


def benign_twin(conversation: Conversation, rng: random.Random) -> Conversation:
    messages = tuple(
        replace(message, content=benign_text(rng) if message.content else "")
        for message in conversation.messages
    )
    return replace(conversation, messages=messages)


def reference_ids(conversation: Conversation, tokenizer) -> list[int]:
    messages = []
    for message in conversation.messages:
        entry = {"role": message.role, "content": message.content}
        if message.tool_calls:
            entry["tool_calls"] = [
                {"type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
        messages.append(entry)
    tools = [
        {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": spec.parameters,
            },
        }
        for spec in conversation.tools
    ]
    ids = tokenizer.apply_chat_template(messages, tools=tools or None, tokenize=True)
    return list(ids["input_ids"])


def decode(ids: list[int], tokenizer, *, added_blanks: bool) -> str:
    """Return the text of ids, run by run between control tokens, as runs are encoded.

    Args:
        ids: Token ids.
        tokenizer: Their tokenizer.
        added_blanks: Whether every run was given a leading blank that is no text.
    """
    controls = encoder_for(tokenizer).control_ids
    backend = tokenizer.backend_tokenizer
    text, run = "", []
    for token_id in [*ids, None]:
        if token_id is not None and token_id not in controls:
            run.append(token_id)
            continue
        decoded = backend.decode(run, skip_special_tokens=False) if run else ""
        text += decoded[1:] if added_blanks else decoded
        run = []
        if token_id is not None:
            text += backend.id_to_token(token_id)
    return text


def without_calls(conversation: Conversation, rng: random.Random) -> Conversation:
    """Return a conversation of the same format whose functions are harmless."""
    spec = FunctionSpec(name="look_up", description="Looks up.", parameters={"type": "object"})
    messages = []
    for message in conversation.messages:
        calls = tuple(
            FunctionCall(name="look_up", arguments={"place": "Oslo"}) for _ in message.tool_calls
        )
        messages.append(replace(message, tool_calls=calls))
    twin = replace(
        conversation, messages=tuple(messages), tools=(spec,) if conversation.tools else ()
    )
    return benign_twin(twin, rng)


@pytest.mark.parametrize("name", FORMATS)
def test_content_never_becomes_a_control_token_and_masks_are_exact(name: str) -> None:
    tokenizer = FORMATS[name]()
    controls = encoder_for(tokenizer).control_ids
    rng = random.Random(f"hostile {name}")
    for first in range(0, NUM_CASES, BATCH):
        conversations = [
            hostile_conversation(rng, number, tools=name in TOOL_FORMATS)
            for number in range(first, min(first + BATCH, NUM_CASES))
        ]
        examples = tokenise_many(conversations, tokenizer, task_index=0, max_length=None)
        for conversation, example in zip(conversations, examples, strict=True):
            ids, mask = example.input_ids.tolist(), example.loss_mask.tolist()
            twin = without_calls(folded(conversation, name), rng)
            expected = [i for i in reference_ids(twin, tokenizer) if i in controls]
            assert [i for i in ids if i in controls] == expected, conversation

            segments = render_segments(conversation, tokenizer)
            whole = "".join(segment.text for segment in segments)
            blanks = name in ADDED_BLANKS
            assert decode(ids, tokenizer, added_blanks=blanks) == whole, conversation

            trained = "".join(
                expected_answer(message, name)
                for message in conversation.messages
                if message.trainable
            )
            trained_ids = [i for i, is_answer in zip(ids, mask, strict=True) if is_answer]
            # Answers go on after prompt text, so they are given no blank.
            assert decode(trained_ids, tokenizer, added_blanks=False) == trained, conversation
            check_places(ids, mask, tokenizer, name=name, conversation=conversation)
            if not conversation.tools:
                shown = reference_text(folded(conversation, name), tokenizer)
                assert whole == shown, conversation

            prompt = prompt_ids(conversation, tokenizer)
            assert ids[: len(prompt)] == prompt, conversation


def check_places(ids, mask, tokenizer, *, name: str, conversation: Conversation) -> None:
    """Check that the mask has one run per answer, and that each starts behind a true header.

    A header is a control token that the content cannot write, and the text that follows it; where
    a format has no such token, it is the text since the last one.
    """
    controls = encoder_for(tokenizer).control_ids
    answers = [message for message in conversation.messages if message.trainable]
    runs, start = [], None
    for place, is_answer in enumerate([*mask, False]):
        if is_answer and start is None:
            start = place
        elif not is_answer and start is not None:
            runs.append((start, place))
            start = None
    assert len(runs) == len(answers), conversation
    marker, header = HEADERS[name]
    for (start, end), message in zip(runs, answers, strict=True):
        answer = decode(ids[start:end], tokenizer, added_blanks=False)
        assert answer == expected_answer(message, name), conversation
        last = max(place for place in range(start) if ids[place] in controls)
        assert tokenizer.convert_ids_to_tokens(ids[last]) == marker, conversation
        between = decode(ids[last + 1 : start], tokenizer, added_blanks=name in ADDED_BLANKS)
        assert between == header, conversation


def reference_text(conversation: Conversation, tokenizer) -> str:
    """Return what the template itself makes of the conversation, hostile text and all."""
    messages = [{"role": m.role, "content": m.content} for m in conversation.messages]
    return tokenizer.apply_chat_template(messages, tokenize=False)


def expected_answer(message: Message, name: str) -> str:
    """Return what the model learns to write, put together from the format's definition."""
    content = message.content.strip() if name in TRIMS else message.content
    for call in message.tool_calls:
        arguments = json.dumps(call.arguments, ensure_ascii=False)
        content += CALLS[name].format(
            name=call.name,
            name_json=json.dumps(call.name, ensure_ascii=False),
            arguments=arguments,
        )
    return ANSWER_PREFIX.get(name, "") + content + END_OF_TURN[name]


@pytest.mark.parametrize("name", FORMATS)
def test_ordinary_text_gets_the_ids_of_apply_chat_template(name: str) -> None:
    tokenizer = FORMATS[name]()
    rng = random.Random(f"benign {name}")
    conversations = []
    for number in range(NUM_CASES):
        hostile = folded(hostile_conversation(rng, number, tools=name in TOOL_FORMATS), name)
        conversations.append(without_calls(hostile, rng))
    examples = tokenise_many(conversations, tokenizer, task_index=0, max_length=None)
    num_equal = sum(
        example.input_ids.tolist() == reference_ids(conversation, tokenizer)
        for conversation, example in zip(conversations, examples, strict=True)
    )
    assert num_equal >= 0.999 * NUM_CASES
