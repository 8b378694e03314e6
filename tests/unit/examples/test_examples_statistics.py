import pytest

from pipeline.examples import load_examples, most_common_answer
from pipeline.examples.statistics import answer_counts

CLASSIFICATION = """
task: classification
splits: {train: train}
fields: {text: text, target: label}
labels: [c, b, a]
"""
REGRESSION = """
task: regression
splits: {train: train}
fields: {text_a: text, target: label}
"""
MULTI_LABEL = """
task: multi_label
splits: {train: train}
fields: {text: text, target: label}
labels: [c, b, a]
"""


def load(annotate, mirror, text, labels):
    rows = [{"text": "x", "label": label} for label in labels]
    return load_examples(annotate(text), "train", data_root=mirror(train=rows))


@pytest.mark.parametrize(
    ("text", "labels", "answer"),
    [
        (CLASSIFICATION, ["a", "b", "a"], "a"),
        (CLASSIFICATION, ["a", "b", "b", "a", "c"], "b"),
        (MULTI_LABEL, [["a"], [], ["a", "b"], ["b", "a"]], ["b", "a"]),
        (MULTI_LABEL, [["a"], [], []], []),
        (REGRESSION, [5, 1, 2.5], 2.5),
        (REGRESSION, [1, 2, 3, 100], 2.0),
    ],
)
def test_the_most_common_answer(annotate, mirror, text, labels, answer):
    assert most_common_answer(load(annotate, mirror, text, labels)) == answer


def test_answers_are_counted(annotate, mirror):
    examples = load(annotate, mirror, CLASSIFICATION, ["a", "b", "a"])
    assert answer_counts(examples) == {'"a"': 2, '"b"': 1}
