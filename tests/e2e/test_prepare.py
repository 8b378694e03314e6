"""`taskloom prepare` as a user and as a job array call it."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.e2e.conftest import ROOT

pytestmark = pytest.mark.slow

QUICKSTART = str(ROOT / "recipes" / "quickstart" / "embedded.yaml")
FEW = ["--tasks", "[ncbi_disease, gue/emp_H3]"]


def array_script() -> str:
    """Return the job script of the cluster page."""
    page = (ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
    (script,) = re.findall(r"^```sh\n(.*?)^```$", page, flags=re.DOTALL | re.MULTILINE)
    return script


def test_job_array_of_the_docs_prepares_what_training_reads(workspace, small_base, tmp_path):
    script = workspace.folder / "prepare.sbatch"
    script.write_text(array_script())
    subprocess.run(["bash", "-n", str(script)], check=True)
    workspace.environment["TASKLOOM_CACHE"] = str(tmp_path / "own")
    model = ["--model_name_or_path", str(small_base)]
    recipe = workspace.folder / "recipe.yaml"
    recipe.write_text(
        f"model_name_or_path: {small_base}\ndata_root: embedded\nmax_steps: 2\n"
        f"tasks: [ncbi_disease, gue/emp_H3]\nmax_length: 256\noutput_dir: {tmp_path / 'run'}\n"
    )
    command = workspace.folder / "taskloom"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline.cli.main "$@"\n')
    command.chmod(0o755)
    workspace.environment["PATH"] = f"{workspace.folder}:{workspace.environment['PATH']}"
    for number in (1, 0):
        workspace.environment.update(SLURM_ARRAY_TASK_ID=str(number), SLURM_ARRAY_TASK_COUNT="2")
        printed = workspace.run("bash", str(script), str(recipe))
        assert f"shard {number}/2: 1 parts are ready" in printed
    assert "2 tasks joined from 2 shards" in workspace.taskloom(
        "prepare", str(recipe), "--join", "2"
    )
    assert "2 tasks are ready" in workspace.taskloom("prepare", str(recipe), *model)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--shard", "2/2"],
            "--shard: got '2/2', allowed I/N with I from 0 to N-1. The first of 16 shards is "
            "0/16, the last 15/16. [CLI040]",
        ),
        (
            ["--shard", "0/2", "--join", "2"],
            "prepare: got both --shard and --join, allowed one of them. Join once all shards are "
            "made. [CLI041]",
        ),
    ],
)
def test_shard_that_cannot_be_is_one_line(workspace, arguments, expected):
    printed = workspace.taskloom("prepare", QUICKSTART, *arguments, expect=2)
    assert printed.strip() == expected


def test_joining_what_was_not_made_names_the_shards(workspace, small_base, tmp_path):
    workspace.environment["TASKLOOM_CACHE"] = str(tmp_path / "own")
    model = ["--model_name_or_path", str(small_base)]
    printed = workspace.taskloom("prepare", QUICKSTART, "--join", "2", *FEW, *model, expect=2)
    assert printed.count("[MIX006]") == 2
    assert "shard 0/2: part 0 of 1 of " in printed
