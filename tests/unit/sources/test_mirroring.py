"""Mirrors: the same bytes and examples as the source, and a lock that notices every change."""

from __future__ import annotations

import json
import os
import shutil

import pytest

from pipeline.annotations.schema import load_annotation
from pipeline.errors import OutputError, SourceError
from pipeline.examples import load_examples
from pipeline.sources import load_rows, load_side_file
from pipeline.sources.lock import LOCK_NAME, read_lock
from pipeline.sources.mirroring import check_mirror, mirror_task, plan_mirror, verify_task
from pipeline.sources.rows import open_dataset
from tests.fixtures.loopback_hub import COMMIT, FILES, loopback_hub
from tests.fixtures.tiny_mirror import write_tiny_mirror

LIBRARY = """schema_version: 1
id: library
task: text
source: {hub: own/library, config: small, licence: mit, language: en}
splits: {train: [one, two], test: {take: 2, from: one}}
rows:
  - lookup: {as: found, file: side/books.jsonl, key: key, of: book}
fields: {book: book, target: "found[0].title"}
instruction: Name the title.
"""


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture
def tiny(tmp_path):
    """Return the annotation of colours, and the mirror it reads."""
    annotations, mirror = write_tiny_mirror(tmp_path / "tiny")
    return load_annotation(annotations / "general" / "colour.yaml"), mirror


@pytest.fixture
def library(tmp_path, write_lines):
    root = tmp_path / "source"
    folder = root / "own" / "library"
    for split in ("one", "two"):
        write_lines(folder / "small" / f"{split}.jsonl", [{"book": n} for n in range(5)])
    write_lines(folder / "unused.jsonl", [{"book": 1}])
    write_lines(folder / "side" / "books.jsonl", [{"key": n, "title": f"t{n}"} for n in range(5)])
    path = tmp_path / "library.yaml"
    path.write_text(LIBRARY)
    return load_annotation(path), root


def fill(annotation, source, target):
    """Mirror a task; returns the names of the files that were copied."""
    copied = []

    def progress(name, *, is_copied):
        if is_copied:
            copied.append(name)

    mirror_task(plan_mirror(annotation, source), target, progress)
    return copied


def errors_of(folder):
    return [str(error) for error in check_mirror(folder, lambda name: None)]


def examples_of(annotation, split, root):
    return list(load_examples(annotation, split, data_root=root))


