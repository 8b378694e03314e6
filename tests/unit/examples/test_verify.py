"""The one line that says an annotation was run on real rows."""

from __future__ import annotations

import pytest

from pipeline.annotations.schema import load_annotation
from pipeline.errors import AnnotationError
from pipeline.examples.verify import mark_verified
from tests.fixtures.tiny_mirror import write_tiny_mirror


@pytest.fixture
def colour(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    annotations, mirror = write_tiny_mirror(tmp_path)
    return annotations / "general" / "colour.yaml", mirror


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("verified: golden", "verified: rows"),
        ('verified:   "unverified"  # not yet', "verified: rows  # not yet"),
    ],
)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_only_that_line_changes(line, wanted, newline, colour):
    path, _ = colour
    text = path.read_text().replace("verified: rows", f"# kept\n{line}\nnotes: kept  # too")
    path.write_bytes(text.replace("\n", newline).encode())
    before = path.read_bytes().split(newline.encode())
    assert mark_verified(path)
    after = path.read_bytes().split(newline.encode())
    changed = [(old, new) for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [(line.encode(), wanted.encode())]
    assert not mark_verified(path)


@pytest.mark.parametrize("end", ["", "\n"])
def test_a_file_that_says_nothing_gets_a_line_at_its_end(end, colour):
    path, _ = colour
    text = path.read_text().replace("verified: rows\n", "").rstrip("\n") + end
    path.write_text(text)
    assert mark_verified(path)
    assert path.read_text() == f"{text.rstrip()}\nverified: rows\n"
    assert load_annotation(path).verified == "rows"


def test_a_form_that_cannot_be_changed_safely_is_left_alone(colour):
    path, _ = colour
    text = path.read_text().replace("verified: rows", "verified:\n  golden")
    path.write_text(text)
    with pytest.raises(AnnotationError, match="cannot be changed safely"):
        mark_verified(path)
    assert path.read_text() == text
