from __future__ import annotations

import json
import os
import signal

import pytest

from pipeline import files
from pipeline.errors import OutputError
from pipeline.files import (
    MANIFEST_NAME,
    cache_root,
    folder_fault,
    is_complete_folder,
    is_inside,
    read_json,
    read_sealed_json,
    sha256_of_json,
    staged_folder,
    write_json,
    write_sealed_json,
    write_text,
)


def test_written_text_is_read_back(tmp_path):
    write_text(tmp_path / "deep" / "a.txt", "grüße\n")
    assert (tmp_path / "deep" / "a.txt").read_text(encoding="utf-8") == "grüße\n"


def test_json_is_written_readable_and_keeps_its_key_order(tmp_path):
    write_json(tmp_path / "a.json", {"b": 1, "a": [1.5, None]})
    assert read_json(tmp_path / "a.json") == {"b": 1, "a": [1.5, None]}
    assert list(json.loads((tmp_path / "a.json").read_text())) == ["b", "a"]


def test_a_file_in_the_way_of_a_folder_is_one_clear_line(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match=r"cannot write here: .*\[OUT001\]"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, 1)
    with pytest.raises(TypeError):
        write_json(target, object())  # type: ignore[arg-type]
    assert read_json(target) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "out"
    with pytest.raises(RuntimeError), staged_folder(target) as staged:
        (staged / "half").write_text("x")
        raise RuntimeError("stop")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_replaced_as_a_whole(tmp_path):
    target = tmp_path / "out"
    for name in ("first", "second"):
        with staged_folder(target) as staged:
            (staged / name).write_text(name)
    assert sorted(path.name for path in target.iterdir()) == [MANIFEST_NAME, "second"]
    assert is_complete_folder(target)


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove", "add", "manifest"])
def test_damage_to_a_sealed_folder_is_seen(tmp_path, damage):
    target = tmp_path / "out"
    with staged_folder(target) as staged:
        (staged / "sub").mkdir()
        (staged / "sub" / "data").write_bytes(b"\x00" * 1000)
    assert is_complete_folder(target)
    data = target / "sub" / "data"
    if damage == "flip":
        data.write_bytes(b"\x00" * 499 + b"\x01" + b"\x00" * 500)
    elif damage == "truncate":
        data.write_bytes(b"\x00" * 999)
    elif damage == "remove":
        data.unlink()
    elif damage == "add":
        (target / "more").write_text("x")
    else:
        (target / MANIFEST_NAME).write_text("[]")
    assert not is_complete_folder(target)


def test_a_folder_that_people_share_may_have_notes_but_no_other_change(tmp_path):
    target = tmp_path / "out"
    with staged_folder(target) as staged:
        (staged / "data").write_text("1")
        (staged / "README.md").write_text("made here")
    (target / "README.md").write_text("what it is good for")
    (target / ".gitattributes").write_text("x")
    assert folder_fault(target) is not None
    assert folder_fault(target, allows_notes=True) is None
    (target / "data").write_text("2")
    assert folder_fault(target, allows_notes=True) == "data: changed since it was written"
    (target / "data").unlink()
    assert folder_fault(target, allows_notes=True) == "data: missing"
    (target / MANIFEST_NAME).write_text('{"files": 3}')
    assert folder_fault(target, allows_notes=True) == "its manifest.json cannot be read"


def test_a_single_file_that_was_damaged_is_as_good_as_none(tmp_path):
    path = tmp_path / "sub" / "value.json"
    assert read_sealed_json(path) is None
    value = ["\u00e4", 1.5]
    write_sealed_json(path, value)
    assert read_sealed_json(path) == value
    good = path.read_bytes()
    for place in range(len(good)):
        for bit in range(8):
            changed = bytearray(good)
            changed[place] ^= 1 << bit
            path.write_bytes(changed)
            assert read_sealed_json(path) is None, (place, bit)
    for length in range(len(good) - 1):
        path.write_bytes(good[:length])
        assert read_sealed_json(path) is None, length
    for text in ("[]", "1", '["a"]'):
        path.write_text(text)
        assert read_sealed_json(path) is None


def fill_in_a_child(path) -> int:
    """Start a process that is still filling the folder when this returns."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        with staged_folder(path) as staged:
            (staged / "half").write_text("x")
            os.write(writer, b".")
            signal.pause()
        os._exit(1)
    os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    return child


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_what_a_killed_process_staged_is_removed_by_the_next(tmp_path, number):
    child = fill_in_a_child(tmp_path / "folder")
    os.kill(child, number)
    os.waitpid(child, 0)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".folder.")
    with staged_folder(tmp_path / "other"):
        assert left.is_dir()
    with staged_folder(tmp_path / "folder"):
        assert not left.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "other"]


def test_what_a_living_process_stages_is_left_alone(tmp_path):
    child = fill_in_a_child(tmp_path / "folder")
    (theirs,) = tmp_path.iterdir()
    with staged_folder(tmp_path / "folder"):
        pass
    assert (theirs / "half").is_file()
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def test_what_another_machine_stages_is_left_alone(tmp_path, monkeypatch):
    child = fill_in_a_child(tmp_path / "folder")
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    (theirs,) = tmp_path.iterdir()
    monkeypatch.setattr(files, "_MACHINE", "elsewhere")
    with staged_folder(tmp_path / "folder"):
        pass
    assert theirs.is_dir()


def test_equal_values_have_equal_digests_whatever_their_key_order():
    assert sha256_of_json({"a": 1, "b": 2}) == sha256_of_json({"b": 2, "a": 1})
    assert sha256_of_json({"a": 1}) != sha256_of_json({"a": "1"})


def test_links_do_not_lead_out_of_a_folder(tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    assert is_inside(root / "a", root)
    assert not is_inside(root / "link" / "a", root)
    assert not is_inside(root / ".." / "a", root)


def test_the_cache_moves_with_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    assert cache_root() == tmp_path
