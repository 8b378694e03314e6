import collections

import numpy as np
import pytest

from pipeline.examples import load_examples
from pipeline.examples.few_shot import choose_evenly, class_of
from pipeline.types import TaskExample


def example(target, choices=None):
    return TaskExample(
        key="t/train/0", task="t", split="train", inputs={}, target=target, choices=choices
    )


LABELS = ("a", "b", "c")
SKEWED = [example("a", LABELS)] * 90 + [example("b", LABELS)] * 8 + [example("c", LABELS)] * 2


def test_every_class_has_its_share_and_small_ones_are_used_up():
    chosen = choose_evenly(SKEWED, 32, seed=3)
    counts = collections.Counter(SKEWED[place].target for place in chosen)
    assert counts == {"c": 2, "b": 8, "a": 22}
    assert list(chosen) == sorted(set(chosen))


def test_the_choice_depends_on_the_seed_and_on_nothing_else():
    first, again, other = (choose_evenly(SKEWED, 10, seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_fewer_examples_than_wanted_are_all_taken():
    assert list(choose_evenly(SKEWED[88:92], 32, seed=0)) == [0, 1, 2, 3]
    assert len(choose_evenly([], 32, seed=0)) == 0


@pytest.mark.parametrize(
    ("target", "choices", "expected"),
    [
        ("a", LABELS, "a"),
        ("a free text", None, ""),
        (["b", "a"], LABELS, '["a", "b"]'),
        ([], LABELS, "[]"),
        (["an accepted answer"], None, ""),
        ([{"text": "x", "type": "Gene"}, {"text": "y", "type": "Gene"}], None, '["Gene"]'),
        ({"a": 0.25, "b": 0.75, "c": 0.0}, LABELS, "b"),
        (2, ("x", "y", "z"), "2"),
        (0.5, None, ""),
    ],
)
def test_what_counts_as_a_class(target, choices, expected):
    assert class_of(example(target, choices)) == expected


def test_few_examples_of_a_task_keep_their_rows_and_report(annotate, mirror):
    text = """
task: classification
splits: {train: train}
fields: {text: text, target: mood}
labels: [sad, glad]
"""
    rows = [{"text": f"t{i}", "mood": "glad" if i % 10 == 0 else "sad"} for i in range(50)]
    root = mirror(train=rows)
    few = load_examples(annotate(text), "train", data_root=root, max_rows=8, seed=5, evenly=True)
    assert collections.Counter(found.target for found in few) == {"sad": 4, "glad": 4}
    assert (few.report.num_available, few.report.num_examples) == (50, 8)
    for found in few:
        assert rows[int(found.key.rsplit("/", 1)[1])]["text"] == found.inputs["text"]
