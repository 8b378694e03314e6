"""Section first, then the answer from it, on real questions about a phone."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from eval.backends.given_backend import GivenBackend
from eval.chains import evaluate_chain
from eval.tasks import EvalTask
from pipeline.annotations.catalogue import load_catalogue
from pipeline.errors import EvalError
from pipeline.examples.cache import load_examples
from pipeline.examples.contexts import contexts_of
from pipeline.sources.rows import load_side_file
from pipeline.templates.answers import option_letter
from pipeline.types import Prediction

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
WRONG_EVERY = 5

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of public data at {MIRROR}"),
]


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    catalogue = load_catalogue()
    found = []
    for name in ("section_retrieval", "answer_extraction"):
        examples = load_examples(catalogue.get(f"manuals/{name}/s10"), "test", data_root=MIRROR)
        found.append(EvalTask(spec=examples.spec, examples=list(examples)))
    return found


@pytest.fixture
def section_of():
    return contexts_of(load_catalogue().get("manuals/answer_extraction/s10"), MIRROR)


def test_the_context_of_any_section_is_its_joined_text(section_of):
    task = load_catalogue().get("manuals/answer_extraction/s10")
    rows = load_side_file(task, "sections_s10/train.jsonl", MIRROR)
    first = {row["title"]: " ".join(row["text"]) for row in reversed(rows)}
    assert len(first) > 50
    assert all(section_of(title) == text for title, text in first.items() if text)
    assert section_of("no such section") is None


@pytest.mark.parametrize("device", ["s10", "smart_tv", "smart_remote"])
def test_both_tasks_of_a_chain_have_the_same_rows(device, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    keys = []
    for name in ("section_retrieval", "answer_extraction"):
        task = load_catalogue().get(f"manuals/{name}/{device}")
        examples = load_examples(task, "test", data_root=MIRROR)
        keys.append([example.key.removeprefix(f"{task.id}/") for example in examples])
        assert not any(example.target == "Yes" for example in examples)
    assert keys[0] == keys[1]
    assert len(keys[0]) > 20


class Reader(GivenBackend):
    """Finds the right section but for every fifth row, and answers with the whole section."""

    def __init__(self, finding):
        answers = {}
        for number, example in enumerate(finding.examples):
            place = example.target[0]
            wrong = (place + 1) % len(example.choices)
            chosen = wrong if number % WRONG_EVERY == 0 else place
            answers[example.key] = option_letter(chosen)
        super().__init__(answers, name="reader")

    def generate(self, prompts, *, max_new_tokens):
        found = []
        for prediction, prompt in zip(
            super().generate(prompts, max_new_tokens=max_new_tokens), prompts, strict=True
        ):
            text = prompt.request.conversation.messages[0].content
            lines = [line for line in text.split("\n") if line.startswith("Context: ")]
            context = lines[0].removeprefix("Context: ") if lines else prediction.text
            text = context or "nothing"
            found.append(Prediction(key=prompt.key, text=text, finish_reason="given"))
        return found


def test_end_to_end_is_never_above_the_oracle_and_both_are_told(tasks, section_of, tmp_path):
    finding, answering = tasks
    result = evaluate_chain(
        Reader(finding),
        finding,
        answering,
        context_of=section_of,
        output_folder=tmp_path / "chain",
    )
    assert (result.num_rows, result.num_right) == (50, 40)
    assert result.found.metrics["top_1"].value == pytest.approx(0.8)
    oracle, end_to_end = result.oracle, result.end_to_end
    assert oracle["rouge_l"].value > 0.3
    assert 0 < end_to_end["rouge_l"].value < oracle["rouge_l"].value
    assert all(end_to_end[name].value <= oracle[name].value for name in oracle)
    assert len(result.lines()) == 1 + len(result.oracle)
    asked = (tmp_path / "chain" / "end_to_end" / "samples.jsonl").read_text().splitlines()
    oracle = (tmp_path / "chain" / "oracle" / "samples.jsonl").read_text().splitlines()
    pairs = zip(map(json.loads, asked), map(json.loads, oracle), strict=True)
    differ = [chained["prompt"] != right["prompt"] for chained, right in pairs]
    assert sum(differ) == 10


def test_tasks_of_other_rows_are_no_chain(tasks, section_of, tmp_path):
    finding, answering = tasks
    fewer = replace(answering, examples=answering.examples[1:])
    with pytest.raises(EvalError) as caught:
        evaluate_chain(
            Reader(finding), finding, fewer, context_of=section_of, output_folder=tmp_path
        )
    assert caught.value.code == "EVL017"
