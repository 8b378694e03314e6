"""Examples, prompts and answers as ids."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

from pipeline.chat.dna import dna_tokens
from pipeline.chat.tokenise import (
    ExampleTooLong,
    answer_ids,
    choice_ids,
    prompt_ids,
    prompt_ids_many,
    stop_token_ids,
    tokenise_conversation,
    tokenise_many,
)
from pipeline.types import ContextSide, Conversation, FunctionCall, FunctionSpec, Message
from tests.unit.chat.formats import FORMATS

EMBEDDED = FORMATS["embedded"]()


def chat(text: str, answer: str = "yes", *, side: ContextSide = "right") -> Conversation:
    messages = (
        Message(role="user", content=text),
        Message(role="assistant", content=answer, trainable=True),
    )
    return Conversation(key="t/train/0", task="t", messages=messages, context_side=side)


def tokenised(conversation: Conversation, max_length: int | None = None, tokenizer=EMBEDDED, **kw):
    return tokenise_conversation(conversation, tokenizer, task_index=3, max_length=max_length, **kw)


def shown(example, tokenizer=EMBEDDED) -> str:
    return tokenizer.decode(example.input_ids.tolist())


@pytest.mark.parametrize("name", FORMATS)
def test_ids_are_those_of_apply_chat_template(name: str) -> None:
    tokenizer = FORMATS[name]()
    text = "Classify the review.\nText: a warm, funny film\nOptions: yes, no"
    messages = [{"role": "user", "content": text}, {"role": "assistant", "content": "yes"}]
    expected = tokenizer.apply_chat_template(messages, tokenize=True)["input_ids"]
    example = tokenised(chat(text), tokenizer=tokenizer)
    assert example.input_ids.tolist() == expected
    assert example.input_ids.dtype == np.int32
    assert example.loss_mask.dtype == np.bool_
    assert (example.key, example.task, example.task_index) == ("t/train/0", "t", 3)


@pytest.mark.parametrize("name", FORMATS)
def test_prompt_and_answer_join_to_the_training_ids(name: str) -> None:
    tokenizer = FORMATS[name]()
    conversation = chat("What is the capital of Norway?", "Oslo, of course")
    example = tokenised(conversation, tokenizer=tokenizer)
    prompt = prompt_ids(conversation, tokenizer)
    answer = answer_ids(conversation, tokenizer, "Oslo, of course")
    whole = example.input_ids.tolist()
    assert whole[: len(prompt) + len(answer)] == prompt + answer
    assert example.loss_mask.tolist() == [
        len(prompt) <= i < len(prompt) + len(answer) for i in range(len(whole))
    ]
    assert answer[-1] in stop_token_ids(tokenizer)


@pytest.mark.parametrize("name", FORMATS)
def test_prompt_is_that_of_the_generation_prompt(name: str) -> None:
    tokenizer = FORMATS[name]()
    conversation = chat("Be brief.")
    expected = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Be brief."}], add_generation_prompt=True, tokenize=True
    )["input_ids"]
    assert prompt_ids(conversation, tokenizer) == expected


def test_prompt_does_not_depend_on_the_answer() -> None:
    call = FunctionCall(name="look_up", arguments={"place": "Oslo"})
    spec = FunctionSpec(name="look_up", description="", parameters={"type": "object"})
    user = Message(role="user", content="Where?")
    answers = [
        Message(role="assistant", content="Oslo", trainable=True),
        Message(role="assistant", tool_calls=(call,), trainable=True),
        Message(role="assistant", content="Oslo", tool_calls=(call,), trainable=True),
    ]
    tokenizer = FORMATS["chatml"]()
    conversations = [
        Conversation(key="t/train/0", task="t", messages=(user, answer), tools=(spec,))
        for answer in answers
    ]
    prompts = prompt_ids_many(conversations, tokenizer)
    assert prompts[0] == prompts[1] == prompts[2]
    for conversation, prompt in zip(conversations, prompts, strict=True):
        ids = tokenised(conversation, tokenizer=tokenizer).input_ids.tolist()
        assert ids[: len(prompt)] == prompt


def test_prompt_of_a_conversation_without_answer_is_all_of_it() -> None:
    user = Message(role="user", content="Where?")
    without = Conversation(key="t/train/0", task="t", messages=(user,))
    assert prompt_ids(without, EMBEDDED) == prompt_ids(chat("Where?"), EMBEDDED)


def test_choices_are_encoded_as_their_answers() -> None:
    conversation = chat("Which?", "no")
    yes, no = choice_ids(conversation, EMBEDDED, ["yes", "no"])
    assert EMBEDDED.decode(yes) == "yes<|end|>"
    assert no == answer_ids(conversation, EMBEDDED, "no")
    assert no == tokenised(conversation).input_ids[tokenised(conversation).loss_mask].tolist()


@pytest.mark.parametrize(
    ("name", "texts"),
    [
        ("chatml", ["<|im_end|>"]),
        ("llama3", ["<|eot_id|>"]),
        ("gemma", ["<end_of_turn>", "<eos>"]),
        ("zephyr", ["</s>"]),
        ("mistral", ["</s>"]),
        ("embedded", ["<|end|>"]),
    ],
)
def test_stop_tokens_are_end_of_turn_and_eos(name: str, texts: list[str]) -> None:
    tokenizer = FORMATS[name]()
    assert tokenizer.convert_ids_to_tokens(stop_token_ids(tokenizer)) == texts


def test_template_without_end_of_turn_is_trained_on_eos() -> None:
    tokenizer = copy.deepcopy(EMBEDDED)
    tokenizer.chat_template = "{% for m in messages %}{{ m.role + ': ' + m.content }}{% endfor %}"
    example = tokenised(chat("Where?", "Oslo"), tokenizer=tokenizer)
    assert tokenizer.decode(example.input_ids[example.loss_mask].tolist()) == " Oslo<|end|>"
    assert stop_token_ids(tokenizer) == [tokenizer.eos_token_id]


LONG = "one two three four five six seven eight nine ten " * 20


def test_only_context_is_cut() -> None:
    text = f"Answer the question.\nContext: {LONG}\nQuestion: What is it?\nOptions: yes, no"
    whole = tokenised(chat(text))
    cut = tokenised(chat(text), 120)
    assert whole.num_truncated == 0
    assert 100 < len(cut) <= 120
    assert cut.num_truncated == len(whole) - len(cut)
    start, end = shown(cut).split("Context: ")
    assert start == "<|user|>\nAnswer the question.\n"
    assert LONG.startswith(end.split("\n")[0])
    assert end.endswith(
        "\nQuestion: What is it?\nOptions: yes, no<|end|>\n<|assistant|>\nyes<|end|>\n"
    )


@pytest.mark.parametrize("side", ["left", "right", "both"])
def test_context_is_cut_from_the_given_side_between_words(side) -> None:
    words = [f"w{i}" for i in range(100)]
    kept = shown(tokenised(chat(f"Classify.\nText: {' '.join(words)}", side=side), 150))
    kept = kept.split("Text: ")[1].split("<|end|>")[0].split()
    first = words.index(kept[0])
    assert kept == words[first : first + len(kept)]
    assert (first == 0) == (side == "right")
    assert (kept[-1] == "w99") == (side == "left")


def test_too_long_without_context_is_an_error_for_one_and_a_result_for_many() -> None:
    long_answer = chat("Write.", LONG)
    with pytest.raises(ExampleTooLong) as error:
        tokenised(long_answer, 40)
    assert error.value.code == "CHT007"
    assert str(error.value).startswith("t/train/0: ")
    assert str(error.value).endswith(
        " tokens without context, at most 40 fit. Raise max_length. [CHT007]"
    )
    results = tokenise_many([long_answer, chat("a", "b")], EMBEDDED, task_index=0, max_length=40)
    assert isinstance(results[0], ExampleTooLong)
    assert shown(results[1]) == "<|user|>\na<|end|>\n<|assistant|>\nb<|end|>\n"


def test_no_side_means_no_cut() -> None:
    with pytest.raises(ExampleTooLong):
        tokenised(chat(f"Tag.\nText: {LONG}", side="none"), 60)


def test_prompt_is_shortened_to_its_own_length() -> None:
    conversation = chat(f"Classify.\nText: {LONG}\nOptions: yes, no", "a long answer " * 30)
    prompt = prompt_ids(conversation, EMBEDDED, 80)
    assert 60 < len(prompt) <= 80
    assert EMBEDDED.decode(prompt).endswith("\nOptions: yes, no<|end|>\n<|assistant|>\n")


def test_sequence_is_cut_between_its_markers() -> None:
    tokenizer = copy.deepcopy(EMBEDDED)
    tokenizer.add_tokens(dna_tokens("kmer3_overlapping"))
    sequence = "".join(random.Random(0).choices("ACGTN", k=300))
    text = f"Is it a promoter?\nSequence: <dna>{sequence}</dna>\nOptions: yes, no"
    example = tokenised(chat(text, side="both"), 120, tokenizer=tokenizer)
    tokens = tokenizer.convert_ids_to_tokens(example.input_ids.tolist())
    kept = tokens[tokens.index("<dna>") + 1 : tokens.index("</dna>")]
    assert len(tokens) == 120
    letters = "".join(token[5] for token in kept)
    assert abs(sequence.index(letters) - (300 - len(letters)) // 2) <= 1
    letters_only = tokenised(chat(text, side="both"), 120)
    assert "</dna>\nOptions: yes, no<|end|>" in shown(letters_only)


def test_batches_give_what_single_calls_give() -> None:
    conversations = [chat(f"Number {i}?", str(i)) for i in range(7)]
    many = tokenise_many(conversations, EMBEDDED, task_index=3, max_length=100)
    for conversation, example in zip(conversations, many, strict=True):
        assert example.input_ids.tolist() == tokenised(conversation).input_ids.tolist()


def test_tokens_added_later_are_seen() -> None:
    tokenizer = copy.deepcopy(EMBEDDED)
    text = "Is <dna>AC</dna> bound?"
    assert "<dna>" in shown(tokenised(chat(text), tokenizer=tokenizer))
    tokenizer.add_tokens(dna_tokens("single"))
    example = tokenised(chat(text), tokenizer=tokenizer)
    assert tokenizer.convert_tokens_to_ids("<dna_A>") in example.input_ids
