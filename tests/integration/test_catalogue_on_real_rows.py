"""Every annotation that says `verified: rows` runs on the rows of the local mirror."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.annotations.catalogue import load_catalogue
from pipeline.errors import SourceError
from pipeline.examples.cache import load_examples
from pipeline.examples.normalise import splits_made
from pipeline.templates.styles import render_conversation

ROOT = Path(__file__).resolve().parents[2]
MIRROR = Path(os.environ.get("TASKLOOM_DATA_ROOT") or ROOT.parent / "shared" / "data")
NO_SUCH_CONFIG_OR_SPLIT = {"SRC103", "SRC104"}
"""The mirror is a sample: it need not have every config and split."""

pytestmark = [
    pytest.mark.real_data,
    pytest.mark.skipif(not MIRROR.is_dir(), reason=f"no mirror of public data at {MIRROR}"),
]

TASKS = [task for task in load_catalogue() if task.verified == "rows"]


@pytest.mark.parametrize("annotation", TASKS, ids=lambda task: task.id)
def test_a_verified_annotation_gives_examples_of_its_own_rows(annotation, tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    num_splits = 0
    for split in splits_made(annotation):
        try:
            examples = load_examples(annotation, split, data_root=MIRROR)
        except SourceError as error:
            if error.code not in NO_SUCH_CONFIG_OR_SPLIT:
                raise
            continue
        num_splits += 1
        report = examples.report
        assert report.num_examples + sum(report.skipped.values()) == report.num_rows
        assert report.num_examples >= 0.99 * report.num_rows
        keys = {example.key for example in examples}
        assert len(keys) == len(examples)
        for index in (0, len(examples) // 2, len(examples) - 1):
            conversation = render_conversation(examples[index], examples.spec)
            assert conversation.messages[-1].role == "assistant"
    if annotation.id.startswith(("gue/", "genomic")) and num_splits == 0:
        pytest.skip("this config is not in the mirror")
    assert num_splits > 0