def test_a_mirror_of_a_mirror_has_the_same_bytes_and_examples(tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    for split in ("train", "validation", "test"):
        name = f"tiny/colour/{split}.jsonl"
        assert (target / name).read_bytes() == (source / name).read_bytes()
        assert examples_of(annotation, split, target) == examples_of(annotation, split, source)
        assert (
            load_rows(annotation, split, target).fingerprint
            == load_rows(annotation, split, source).fingerprint
        )
    assert errors_of(target) == []


def test_merged_and_cut_splits_and_side_files_come_along_and_nothing_else(library, tmp_path):
    annotation, source = library
    target = tmp_path / "copy"
    copied = fill(annotation, source, target)
    assert sorted(copied) == ["side/books.jsonl", "small/one.jsonl", "small/two.jsonl"]
    assert load_side_file(annotation, "side/books.jsonl", target)[4] == {"key": 4, "title": "t4"}
    for split in ("train", "test"):
        assert examples_of(annotation, split, target) == examples_of(annotation, split, source)
    locked = read_lock(target).datasets["own/library"]
    counted = {(entry.config, entry.split): entry.rows for entry in locked.splits}
    assert counted == {("small", "one"): 5, ("small", "two"): 5}


def test_a_source_without_a_card_gets_one_with_its_licence(library, tmp_path):
    annotation, source = library
    fill(annotation, source, tmp_path / "copy")
    card = (tmp_path / "copy" / "own" / "library" / "README.md").read_text()
    assert "license: mit" in card
    assert "language: [en]" in card


def test_nothing_is_copied_twice_and_what_was_damaged_is_copied_again(tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"
    assert len(fill(annotation, source, target)) == 3
    assert fill(annotation, source, target) == []
    (target / "tiny/colour/test.jsonl").write_text("{}\n")
    assert fill(annotation, source, target) == ["test.jsonl"]
    assert errors_of(target) == []


def test_a_run_that_was_stopped_goes_on_where_it_was(tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"

    def stop(name, *, is_copied):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        mirror_task(plan_mirror(annotation, source), target, stop)
    assert len(list(target.rglob("*.jsonl"))) == 1
    assert len(fill(annotation, source, target)) == 2
    assert errors_of(target) == []


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda path: path.write_text("{}\n"), "bytes, "),
        (lambda path: path.write_bytes(path.read_bytes()[::-1]), "not the locked one"),
        (lambda path: path.unlink(), "missing"),
    ],
)
def test_the_check_names_every_file_that_is_not_as_it_was(damage, words, tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    damage(target / "tiny/colour/validation.jsonl")
    (error,) = errors_of(target)
    assert "tiny/colour/validation.jsonl" in error
    assert words in error


def test_the_fingerprint_is_the_same_with_and_without_the_lock(tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    locked = load_rows(annotation, "train", target).fingerprint
    (target / LOCK_NAME).unlink()
    assert load_rows(annotation, "train", target).fingerprint == locked


def test_a_file_that_changed_after_the_lock_is_hashed_anew(tiny, tmp_path):
    """The lock is trusted for files that are as old and as large as it says."""
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    before = load_rows(annotation, "train", target).fingerprint
    path = target / "tiny/colour/train.jsonl"
    changed = path.read_text().replace("red", "RED")
    path.write_text(changed)
    later = (target / LOCK_NAME).stat().st_mtime_ns + 10**9
    os.utime(path, ns=(later, later))
    assert load_rows(annotation, "train", target).fingerprint != before


def test_files_that_fit_the_lock_are_not_read_to_know_their_hash(tiny, tmp_path, monkeypatch):
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    wanted = load_rows(annotation, "train", target).fingerprint

    def refuse(path):
        raise AssertionError(path)

    monkeypatch.setattr("pipeline.sources.folder.content_of_file", refuse)
    assert load_rows(annotation, "train", target).fingerprint == wanted


def test_another_state_of_a_dataset_is_refused(tiny, tmp_path):
    annotation, source = tiny
    target = tmp_path / "copy"
    fill(annotation, source, target)
    with (source / "tiny/colour/train.jsonl").open("a") as stream:
        stream.write('{"text": "a red mug", "label": "red"}\n')
    with pytest.raises(SourceError, match="holds another state of this dataset"):
        fill(annotation, source, target)
    shutil.rmtree(target / "tiny")
    assert len(fill(annotation, source, target)) == 3


def test_a_card_that_leads_to_other_files_is_noticed(library, tmp_path):
    annotation, source = library
    target = tmp_path / "copy"
    fill(annotation, source, target)
    plan = plan_mirror(annotation, source)
    verify_task(plan, target)
    folder = target / "own" / "library"
    shutil.copy(folder / "small" / "one.jsonl", folder / "other.jsonl")
    with (folder / "other.jsonl").open("a") as stream:
        stream.write('{"book": 1}\n')
    (folder / "README.md").write_text(
        "---\nconfigs:\n- config_name: small\n  data_files:\n"
        "  - {split: one, path: other.jsonl}\n  - {split: two, path: small/two.jsonl}\n---\n"
    )
    with pytest.raises(SourceError, match=r"another state.*other\.jsonl"):
        verify_task(plan, target)


def test_a_disk_that_is_too_small_is_told_before_anything_is_copied(tiny, tmp_path, monkeypatch):
    annotation, source = tiny
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(OutputError, match=r"0\.0 MB are needed, 0\.0 MB are free"):
        fill(annotation, source, tmp_path / "copy")
    assert not list((tmp_path / "copy").rglob("*.jsonl"))


def test_a_mirror_is_not_copied_into_itself(tiny):
    annotation, source = tiny
    with pytest.raises(SourceError, match="into itself"):
        fill(annotation, source, source)
    assert len((source / "tiny/colour/train.jsonl").read_text().splitlines()) == 32


@pytest.mark.parametrize("text", ["{", "[]", '{"version": 99, "datasets": {}}', '{"version": 1}'])
def test_a_damaged_lock_file_is_told_in_one_line(text, tiny):
    annotation, source = tiny
    (source / LOCK_NAME).write_text(text)
    with pytest.raises(SourceError, match="lock file of this mirror cannot be read"):
        load_rows(annotation, "train", source)


def test_a_folder_without_a_lock_is_no_mirror_to_check(tmp_path):
    with pytest.raises(SourceError, match=f"no {LOCK_NAME} here"):
        check_mirror(tmp_path, lambda name: None)


HUB_TASK = """schema_version: 1
id: hub_task
task: classification
source: {hub: owner/NAME, config: rte, licence: mit}
splits: {train: train}
fields: {text: text, target: label}
instruction: Which label fits?
"""


@pytest.fixture
def hub_task(tmp_path):
    def make(name):
        path = tmp_path / f"{name}.yaml"
        path.write_text(HUB_TASK.replace("NAME", name))
        return load_annotation(path)

    return make


def test_the_hub_is_mirrored_at_one_commit_and_then_not_needed(hub_task, tmp_path, monkeypatch):
    annotation, target = hub_task("name"), tmp_path / "copy"
    with loopback_hub(monkeypatch, tmp_path / "hub"):
        plan = plan_mirror(annotation, None)
        assert plan.sizes == {name: len(content) for name, content in FILES.items()}
        assert len(fill(annotation, None, target)) == len(FILES)
        assert fill(annotation, None, target) == []
        from_hub = examples_of(annotation, "train", None)
    for name, content in FILES.items():
        assert (target / "owner" / "name" / name).read_bytes() == content
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    assert examples_of(annotation, "train", target) == from_hub
    locked = json.loads((target / LOCK_NAME).read_text())["datasets"]["owner/name"]
    assert locked["revision"] == COMMIT
    assert open_dataset("owner/name", None, target).revision == COMMIT
    assert locked["splits"] == [
        {
            "config": "rte",
            "split": "train",
            "files": ["rte/tr-0.jsonl", "rte/tr-1.jsonl"],
            "rows": 2,
            "revision": COMMIT,
        }
    ]
    assert errors_of(target) == []


@pytest.mark.parametrize(("name", "code"), [("gated", "SRC105"), ("absent", "SRC102")])
def test_a_closed_dataset_leaves_nothing_behind(name, code, hub_task, tmp_path, monkeypatch):
    target = tmp_path / "copy"
    with loopback_hub(monkeypatch, tmp_path / "hub"), pytest.raises(SourceError) as caught:
        fill(hub_task(name), None, target)
    assert caught.value.code == code
    assert not target.exists() or not list(target.rglob("*.jsonl"))


def test_without_a_network_the_reason_is_told(hub_task, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(SourceError, match="the hub is switched off"):
        fill(hub_task("name"), None, tmp_path / "copy")
