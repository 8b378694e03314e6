import gzip
import itertools
import json
import random

import pytest

from pipeline.errors import SourceError
from pipeline.sources import json_lines
from pipeline.sources.json_lines import JsonLinesFile


def rows_of(path):
    return [row for _, row in JsonLinesFile(path)]


def test_rows_come_back_exactly_as_written(tmp_path):
    rows = [
        {"a": {"x": 1}, "b": ["1", 2, None], "c": 8.854e-12},
        {"a": {"y": "t"}, "b": [], "c": 0.2907590418481535},
        {"b": [{"k": {}}], "c": 3},
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    assert rows_of(path) == rows
    assert [list(row) for row in rows_of(path)] == [["a", "b", "c"], ["a", "b", "c"], ["b", "c"]]
    assert isinstance(rows_of(path)[2]["c"], int)


def test_rows_are_numbered_over_nonempty_lines(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\n{"a": 1}\r\n   \n{"a": 2}\n\n')
    assert list(JsonLinesFile(path)) == [(0, {"a": 1}), (1, {"a": 2})]
    assert JsonLinesFile(path).count_rows() == 2


def test_line_separators_inside_text_do_not_split_a_row(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": "x\u2028y\u0085z"}\n', encoding="utf-8")
    assert rows_of(path) == [{"a": "x\u2028y\u0085z"}]


def test_a_byte_order_mark_is_left_out(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"a": 1}\n')
    assert rows_of(path) == [{"a": 1}]


def test_an_array_of_objects_is_read(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[\n  {"a": 1},\n  {"a": 2}\n]')
    assert list(JsonLinesFile(path)) == [(0, {"a": 1}), (1, {"a": 2})]
    assert JsonLinesFile(path).count_rows() == 2


def test_compressed_lines_are_read(tmp_path):
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n{"a": 2}\n'))
    assert rows_of(path) == [{"a": 1}, {"a": 2}]


def test_an_empty_file_has_no_rows(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"")
    assert rows_of(path) == []


@pytest.mark.parametrize(
    ("content", "place", "code"),
    [
        (b'{"a": 1}\n{"a": }\n', ":2:7:", "SRC201"),
        (b'{"a": 1}\n{"a": 1', ":2:8:", "SRC201"),
        (b'{"a": 1}\n[1, 2]\n', ":2:1:", "SRC201"),
        (b'{"a": 1}, {"b": 1}\n{"a": "x\ny"}\n', ":1:9:", "SRC201"),
        (b'{"a": 1}\n{"a": [1\n2]}\n', ":2:9:", "SRC201"),
        (b'{"a": 1}\n7\n', ":2:1:", "SRC201"),
        (b'{"a": "\xff"}\n', ":1:8:", "SRC203"),
        (b'[{"a": 1}, 3]', ":", "SRC201"),
        (b'[{"a": 1},', ":1:", "SRC201"),
        (b'{"a":' + b"[" * 100_000 + b"\n", ":1:1:", "SRC201"),
        (b'{"a":' + b"9" * 5_000 + b"}\n", ":1:1:", "SRC201"),
    ],
)
def test_a_broken_line_is_told_with_its_place(tmp_path, content, place, code):
    path = tmp_path / "t.jsonl"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        rows_of(path)
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{path}{place}")
    assert "\n" not in str(caught.value)


def test_a_broken_line_reads_as_one_sentence(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": one}\n')
    with pytest.raises(SourceError) as caught:
        rows_of(path)
    assert str(caught.value) == (
        f"{path}:2:7: not JSON: Expecting value, got '{{\"a\": one}}'. "
        "Each line must be one complete JSON object. [SRC201]"
    )


def test_a_row_that_is_too_large_is_skipped_and_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "MAX_ROW_BYTES", 100)
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 64)
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 500 + '"}\n{"a": 3}\n')
    file = JsonLinesFile(path)
    assert list(file) == [(0, {"a": 1}), (2, {"a": 3})]
    assert file.skipped == {"row_too_large": 1}
    assert file.num_seen == 3
    assert file.count_rows() == 3


def test_a_line_without_end_is_an_error_and_not_read_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", 100)
    monkeypatch.setattr(json_lines, "MAX_LINE_BYTES", 1000)
    path = tmp_path / "t.jsonl"
    path.write_text('{"a": 1}\n{"a": "' + "x" * 5000 + '"}\n')
    with pytest.raises(SourceError) as caught:
        rows_of(path)
    assert caught.value.code == "SRC202"
    assert f"{path}:2:1:" in str(caught.value)


def test_a_compressed_bomb_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_lines, "_FREE_EXPANSION_BYTES", 1000)
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(gzip.compress(b'{"a": 1}\n' * 100_000))
    with pytest.raises(SourceError) as caught:
        rows_of(path)
    assert caught.value.code == "SRC205"


def test_a_cut_off_compressed_file_is_told(tmp_path):
    content = gzip.compress(b"".join(b'{"a": %d}\n' % i for i in range(1000)))
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(content[:-20])
    with pytest.raises(SourceError) as caught:
        rows_of(path)
    assert caught.value.code == "SRC204"


def test_a_file_can_be_read_in_part_and_again(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text("".join(f'{{"a": {i}}}\n' for i in range(10)))
    file = JsonLinesFile(path)
    assert len(list(itertools.islice(file, 3))) == 3
    assert len(list(file)) == 10


def test_no_mutated_file_ends_in_anything_but_rows_or_a_source_error(tmp_path):
    rng = random.Random(7)
    base = b'{"a": "x\\ud83d\\ude00", "b": [1, 2.5, null, {"c": true}]}\n' * 3
    path = tmp_path / "t.jsonl"
    codes = set()
    for _ in range(300):
        content = bytearray(base)
        for _ in range(rng.randint(1, 6)):
            position = rng.randrange(len(content))
            content[position : position + rng.randint(0, 3)] = bytes([rng.randrange(256)])
        path.write_bytes(bytes(content))
        try:
            rows = rows_of(path)
        except SourceError as error:
            codes.add(error.code)
        else:
            assert all(isinstance(row, dict) for row in rows)
    assert codes == {"SRC201", "SRC203"}


@pytest.mark.parametrize("block_bytes", [1, 7, 16, 40, 1000])
def test_rows_do_not_depend_on_how_much_is_read_at_a_time(tmp_path, monkeypatch, block_bytes):
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"a": 1}\n\n{"a": "two"}\r\n{"a": "th\u00e9ree"}', encoding="utf-8")
    monkeypatch.setattr(json_lines, "BLOCK_BYTES", block_bytes)
    file = JsonLinesFile(path)
    assert list(file) == [(0, {"a": 1}), (1, {"a": "two"}), (2, {"a": "th\u00e9ree"})]
    assert file.num_seen == file.count_rows() == 3
    path.write_text('{"a": 1}\n\n{"a": 2}\n{"a" 3}\n')
    with pytest.raises(SourceError, match=r":4:6: not JSON"):
        rows_of(path)
