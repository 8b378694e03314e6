"""Commands that only look at files, or end before they must do more, import no torch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.files import staged_folder
from pipeline.recipe import write_resolved
from pipeline.training.run_folder import RECIPE_FILE
from tests.fixtures.tiny_runs import make_recipe

REPOSITORY = Path(__file__).resolve().parents[3]
CODE = """
import sys
from pipeline.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as stop:
    heavy = [name for name in ("torch", "transformers", "peft") if name in sys.modules]
    print("code", stop.code, heavy)
"""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["card", "run"], 0, "card: "),
        (["card", "absent"], 2, "CLI004"),
        (["merge", "absent.yaml"], 2, "YML001"),
        (["merge", "run/recipe.resolved.yaml"], 2, "REC"),
        (["adapters", "export", "absent", "--task", "codah", "--to", "new"], 2, "ADP003"),
        (["adapters", "export", "run", "--task", "codah", "--to", "run"], 2, "OUT004"),
        (["adapters", "export", "damaged", "--task", "codah", "--to", "new"], 2, "ADP005"),
        (["lm-eval-export", "codah", "--out", "run"], 2, "OUT004"),
    ],
)
def test_what_needs_no_model_costs_no_import_of_torch(tmp_path, arguments, code, told):
    for name in ("run", "damaged"):
        recipe = make_recipe(tmp_path / name, tasks=["codah"])
        with staged_folder(tmp_path / name / "adapter") as staged:
            (staged / "adapter_config.json").write_text('{"peft_type": "LORA"}')
            (staged / "adapter_model.safetensors").write_bytes(b"weights")
        write_resolved(recipe, tmp_path / name / RECIPE_FILE)
        (tmp_path / name / "data_report.json").write_text('{"tasks": []}')
    (tmp_path / "damaged/adapter/adapter_model.safetensors").write_bytes(b"others")
    done = subprocess.run(
        [sys.executable, "-c", CODE, *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1] == f"code {code} []", done.stderr
    assert told in done.stdout + done.stderr
