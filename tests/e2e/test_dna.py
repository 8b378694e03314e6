"""DNA from the command line: new tokens trained, saved and found again; a model from scratch."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.slow
SHORT = ["--max_steps", "3", "--per_device_train_batch_size", "2", "--max_length", "256"]


@pytest.mark.parametrize("recipe", ["added_to_language_model", "histone_mark_single"])
def test_a_recipe_trains_and_its_adapter_is_scored(recipe, workspace, small_base):
    file = str(ROOT / "recipes" / "dna" / f"{recipe}.yaml")
    workspace.train(file, "--data_root", "embedded", "--run_name", "run", *SHORT)
    settings = workspace.folder / "runs" / "run" / "adapter" / "tokenizer_config.json"
    assert json.loads(settings.read_text())["dna_unit"] in {"kmer3", "kmer6"}
    changes = ["--run_name", "run", "--evaluation.max_rows", "6", *SHORT]
    printed = workspace.taskloom("--data-root", "embedded", "eval", "--recipe", file, *changes)
    assert "gue/emp_H3" in printed
