"""Tokenised tasks on disk: what is kept, what is skipped, when it is made again."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pipeline.errors import OutputError
from pipeline.files import is_complete_folder
from pipeline.mixture.tokens import (
    find_unfinished_parts,
    join_parts,
    part_folder,
    tokenise_part,
    tokenise_task,
    tokenizer_fingerprint,
    tokens_folder,
)
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


@pytest.mark.parametrize("num_parts", [1, 2, 5, 30])
def test_parts_join_to_the_bytes_of_one_run(num_parts: int, tmp_path, monkeypatch) -> None:
    whole = tokenised(*ROWS)
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "other"))
    for part in reversed(range(num_parts)):
        tokenise_part(
            FewExamples(*ROWS),
            render,
            EMBEDDED,
            part=part,
            num_parts=num_parts,
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


def test_missing_part_means_that_all_is_made_here() -> None:
    tokenise_part(
        FewExamples(*ROWS),
        render,
        EMBEDDED,
        part=0,
        num_parts=2,
        fingerprint="one",
        max_length=60,
    )
    assert tokenised(*ROWS).counts.num_rows == 23


def test_part_outside_the_number_is_refused() -> None:
    with pytest.raises(ValueError, match="part 2 of 2 does not exist"):
        tokenise_part(
            FewExamples(), render, EMBEDDED, part=2, num_parts=2, fingerprint="", max_length=9
        )


def folder_of(cut: str = "one"):
    return tokens_folder("family/few", EMBEDDED, fingerprint=cut, max_length=60)


def make_part(part: int, num_parts: int = 3):
    return tokenise_part(
        FewExamples(*ROWS),
        render,
        EMBEDDED,
        part=part,
        num_parts=num_parts,
        fingerprint="one",
        max_length=60,
    )


def test_missing_and_damaged_parts_are_told_apart() -> None:
    assert find_unfinished_parts(folder_of(), 3) == dict.fromkeys(range(3), "missing")
    for part in (0, 1):
        make_part(part)
    offsets = part_folder(folder_of(), 1, 3) / "offsets.bin"
    offsets.write_bytes(offsets.read_bytes()[:-1])
    assert find_unfinished_parts(folder_of(), 3) == {1: "damaged", 2: "missing"}
    for part in (1, 2):
        make_part(part)
    assert find_unfinished_parts(folder_of(), 3) == {}


def test_part_made_again_keeps_what_is_there() -> None:
    first = make_part(1)
    before = {path.name: path.stat().st_mtime_ns for path in first.folder.iterdir()}
    again = make_part(1)
    assert {path.name: path.stat().st_mtime_ns for path in again.folder.iterdir()} == before


def test_parts_are_removed_once_joined_and_not_asked_for_again() -> None:
    for part in range(3):
        make_part(part)
    joined = join_parts(folder_of(), "family/few", 3)
    assert [path.name for path in joined.folder.parent.iterdir()] == [joined.folder.name]
    assert find_unfinished_parts(folder_of(), 3) == {}
    assert join_parts(folder_of(), "family/few", 3).counts == joined.counts


def test_tokens_that_another_process_put_in_place_meanwhile_are_taken(monkeypatch) -> None:
    import pipeline.mixture.tokens as module

    real = module.write_tokens

    def slow(folder, results, *, first_row=0):
        monkeypatch.setattr(module, "write_tokens", real)
        tokenised(*ROWS)
        raise OutputError("OUT001", "cannot write here: Directory not empty")

    monkeypatch.setattr(module, "write_tokens", slow)
    assert tokenised(*ROWS).counts.num_rows == 23
