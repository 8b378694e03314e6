"""Tool-use metrics against implementations that share no code with them."""

from __future__ import annotations

import random

import numpy as np
import pytest
import sacrebleu
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer

from eval.metrics import METRICS
from eval.metrics.text import rouge_words
from eval.parsers import parse_answer
from pipeline.types import TaskExample, TaskSpec

SPEC = TaskSpec(id="t", kind="function_calling", family="f", instruction="")
NAMES = ["f", "g", "h", "i", "j"]
WORDS = ["the", "lake", "is", "deep", "and", "cold", "but", "it", "is", "not", "blue"]


def calls(generator, names=NAMES):
    return [
        {"name": generator.choice(names), "arguments": {"a": generator.randint(0, 2)}}
        for _ in range(generator.randint(0, 4))
    ]


def pairs_of(case):
    generator = random.Random(case)
    made = [
        (None if generator.random() < 0.1 else calls(generator), calls(generator, NAMES[:4]))
        for _ in range(generator.randint(2, 12))
    ]
    return made if any(target for _, target in made) else pairs_of(case + 1000)


@pytest.mark.filterwarnings("ignore:unknown class")
@pytest.mark.parametrize("name", ["name_macro_f1", "argument_macro_f1"])
def test_macro_f1_over_the_gold_vocabulary_is_that_of_sklearn(name):
    def read(value):
        keys = [(call["name"], str(call["arguments"])) for call in value or []]
        return {key[0] if name == "name_macro_f1" else key for key in keys}

    for case in range(300):
        pairs = pairs_of(case)
        binarizer = MultiLabelBinarizer().fit([read(target) for _, target in pairs])
        gold = binarizer.transform([read(target) for _, target in pairs])
        if gold.shape[1] == 1:  # sklearn takes one column for the two classes of a binary task
            continue
        predicted = binarizer.transform([read(parsed) for parsed, _ in pairs])
        expected = f1_score(gold, predicted, average="macro", zero_division=0)
        assert METRICS[name].corpus(pairs, SPEC) == pytest.approx(expected, abs=1e-12)


def lcs(first, second):
    table = np.zeros((len(first) + 1, len(second) + 1), dtype=int)
    for i, left in enumerate(first):
        for j, right in enumerate(second):
            longest = max(table[i, j + 1], table[i + 1, j])
            table[i + 1, j + 1] = table[i, j] + 1 if left == right else longest
    return table[-1, -1]


def test_common_subsequences_of_names_are_those_of_the_textbook():
    for case in range(300):
        for parsed, target in pairs_of(case):
            if parsed is None:
                continue
            first, second = [c["name"] for c in parsed], [c["name"] for c in target]
            total = len(first) + len(second)
            expected = 2 * lcs(first, second) / total if total else 1.0
            assert METRICS["name_lcs"].row_value(parsed, target, SPEC) == pytest.approx(expected)
            match = METRICS["name_sequence_match"].row_value(parsed, target, SPEC)
            assert match == float(first == second)


def test_bleu_is_that_of_sacrebleu():
    spec = TaskSpec(id="t", kind="text", family="f", instruction="")
    for case in range(300):
        generator = random.Random(case)
        pairs = [
            tuple(" ".join(generator.choices(WORDS, k=generator.randint(1, 14))) for _ in "ab")
            for _ in range(generator.randint(1, 6))
        ]
        hypotheses = [" ".join(rouge_words(parsed)) for parsed, _ in pairs]
        references = [" ".join(rouge_words(target)) for _, target in pairs]
        expected = sacrebleu.corpus_bleu(
            hypotheses, [references], tokenize="none", force=True
        ).score
        assert METRICS["bleu"].corpus(pairs, spec) * 100 == pytest.approx(expected, abs=1e-9)


def test_bleu_of_nothing_is_zero():
    spec = TaskSpec(id="t", kind="text", family="f", instruction="")
    assert METRICS["bleu"].corpus([(None, "a b c d e")], spec) == 0


def test_a_call_outside_of_the_library_is_a_hallucination_and_prose_is_none():
    functions = [{"name": "f", "description": "", "parameters": {}}]
    inputs = {"query": "q", "functions": functions}
    example = TaskExample(key="t/test/0", task="t", split="test", inputs=inputs, target=[])
    rate, failed = METRICS["hallucination_rate"], METRICS["parse_failure_rate"]
    expected = {'{"name": "f", "arguments": {}}': 0, '{"name": "g", "arguments": {}}': 1, "No.": 0}
    for text, value in expected.items():
        parsed = parse_answer(text, example, SPEC)
        assert rate.row_value(parsed, [], SPEC) == value
        assert failed.row_value(parsed, [], SPEC) == 0
    assert rate.row_value(None, [], SPEC) == 0
    assert failed.row_value(None, [], SPEC) == 1
    assert not rate.higher_is_better
    assert not failed.higher_is_better


def test_every_call_is_made_up_where_no_function_is_given():
    example = TaskExample(
        key="t/1",
        task="t",
        split="test",
        inputs={"query": "q", "functions": []},
        target=[],
    )
    parsed = parse_answer('{"name": "g", "arguments": {}}', example, SPEC)
    assert METRICS["hallucination_rate"].corpus([(parsed, [])], SPEC) == 1.0
