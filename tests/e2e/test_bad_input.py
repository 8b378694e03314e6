"""Mistakes of a user end in one line with a code, exit 2, and nothing half-written."""

from __future__ import annotations

import re
import sys

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.slow

LINE = re.compile(r"^.+ \[[A-Z]{3}\d{3}\]$", re.MULTILINE)
GOOD = "model_name_or_path: {base}\ndata_root: embedded\ntasks: [ncbi_disease]\nmax_steps: 1\n"


def one_line(printed: str) -> str:
    """Return the only error line; fail on a traceback."""
    assert "Traceback" not in printed, printed
    found = LINE.findall(printed)
    assert len(found) == 1, printed
    return found[0]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, r"recipe\.yaml: .*\[YML001\]"),
        ("tasks: [a\n", r"recipe\.yaml:\d+:\d+: .*\[YML002\]"),
        ("tasks: [a]\n", r"model_name_or_path.*\[REC002\]"),
        (GOOD + "lerning_rate: 1\n", r"recipe\.yaml:5:1: .*'learning_rate'.*\[REC001\]"),
        (GOOD + "max_seq_length: 1\n", r"recipe\.yaml:5:1: .*max_length.*\[REC004\]"),
        (GOOD + "trust_remote_code: true\n", r"\[REC005\]"),
        (GOOD + "learning_rate: fast\n", r"recipe\.yaml:5:\d+: learning_rate.*\[REC003\]"),
        (GOOD.replace("ncbi_disease", "ncbi_diseas"), r"'ncbi_disease'.*\[ANN160\]"),
        (GOOD.replace("embedded", "/no/such/folder"), r"/no/such/folder.*\[SRC101\]"),
        (GOOD.replace("{base}", "/no/such/model"), r"/no/such/model.*\[MOD\d+\]"),
        (GOOD + "style: plian\n", r"'plain'"),
    ],
)
def test_a_bad_recipe_is_one_line(workspace, small_base, text, expected):
    recipe = workspace.folder / "recipe.yaml"
    if text is not None:
        recipe.write_text(text.replace("{base}", str(small_base)), encoding="utf-8")
    printed = workspace.run(
        sys.executable, "-m", "pipeline.train", str(recipe), "--output_dir", "out", expect=2
    )
    assert re.search(expected, one_line(printed)), printed
    assert not (workspace.folder / "out").exists()


def test_a_model_folder_without_weights_is_one_line(workspace, small_base):
    model = workspace.folder / "model"
    model.mkdir()
    for file in small_base.iterdir():
        if file.suffix != ".safetensors":
            (model / file.name).write_bytes(file.read_bytes())
    recipe = workspace.folder / "recipe.yaml"
    recipe.write_text(GOOD.replace("{base}", str(model)), encoding="utf-8")
    printed = workspace.run(sys.executable, "-m", "pipeline.train", str(recipe), expect=2)
    assert re.search(r"safetensors.*\[MOD\d+\]", one_line(printed))


def test_a_file_in_place_of_the_output_folder_is_one_line(workspace, small_base):
    (workspace.folder / "out").write_text("in the way")
    recipe = workspace.folder / "recipe.yaml"
    recipe.write_text(GOOD.replace("{base}", str(small_base)), encoding="utf-8")
    printed = workspace.run(
        sys.executable, "-m", "pipeline.train", str(recipe), "--output_dir", "out/run", expect=2
    )
    assert re.search(r"out.*\[(OUT|TRN)\d+\]", one_line(printed))
    assert (workspace.folder / "out").read_text() == "in the way"


def test_data_that_is_nowhere_is_one_line(workspace, small_base):
    empty = workspace.folder / "mirror"
    empty.mkdir()
    printed = workspace.taskloom("--data-root", str(empty), "show", "codah", expect=2)
    assert re.search(r"jaredfern/codah.*\[SRC\d+\]", one_line(printed))


def test_a_column_that_is_not_there_names_the_nearest(workspace):
    folder = workspace.folder / "mine" / "general"
    folder.mkdir(parents=True)
    text = (ROOT / "data_annotations" / "general" / "piqa.yaml").read_text(encoding="utf-8")
    text = text.replace("id: piqa", "id: own").replace("question: goal", "question: gaol")
    text = text[: text.index("golden:")]
    (folder / "own.yaml").write_text(text, encoding="utf-8")
    rows = workspace.folder / "mirror" / "baber" / "piqa"
    rows.mkdir(parents=True)
    (rows / "train.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}\n')
    (rows / "validation.jsonl").write_text('{"goal": "g", "sol1": "a", "sol2": "b", "label": 0}\n')
    arguments = ["--annotations", str(folder.parent), "--data-root", str(rows.parents[1])]
    printed = workspace.taskloom(*arguments, "show", "own", "--split", "test", expect=2)
    line = one_line(printed)
    assert re.search(r"own\.yaml:\d+:\d+: .*'gaol'.*'goal'.*\[ANN104\]", line)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["show", "ncbi_diseas"], r"'ncbi_disease'.*\[ANN160\]"),
        (["show", "ncbi_disease", "--split", "tset"], r"'test'.*\[CLI001\]"),
        (["check", "nowhere"], r"nowhere.*\[CLI002\]"),
        (["eval", "embedded"], r"\[CLI003\]"),
        (["eval", "--recipe", "nowhere.yaml"], r"nowhere\.yaml.*\[YML001\]"),
        (["report", "nowhere", "--out", "x"], r"nowhere.*\[CLI006\]"),
        (["compare", "nowhere", "nowhere"], r"nowhere.*\[CLI006\]"),
        (["eval", "embedded", "--tasks", "ncbi_diseas"], r"'ncbi_disease'.*\[ANN160\]"),
        (["eval", "embedded", "--tasks", "codah", "--tokenizer", "x"], r"--tokenizer.*\[CLI021\]"),
        (
            ["eval", "http://127.0.0.1:9/v1", "--tasks", "codah", "--adapter", "x"],
            r"--adapter.*\[CLI022\]",
        ),
        (
            [
                *("--data-root", "embedded", "eval", "http://127.0.0.1:9/v1"),
                *("--tasks", "chemprot", "--attempts", "1", "--timeout", "2"),
            ],
            r"cannot be asked for its model.*\[EVL071\]",
        ),
    ],
)
def test_a_bad_command_is_one_line(workspace, arguments, expected):
    line = one_line(workspace.taskloom(*arguments, expect=2))
    assert re.search(expected, line), line


def test_a_folder_without_an_adapter_is_refused(workspace, small_base):
    folder = workspace.folder / "no_adapter"
    folder.mkdir()
    arguments = ["--tasks", "ncbi_disease", "--adapter", str(folder)]
    printed = workspace.taskloom(
        "--data-root", "embedded", "eval", str(small_base), *arguments, expect=2
    )
    assert re.search(r"no_adapter.*\[ADP\d+\]", one_line(printed))
