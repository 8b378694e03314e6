"""Tokenised tasks on disk: what is kept, what is skipped, when it is made again."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pipeline.files import is_complete_folder
from pipeline.mixture.tokens import tokenise_shard, tokenise_task, tokenizer_fingerprint
from pipeline.types import Conversation, Message, TaskExample, TaskSpec
from tests.unit.chat.formats import FORMATS

EMBEDDED = FORMATS["embedded"]()


class FewExamples:
    """Examples from texts and answers."""

    def __init__(self, *rows: tuple[str, str]) -> None:
        self.spec = TaskSpec(id="family/few", kind="text", family="family", instruction="Do.")
        self.rows = [
            TaskExample(
                key=f"family/few/train/{i}",
                task="family/few",
                split="train",
                inputs={"text": text},
                target=answer,
            )
            for i, (text, answer) in enumerate(rows)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> TaskExample:
        return self.rows[index]

    def __iter__(self):
        return iter(self.rows)


def render(example: TaskExample) -> Conversation:
    answer = Message(role="assistant", content=example.target, trainable=bool(example.target))
    user = Message(role="user", content=f"Do.\nText: {example.inputs['text']}")
    return Conversation(key=example.key, task=example.task, messages=(user, answer))


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    return tmp_path


def tokenised(*rows, **changes):
    options = {"fingerprint": "one", "max_length": 60} | changes
    return tokenise_task(FewExamples(*rows), options.pop("render", render), EMBEDDED, **options)


def test_tokens_are_kept_per_example_with_their_source_rows() -> None:
    task = tokenised(("a", "yes"), ("b", "no way " * 40), ("word " * 90, "no"), ("d", ""))
    assert task.name == "family/few"
    assert len(task) == 2
    assert [task.source_row(index) for index in range(2)] == [0, 2]
    ids, mask = task.ids_and_mask(0)
    assert (
        EMBEDDED.decode(ids.tolist())
        == "<|user|>\nDo.\nText: a<|end|>\n<|assistant|>\nyes<|end|>\n"
    )
    assert EMBEDDED.decode(ids[mask].tolist()) == "yes<|end|>"
    assert np.diff(task.offsets).tolist() == [len(ids), len(task.ids_and_mask(1)[0])]
    counts = task.counts
    assert (counts.num_rows, counts.num_examples) == (4, 2)
    assert (counts.num_too_long, counts.num_without_answer) == (1, 1)
    assert counts.num_truncated_examples == 1
    assert counts.num_truncated_tokens > 100
    assert counts.num_tokens == task.offsets[-1]


def test_second_call_reads_the_cache() -> None:
    first = tokenised(("a", "yes"))
    second = tokenised(("a", "yes"), render=None)
    assert second.folder == first.folder
    assert second.fingerprint == first.fingerprint


@pytest.mark.parametrize("changes", [{"fingerprint": "two"}, {"max_length": 61}])
def test_other_inputs_are_tokenised_anew(changes) -> None:
    assert tokenised(("a", "yes"), **changes).folder != tokenised(("a", "yes")).folder


def test_damaged_cache_is_made_again() -> None:
    task = tokenised(("a", "yes"))
    path = task.folder / "input_ids.bin"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert not is_complete_folder(task.folder)
    assert tokenised(("a", "yes")).ids_and_mask(0)[0].max() < len(EMBEDDED)


def test_task_without_rows_is_empty() -> None:
    task = tokenised()
    assert len(task) == 0
    assert task.offsets.tolist() == [0]
    assert task.counts.num_tokens == 0


def test_task_travels_to_other_processes_as_a_path() -> None:
    task = tokenised(("a", "yes"))
    assert task.ids_and_mask(0)
    data = pickle.dumps(task)
    assert len(data) < 1000
    assert pickle.loads(data).ids_and_mask(0)[0].tolist() == task.ids_and_mask(0)[0].tolist()


def test_fingerprint_of_a_tokenizer_follows_its_template() -> None:
    assert tokenizer_fingerprint(EMBEDDED) == tokenizer_fingerprint(FORMATS["embedded"]())
    assert tokenizer_fingerprint(EMBEDDED) != tokenizer_fingerprint(FORMATS["chatml"]())


ROWS = [(f"text {i}", "yes " * (3 * i)) for i in range(23)]


@pytest.mark.parametrize("num_shards", [1, 2, 5, 30])
def test_shards_join_to_the_bytes_of_one_run(num_shards: int, tmp_path, monkeypatch) -> None:
    whole = tokenised(*ROWS)
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "other"))
    for shard in reversed(range(num_shards)):
        tokenise_shard(
            FewExamples(*ROWS),
            render,
            EMBEDDED,
            shard=shard,
            num_shards=num_shards,
            fingerprint="one",
            max_length=60,
        )
    joined = tokenised(*ROWS, render=None)
    assert whole.counts.num_too_long > 0
    assert sorted(path.name for path in joined.folder.iterdir()) == [
        "input_ids.bin",
        "loss_mask.bin",
        "manifest.json",
        "meta.json",
        "offsets.bin",
        "rows.bin",
    ]
    for path in joined.folder.iterdir():
        assert path.read_bytes() == (whole.folder / path.name).read_bytes()


def test_missing_shard_means_that_all_is_made_here() -> None:
    tokenise_shard(
        FewExamples(*ROWS),
        render,
        EMBEDDED,
        shard=0,
        num_shards=2,
        fingerprint="one",
        max_length=60,
    )
    assert tokenised(*ROWS).counts.num_rows == 23


def test_shard_outside_the_number_is_refused() -> None:
    with pytest.raises(ValueError, match="shard 2 of 2 does not exist"):
        tokenise_shard(
            FewExamples(), render, EMBEDDED, shard=2, num_shards=2, fingerprint="", max_length=9
        )
