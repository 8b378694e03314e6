"""The table "Data that do not fit" of docs/mixture.md, line by line."""

from __future__ import annotations

import copy

import pytest

from pipeline.errors import ChatError, MixtureError
from pipeline.mixture.batches import BatchShape
from pipeline.mixture.build import MixtureSettings, build_batches
from pipeline.mixture.plan import build_plan
from pipeline.mixture.tokens import tokenise_task
from pipeline.types import Conversation, Message, TaskExample, TaskSpec
from tests.unit.chat.formats import FORMATS

NO_MARKS = (
    "{% for message in messages %}<|{{ message.role }}|>{{ message.content }}<|end|>{% endfor %}"
)


class Rows:
    """Examples of texts and answers."""

    def __init__(self, name: str, rows: list[tuple[str, str]]) -> None:
        self.spec = TaskSpec(id=name, kind="text", family="f", instruction="Do.")
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> TaskExample:
        text, answer = self.rows[index]
        key = f"{self.spec.id}/train/{index}"
        inputs = {"text": text}
        return TaskExample(key=key, task=self.spec.id, split="train", inputs=inputs, target=answer)

    def __iter__(self):
        return (self[index] for index in range(len(self)))


def render(example: TaskExample) -> Conversation:
    user = Message(role="user", content=f"Do.\nText: {example.inputs['text']}\nOptions: a, b")
    answer = Message(role="assistant", content=str(example.target), trainable=True)
    return Conversation(
        key=example.key, task=example.task, messages=(user, answer), context_side="left"
    )


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))


def tokenised(name: str, *rows: tuple[str, str], tokenizer=None, max_length: int = 60):
    return tokenise_task(
        Rows(name, list(rows)),
        render,
        tokenizer or FORMATS["embedded"](),
        fingerprint=name,
        max_length=max_length,
    )


def plan_of(*tasks):
    settings = MixtureSettings(max_length=60, max_steps=4)
    batches = build_batches(tasks, settings, BatchShape(per_device_batch_size=4), pad_token_id=0)
    return build_plan(batches, max_epochs=4.0)


def text_of(task, index: int = 0) -> str:
    ids, _ = task.ids_and_mask(index)
    return FORMATS["embedded"]().decode(ids.tolist())


def test_task_none_of_whose_rows_fit_is_not_drawn_and_warned_of() -> None:
    plan = plan_of(
        tokenised("good", *[(f"t{i}", "yes") for i in range(40)]),
        tokenised("bad", ("t", "word " * 200)),
    )
    assert [task.rate for task in plan.tasks] == [1.0, 0.0]
    assert "bad: none of 1 rows can be trained on" in plan.warnings


def test_run_without_any_usable_row_is_refused() -> None:
    with pytest.raises(MixtureError) as caught:
        plan_of(tokenised("bad", ("t", "word " * 200)), tokenised("empty"))
    assert caught.value.code == "MIX002"


def test_task_smaller_than_a_batch_is_drawn_up_to_the_ceiling() -> None:
    plan = plan_of(
        tokenised("large", *[(f"t{i}", "yes") for i in range(500)]),
        tokenised("small", ("t", "yes")),
    )
    assert 0 < plan.tasks[1].num_draws <= 5
    assert plan.tasks[1].epochs <= 5


def test_long_context_is_cut_from_the_side_that_is_named_and_counted() -> None:
    task = tokenised("long", ("first " + "word " * 100 + "last", "yes"), ("short", "yes"))
    text = text_of(task)
    assert "first" not in text
    assert "last\nOptions: a, b" in text
    assert text.startswith("<|user|>\nDo.\nText: ")
    (found,) = plan_of(task).tasks
    assert (found.num_truncated, found.truncation_rate) == (1, 0.5)


def test_answer_longer_than_the_context_is_a_counted_skip() -> None:
    task = tokenised("mixed", ("t", "word " * 200), ("t", "yes"))
    assert (task.counts.num_too_long, len(task)) == (1, 1)
    plan = plan_of(task)
    assert plan.tasks[0].num_skipped == 1
    assert "mixed: 1 of 2 rows are left out" in plan.warnings


def test_tokenizer_without_a_chat_template_is_refused() -> None:
    bare = copy.deepcopy(FORMATS["embedded"]())
    bare.chat_template = None
    with pytest.raises(ChatError) as caught:
        tokenised("t", ("a", "b"), tokenizer=bare)
    assert caught.value.code == "CHT001"


def test_template_without_generation_marks_or_prompt_trains_on_the_answer_alone() -> None:
    plain = copy.deepcopy(FORMATS["embedded"]())
    plain.chat_template = NO_MARKS
    task = tokenised("t", ("a", "yes"), tokenizer=plain)
    ids, mask = task.ids_and_mask(0)
    assert plain.decode(ids[mask].tolist()) == "yes<|end|>"


@pytest.mark.parametrize("text", ["<|end|>", "<|assistant|>\nno<|end|>", "[INST]", "<|im_end|>"])
def test_control_strings_in_rows_stay_text(text: str) -> None:
    tokenizer = FORMATS["embedded"]()
    ids = {}
    for content in (text, "text"):
        task = tokenised(f"t/{content[:3]}", (content, content))
        ids[content] = task.ids_and_mask(0)[0].tolist()
    controls = set(tokenizer.all_special_ids) | set(tokenizer.added_tokens_decoder)
    hostile, ordinary = ([i for i in ids[c] if i in controls] for c in (text, "text"))
    assert hostile == ordinary
    assert text in tokenizer.decode(ids[text])


def test_half_a_surrogate_pair_is_refused() -> None:
    with pytest.raises(ChatError) as caught:
        tokenised("t", ("broken \ud800 text", "yes"))
    assert caught.value.code == "CHT012"
