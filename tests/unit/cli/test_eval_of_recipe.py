"""`taskloom eval --recipe`: which options change the recipe, and which it refuses."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.annotations.catalogue import builtin_folder
from pipeline.cli import evaluation
from pipeline.cli.main import app
from pipeline.errors import EvalError, PipelineError, RecipeError

QUICKSTART = builtin_folder().parent / "recipes" / "quickstart" / "embedded.yaml"


def run_command(*arguments):
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def evaluate(folder, *options):
    return run_command("eval", "--recipe", QUICKSTART, "--output_dir", folder, *options)


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Return the evaluations that would run."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    found = []
    monkeypatch.setattr(evaluation, "_run", lambda job, _launch: found.append(job))
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    return found


@pytest.mark.parametrize(
    ("options", "tasks"),
    [
        (["--tasks", "[ncbi_disease]"], ["ncbi_disease"]),
        (["--tasks", "ncbi_disease"], ["ncbi_disease"]),
        (["--tasks", "ncbi_disease, chemprot"], ["ncbi_disease", "chemprot"]),
        (["--evaluation.tasks", "[chemprot]"], ["chemprot"]),
    ],
)
def test_tasks_and_style_choose_what_is_evaluated(tmp_path, jobs, options, tasks):
    evaluate(tmp_path / "run", "--style", "box:1", *options)
    (job,) = jobs
    assert job.style == "box:1"
    assert [task.spec.id for task in job.tasks] == tasks


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (("--split", "test"), "--evaluation.split"),
        (("--max-rows", "5"), "--evaluation.max_rows"),
        (("--request", "generate"), "--evaluation.request"),
        (("--adapter", "runs/x"), "Leave out --recipe, and give MODEL and --tasks"),
        (("--out", "here"), "leave out --recipe"),
    ],
)
def test_what_the_recipe_says_already_is_refused_with_the_way_out(tmp_path, options, hint):
    with pytest.raises(EvalError) as caught:
        evaluate(tmp_path / "absent", *options)
    assert caught.value.code == "CLI008"
    assert hint in str(caught.value)


@pytest.mark.parametrize(
    ("model", "hint"),
    [
        ("embedded", "--model_name_or_path embedded"),
        ("http://localhost:1/v1", "Leave out --recipe"),
    ],
)
def test_a_model_beside_a_recipe_is_refused_since_the_recipe_names_it(model, hint):
    with pytest.raises(EvalError, match="the recipe names the model already") as caught:
        run_command("eval", model, "--recipe", QUICKSTART)
    assert caught.value.code == "CLI008"
    assert hint in str(caught.value)


def test_a_run_without_an_adapter_is_told(tmp_path):
    with pytest.raises(EvalError, match="CLI004"):
        evaluate(tmp_path / "absent", "--style", "box:1")


def test_an_unknown_style_is_told_before_anything_else(tmp_path, jobs):
    with pytest.raises(RecipeError, match="REC010"):
        evaluate(tmp_path / "run", "--style", "nope")
    assert not jobs


@pytest.mark.parametrize(
    ("option", "value", "code"), [("--request", "foo", "EVL016"), ("--style", "nope", "TPL001")]
)
def test_without_a_recipe_names_are_checked_before_the_model_is_loaded(jobs, option, value, code):
    command = ["--data-root", "embedded", "eval", "embedded", "--tasks", "codah", option, value]
    with pytest.raises(PipelineError) as caught:
        run_command(*command)
    assert caught.value.code == code
    assert not jobs
