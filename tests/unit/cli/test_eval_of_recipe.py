"""`taskloom eval --recipe`: which options change the recipe, and which it refuses."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from pipeline.annotations.catalogue import builtin_folder
from pipeline.cli import evaluation
from pipeline.cli.main import app
from pipeline.errors import EvalError

QUICKSTART = builtin_folder().parent / "recipes" / "quickstart" / "embedded.yaml"


def evaluate(folder, *options):
    command = ["eval", "--recipe", str(QUICKSTART), "--output_dir", str(folder), *options]
    return CliRunner().invoke(app, command, catch_exceptions=False)


def test_fields_of_the_recipe_change_it_also_where_the_command_has_an_option_of_that_name(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    jobs = []
    monkeypatch.setattr(evaluation, "_run", lambda job, _launch: jobs.append(job))
    (tmp_path / "run" / "adapter").mkdir(parents=True)
    changes = ["--style", "box:1", "--tasks", "[ncbi_disease]"]
    evaluate(tmp_path / "run", *changes, "--evaluation.tasks", "[ncbi_disease]")
    (job,) = jobs
    assert job.style == "box:1"
    assert [task.spec.id for task in job.tasks] == ["ncbi_disease"]


@pytest.mark.parametrize(
    ("options", "code"), [(("--split", "test"), "CLI008"), (("--style", "box:1"), "CLI004")]
)
def test_what_the_recipe_says_under_another_name_is_refused(tmp_path, options, code):
    with pytest.raises(EvalError) as caught:
        evaluate(tmp_path / "absent", *options)
    assert caught.value.code == code
