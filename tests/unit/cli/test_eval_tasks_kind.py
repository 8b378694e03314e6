"""Where evaluated rows come from, as results and report tell it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from pipeline.cli.eval_tasks import data_root_kind
from tests.unit.cli.test_compare import make_task


def test_own_files_are_not_told_to_be_of_the_hub():
    hub = make_task("hub")
    own = replace(make_task("own"), reads_own_files=True)
    assert data_root_kind(None, None, [own]) == "files"
    assert data_root_kind("embedded", Path("x"), [own]) == "files"
    assert data_root_kind(None, None, [own, hub]) == "hub"
    assert data_root_kind("x", Path("x"), [hub]) == "mirror"
    assert data_root_kind("embedded", Path("x"), [own, hub]) == "embedded"
