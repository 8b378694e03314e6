"""Mistakes that are found before anything heavy is imported."""

from __future__ import annotations

import subprocess
import sys

import pytest

from pipeline.errors import PipelineErrors
from pipeline.training.early_checks import check_recipe
from tests.fixtures.tiny_runs import make_recipe


def test_all_mistakes_are_told_at_once(tmp_path):
    (tmp_path / "file").touch()
    recipe = make_recipe(
        tmp_path / "file" / "run",
        tasks=["codah", "pubmedqaa"],
        style="plan",
        function_format="hermis",
        model_name_or_path=str(tmp_path),
    )
    with pytest.raises(PipelineErrors) as caught:
        check_recipe(recipe)
    codes = [error.code for error in caught.value.errors]
    assert codes == ["ANN160", "REC010", "REC010", "MOD002", "OUT001"]


def test_a_good_recipe_passes_and_writes_nothing(tmp_path):
    check_recipe(make_recipe(tmp_path / "run", tasks=["codah"], model_name_or_path="embedded"))
    assert list(tmp_path.iterdir()) == []


def test_a_bad_recipe_costs_no_import_of_torch(tmp_path):
    recipe = tmp_path / "bad.yaml"
    recipe.write_text("model_name_or_path: embedded\ntasks: [no_such_task]\n")
    code = (
        "import sys; from pipeline.train import main; code = main([sys.argv[1]]); "
        "print(code, 'torch' in sys.modules, 'transformers' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(recipe)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "2 False False"
    assert done.stderr.startswith("no task is named 'no_such_task'")
    assert len(done.stderr.splitlines()) == 1
