from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from pipeline import __version__
from pipeline.annotations.catalogue import builtin_folder
from pipeline.cli.main import app, main
from pipeline.errors import AnnotationError, SourceError

runner = CliRunner()


def run(*arguments: str) -> str:
    result = runner.invoke(app, list(arguments), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_version_is_told():
    assert run("--version").strip() == f"taskloom {__version__}"


@pytest.mark.parametrize(
    "verb",
    [
        "check",
        "list",
        "new",
        "mirror",
        "show",
        "export",
        "plan",
        "eval",
        "score",
        "report",
        "compare",
        "chain",
        "doctor",
        "overlap",
        "bfcl",
        "adapters",
    ],
)
def test_every_verb_explains_itself_with_an_example(verb):
    assert f"{verb} " in run(verb, "--help")
    assert "Examples:" in run(verb, "--help")


def test_list_selects_by_family_kind_and_licence():
    tasks = json.loads(run("list", "--family", "dna", "--licence", "commercial", "--json"))
    assert {task["family"] for task in tasks} == {"dna"}
    assert {task["kind"] for task in tasks} == {"dna_classification", "text"}
    assert "gue/emp_H3" in {task["id"] for task in tasks}


def test_an_unknown_family_is_an_error_and_not_an_empty_list():
    with pytest.raises(AnnotationError, match=r"'dnaa'. Did you mean 'dna'\? \[CLI007\]"):
        runner.invoke(app, ["list", "--family", "dnaa"], catch_exceptions=False)


@pytest.mark.parametrize(
    ("option", "name", "told"),
    [
        ("--licence", "apache", "Did you mean 'apache-2.0'"),
        ("--licence", "nope", "Allowed: "),
        ("--language", "xx", "Allowed: "),
    ],
)
def test_an_unknown_licence_or_language_is_an_error_too(option, name, told):
    with pytest.raises(AnnotationError, match="CLI007") as caught:
        runner.invoke(app, ["list", option, name], catch_exceptions=False)
    assert told in str(caught.value)


def test_licences_and_languages_are_found_as_before():
    assert "0 tasks" not in run("list", "--licence", "non-commercial", "--language", "en")
    assert "0 tasks" in run("list", "--licence", "commercial", "--family", "dna", "--kind", "chat")


def test_a_check_of_nothing_is_an_error(tmp_path):
    (tmp_path / "notes.md").touch()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "bad.yaml").write_text("no: annotation\n")
    with pytest.raises(SourceError, match=r"nothing to check.*\[CLI015\]"):
        runner.invoke(app, ["check", str(tmp_path)], catch_exceptions=False)
    assert "1 annotations and 0 recipes" in run("check", str(copied_annotation(tmp_path)))
    assert "1 annotations and 0 recipes" in run("check", str(tmp_path))


def copied_annotation(folder):
    own = folder / "own.yaml"
    own.write_text((builtin_folder() / "biomedical" / "ncbi_disease.yaml").read_text())
    return own


def test_writing_without_running_is_refused():
    with pytest.raises(AnnotationError, match="CLI014"):
        runner.invoke(app, ["check", "--write"], catch_exceptions=False)


def test_golden_rows_are_shown_without_data():
    shown = run("show", "ncbi_disease", "--golden")
    assert "juvenile gout <Disease>" in shown
    assert "List every disease in the text." in shown


def test_show_lists_the_options_of_labels_that_come_from_the_data(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "own.yaml").write_text(
        "schema_version: 1\nid: own\ntask: token_classification\nsettings: {scheme: plain}\n"
        "source: {files: {train: rows.jsonl}, licence: mit}\nsplits: {train: train}\n"
        "fields: {tokens: t, target: y}\nlabels: from_data\ninstruction: Which?\n"
    )
    rows = [{"t": ["a", "cat"], "y": ["DT", "NN"]}]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "Options: DT, NN" in run("--annotations", str(tmp_path), "show", "own")


def test_check_accepts_what_is_shipped():
    assert "0 errors" in run("check", str(builtin_folder() / "biomedical"))


def test_check_prints_every_error_with_its_place_and_leaves_with_2(tmp_path, capsys):
    folder = tmp_path / "general"
    folder.mkdir()
    (folder / "bad.yaml").write_text(
        "schema_version: 1\nid: bad\ntask: txet\nsource: {hub: a/b, licence: mit}\n"
        "splits: {train: train}\nfields: {question: q, target: a}\ninstruction: x\nmore: 1\n"
    )
    with pytest.raises(SystemExit) as caught:
        main(["check", str(folder)])
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "bad.yaml:3:7: task: " in printed
    assert "bad.yaml:8:1: " in printed
    assert "2 errors" in printed


def test_a_recipe_with_an_unknown_task_is_found_by_check(tmp_path, capsys):
    (tmp_path / "recipe.yaml").write_text(
        "model_name_or_path: embedded\ntasks: [ncbi_diseas]\n", encoding="utf-8"
    )
    with pytest.raises(SystemExit) as caught:
        main(["check", str(tmp_path)])
    assert caught.value.code == 2
    assert "Did you mean 'ncbi_disease'" in capsys.readouterr().err


def test_recipes_for_stages_and_merging_are_checked_as_what_they_are(tmp_path, capsys):
    stages = tmp_path / "stages.yaml"
    stages.write_text(
        "stages:\n  - {name: a, tasks: [chemprot]}\n  - {name: b, tasks: [no/such_task]}\n"
        "training: {model_name_or_path: embedded}\noutput_dir: runs/x\n"
    )
    merging = tmp_path / "merging.yaml"
    merging.write_text("adapters:\n  - {name: a, path: x, task: chemprott}\n")
    with pytest.raises(SystemExit) as done:
        main(["check", str(stages), str(merging)])
    assert done.value.code == 2
    printed = capsys.readouterr().err
    assert "no task is named 'no/such_task'" in printed
    assert "no task is named 'chemprott'" in printed
    assert "2 recipes checked" in printed
