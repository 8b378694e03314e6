"""`new`, `mirror` and `check --online` as they are typed."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline.cli.main import app, main
from tests.fixtures.tiny_mirror import write_tiny_mirror

runner = CliRunner()


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("TASKLOOM_DATA_ROOT", raising=False)
    monkeypatch.chdir(tmp_path)
    return write_tiny_mirror(tmp_path)


def run(*arguments: object) -> str:
    result = runner.invoke(app, [str(word) for word in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def failure(capsys, *arguments: object) -> str:
    with pytest.raises(SystemExit) as caught:
        main([str(word) for word in arguments])
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_a_drafted_file_passes_the_check_at_once(tiny, tmp_path):
    _, mirror = tiny
    told = run("--data-root", mirror, "new", "tiny/colour")
    assert "colour.yaml: colour, classification" in told
    assert "train: 32 rows -> 32 examples" in told
    assert "0 errors" in run("check", tmp_path / "colour.yaml")
    assert "1 of 1 annotations ran" in run(
        "--data-root", mirror, "check", "colour.yaml", "--online"
    )


def test_own_data_is_drafted_beside_it(tiny, tmp_path):
    _, mirror = tiny
    run("new", mirror / "tiny" / "calls", "--out", tmp_path / "calls.yaml")
    assert "task: function_calling" in (tmp_path / "calls.yaml").read_text()
    run("new", mirror / "tiny" / "colour" / "train.jsonl")
    assert "files: {train: train.jsonl}" in (mirror / "tiny" / "colour" / "train.yaml").read_text()


def test_the_reason_for_a_kind_that_was_asked_for_is_true(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    for name, step in (("whole", 1), ("parts", 0.5)):
        rows = [{"text": f"review number {i} of this", "stars": i % 5 * step} for i in range(40)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        told = run("new", tmp_path / f"{name}.jsonl", "--task", "regression")
        assert "because stars holds numbers" in told
        assert ("with fractions" in told) == (name == "parts")


def test_a_folder_without_rows_is_told_by_its_name(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "emptydir").mkdir()
    assert failure(capsys, "new", "emptydir").startswith("emptydir: holds no rows")


def test_an_existing_file_is_not_overwritten(tiny, tmp_path, capsys):
    _, mirror = tiny
    (tmp_path / "colour.yaml").write_text("mine")
    told = failure(capsys, "--data-root", mirror, "new", "tiny/colour")
    assert "already there" in told
    assert (tmp_path / "colour.yaml").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["new", "tiny/colour", "--task", "clasification"], "Did you mean 'classification'"),
        (["new", "tiny/colour", "--golden-from-rows"], "the card's licence is unknown"),
        (["new", "./nowhere"], "no such file or folder"),
        (["new", "mirror/tiny/colour", "--config", "x"], "[CLI014]"),
        (["new", "tiny/none"], "switched off"),
        (["new", "tiny/colour", "--config", "x"], "no config 'x'"),
        (["mirror", "tiny/colour"], "tasks and a folder are needed"),
        (["mirror", "--to", "m"], "tasks and a folder are needed"),
        (["mirror", "--check", "nowhere"], "no taskloom.lock.json"),
        (["mirror", "tiny/color", "--to", "m"], "Did you mean 'tiny/colour'"),
    ],
)
def test_mistakes_end_in_one_line(arguments, words, tiny, capsys):
    annotations, mirror = tiny
    told = failure(capsys, "--annotations", annotations, "--data-root", mirror, *arguments)
    assert words in told
    assert "Traceback" not in told


def test_a_mirror_is_filled_checked_and_enough(tiny, tmp_path):
    annotations, mirror = tiny
    target = tmp_path / "copy"
    own = ("--annotations", annotations)
    run(*own, "--data-root", mirror, "mirror", "tiny/colour", "tiny/calls", "--to", target)
    assert "0 errors" in run("mirror", "--check", target)
    for task in ("tiny/colour", "tiny/calls"):
        outs = []
        for number, root in enumerate((mirror, target)):
            out = tmp_path / f"{number}.jsonl"
            run(*own, "--data-root", root, "export", task, "--split", "train", "--out", out)
            outs.append(out.read_bytes())
        assert outs[0] == outs[1]


def test_a_recipe_names_what_is_mirrored(tiny, tmp_path):
    annotations, mirror = tiny
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: embedded\nannotations: [{annotations}]\ntasks: [tiny/colour]\n"
        "max_steps: 1\nevaluation: {tasks: [tiny/calls]}\n"
    )
    run("--data-root", mirror, "mirror", "--recipe", recipe, "--to", tmp_path / "copy")
    lock = json.loads((tmp_path / "copy" / "taskloom.lock.json").read_text())
    assert set(lock["datasets"]) == {"tiny/colour", "tiny/calls"}


def test_tasks_of_own_files_are_not_counted_as_missing(tiny, tmp_path):
    annotations, mirror = tiny
    run("new", mirror / "tiny" / "colour" / "train.jsonl", "--out", mirror / "own.yaml")
    own = ("--annotations", annotations, "--annotations", mirror, "--data-root", mirror, "mirror")
    told = run(*own, "own", "--to", tmp_path / "copy")
    assert "own: reads files of its own" in told
    assert "nothing to copy" in told
    assert "1 of 1 tasks are in" in run(*own, "own", "tiny/colour", "--to", tmp_path / "copy")


def test_one_task_that_fails_does_not_stop_the_others(tiny, tmp_path, capsys):
    annotations, mirror = tiny
    (mirror / "tiny" / "calls" / "test.jsonl").unlink()
    arguments = ("--annotations", annotations, "--data-root", mirror, "mirror")
    told = failure(capsys, *arguments, "tiny/calls", "tiny/colour", "--to", tmp_path / "copy")
    assert "tiny/calls: " in told
    assert "no split 'test'" in told
    assert (tmp_path / "copy" / "tiny" / "colour" / "test.jsonl").is_file()


def test_the_check_tells_which_registered_functions_are_used(tiny):
    annotations, _ = tiny
    told = run("check", annotations)
    assert "1 use registered functions: function_specs 1, function_calls 1" in told


def test_the_online_check_writes_what_it_found(tiny, capsys):
    annotations, mirror = tiny
    file = annotations / "general" / "calls.yaml"
    before = file.read_text()
    told = run("--data-root", mirror, "check", annotations, "--online", "--write")
    assert "tiny/calls train: 9 rows -> 9 examples" in told
    assert file.read_text() == before.replace("verified: golden", "verified: rows")


def test_the_online_check_fails_where_an_annotation_does_not_fit(tiny, capsys):
    annotations, mirror = tiny
    with (mirror / "tiny/colour/train.jsonl").open("a") as stream:
        stream.write('{"text": "a mauve hat", "label": "mauve"}\n')
    file = annotations / "general" / "colour.yaml"
    file.write_text(file.read_text().replace("verified: rows", "verified: golden"))
    told = failure(capsys, "--data-root", mirror, "check", file, "--online", "--write")
    assert "no label stands for the value 'mauve'" in told
    assert "0 of 1 annotations ran" in told
    assert "verified: golden" in file.read_text()


def test_generated_rows_verify_nothing(tiny, capsys):
    annotations, _ = tiny
    told = failure(capsys, "--data-root", "embedded", "check", annotations, "--online", "--write")
    assert "generated rows verify nothing" in told
