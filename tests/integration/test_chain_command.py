"""`taskloom chain` with a model, on a manual made up here in the layout of the real one."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.errors import PipelineError
from tests.fixtures.tiny_models import save_tiny_model

runner = CliRunner()
FIND, ANSWER = "manuals/section_retrieval/s10", "manuals/answer_extraction/s10"
TITLES = ("Power", "Camera", "Sound", "Screen")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "mirror" / "abhi1nandy2" / "emanual_qa"
    rows = [
        {"question": f"What of {title}?", "section_path": f"Use>{title}", "answer": f"See {title}."}
        for title in TITLES
    ]
    sections = [{"title": title, "text": [title, f"See {title}."]} for title in TITLES]
    for name, split, lines in (("s10", "test", rows), ("sections_s10", "train", sections)):
        (folder / name).mkdir(parents=True)
        text = "".join(f"{json.dumps(line)}\n" for line in lines)
        (folder / name / f"{split}.jsonl").write_text(text)
    return tmp_path / "mirror"


def chain(mirror, *arguments):
    command = ["--data-root", str(mirror), "chain", *map(str, arguments)]
    return runner.invoke(app, command, catch_exceptions=False)


def test_both_numbers_are_told_and_kept(mirror, tmp_path):
    model, out = save_tiny_model(tmp_path / "base"), tmp_path / "out"
    options = ["--find", FIND, "--answer", ANSWER, "--max-rows", 3, "--out", out]
    result = chain(mirror, model, *options)
    assert result.exit_code == 0, result.output
    found = json.loads((out / "chain.json").read_text())
    assert (found["finding"], found["answering"], found["num_rows"]) == (FIND, ANSWER, 3)
    assert set(found["oracle"]) == set(found["end_to_end"]) == {"exact_match", "rouge_l"}
    for name, oracle in found["oracle"].items():
        assert found["end_to_end"][name]["value"] <= oracle["value"]
    assert f"right option first: {found['num_right']} of 3" in result.output
    assert "with the right context" in result.output
    oracle, chained = (
        [json.loads(line) for line in (out / name / "samples.jsonl").read_text().splitlines()]
        for name in ("oracle", "end_to_end")
    )
    # Wherever the wrong section was found, that section was shown.
    differ = sum(a["prompt"] != b["prompt"] for a, b in zip(oracle, chained, strict=True))
    assert differ == 3 - found["num_right"]


@pytest.mark.parametrize(
    ("find", "answer", "code"),
    [
        (FIND, FIND, "ANN215"),
        (ANSWER, ANSWER, "EVL019"),
        ("manuals/section_retrieval/s11", ANSWER, "ANN160"),
    ],
)
def test_tasks_that_are_no_chain_are_told_in_one_line(mirror, tmp_path, find, answer, code):
    model = save_tiny_model(tmp_path / "base")
    with pytest.raises(PipelineError) as caught:
        chain(mirror, model, "--find", find, "--answer", answer, "--out", tmp_path / "out")
    assert caught.value.code == code
    assert "\n" not in str(caught.value)
