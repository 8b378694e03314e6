"""`taskloom plan`: what a recipe would train on, whatever lies in its run folder."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from pipeline.cli.main import app
from pipeline.recipe import write_resolved
from tests.fixtures.tiny_recipe import tiny_recipe, write_tiny_recipe


def test_a_run_in_the_folder_does_not_matter_since_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    recipe = write_tiny_recipe(tmp_path, max_steps=3)
    file = tmp_path / "recipe.yaml"
    write_resolved(recipe, file)
    run = tmp_path / "run"
    run.mkdir()
    write_resolved(tiny_recipe(tmp_path, lora_r=3), run / "recipe.resolved.yaml")
    (run / "checkpoint-1").mkdir()
    result = CliRunner().invoke(app, ["plan", str(file), "--json"], catch_exceptions=False)
    plan = json.loads(result.stdout[result.stdout.index("{") :])
    assert plan["num_steps"] == 3
    assert sorted(path.name for path in run.iterdir()) == ["checkpoint-1", "recipe.resolved.yaml"]
