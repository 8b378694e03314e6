import json

import pytest

from pipeline.annotations.schema import load_annotation

HEADER = """schema_version: 1
id: demo
source: {hub: owner/name, licence: mit}
instruction: Answer.
"""


@pytest.fixture
def annotate(tmp_path):
    """Make an annotation of the dataset `owner/name` from the rest of its YAML text."""

    def make(text, header=HEADER):
        path = tmp_path / "annotations" / "demo.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(header + text, encoding="utf-8")
        return load_annotation(path)

    return make


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Write rows of `owner/name` into a mirror; returns the mirror's folder."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))

    def write(**splits):
        folder = tmp_path / "mirror" / "owner" / "name"
        folder.mkdir(parents=True, exist_ok=True)
        for name, rows in splits.items():
            lines = (row if isinstance(row, str) else json.dumps(row) for row in rows)
            (folder / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines))
        return tmp_path / "mirror"

    return write
