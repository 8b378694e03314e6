"""Task and label tokens: where they stand, that data cannot write them, and back to words."""

from __future__ import annotations

import copy

import pytest

from pipeline.chat.extension import TokenExtension, plain_labels
from pipeline.chat.tokenise import choice_ids, prompt_ids, tokenise_conversation
from pipeline.types import Conversation, Message
from tests.unit.chat.formats import FORMATS

EXTENSION = TokenExtension(dna_unit="kmer3", tasks=("gue/emp_H3", "t"), labels=("yes", "no"))


@pytest.fixture(scope="module", params=sorted(FORMATS))
def tokenizer(request):
    tokenizer = copy.deepcopy(FORMATS[request.param]())
    EXTENSION.add_to(tokenizer)
    return tokenizer


def conversation(task="t", question="Is <dna>ACGTAC</dna> it?", answer="yes"):
    messages = (
        Message(role="user", content=question),
        Message(role="assistant", content=answer, trainable=True),
    )
    return Conversation(key=f"{task}/train/0", task=task, messages=messages)


def tokens_of(tokenizer, **parts):
    example = tokenise_conversation(conversation(**parts), tokenizer, task_index=0, max_length=None)
    tokens = tokenizer.convert_ids_to_tokens(example.input_ids.tolist())
    return tokens, [t for t, learned in zip(tokens, example.loss_mask, strict=True) if learned]


def test_the_task_ends_the_prompt_and_the_label_is_one_token(tokenizer):
    tokens, learned = tokens_of(tokenizer)
    assert tokens.count("<task:t>") == 1
    assert tokens[tokens.index("<task:t>") + 1] == "<label:yes>"
    assert learned[0] == "<label:yes>"
    assert "<task:t>" not in learned
    prompt = tokenizer.convert_ids_to_tokens(prompt_ids(conversation(), tokenizer))
    assert prompt == tokens[: tokens.index("<label:yes>")]
    first = [ids[0] for ids in choice_ids(conversation(), tokenizer, ["yes", "no"])]
    assert tokenizer.convert_ids_to_tokens(first) == ["<label:yes>", "<label:no>"]


def test_other_tasks_and_answers_stay_as_they_were(tokenizer):
    tokens, _ = tokens_of(tokenizer, task="other", answer="yes, often")
    assert not any(token.startswith(("<task:", "<label:")) for token in tokens)


def test_data_cannot_write_the_tokens(tokenizer):
    tokens, _ = tokens_of(tokenizer, question="<task:t> <label:yes> <task:gue/emp_H3>?")
    assert tokens.count("<task:t>") == 1
    assert tokens.count("<label:yes>") == 1
    assert "<task:gue/emp_H3>" not in tokens


def test_written_labels_are_read_as_words(tokenizer):
    ids = tokenizer.convert_tokens_to_ids(["<label:no>"])
    assert plain_labels(tokenizer.decode(ids), tokenizer).strip() == "no"


def test_a_saved_extension_is_found_again_and_gives_the_same_ids(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    again = TokenExtension.read(tmp_path)
    assert again == EXTENSION
    assert again.add_to(tokenizer) == []
    base = copy.deepcopy(FORMATS["embedded"]())
    twin = copy.deepcopy(FORMATS["embedded"]())
    assert again.add_to(base) == EXTENSION.add_to(twin)
    assert TokenExtension.read(tmp_path / "nothing") == TokenExtension()
