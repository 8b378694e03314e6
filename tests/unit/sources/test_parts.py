"""Files of every format as batches of rows."""

import datetime
import decimal
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from datasets import Dataset, Features, Json, Value

from pipeline.errors import SourceError
from pipeline.sources.arrow_part import open_parquet, part_of_dataset
from pipeline.sources.json_lines import JsonLinesFile
from pipeline.sources.json_part import JsonPart, plain_schema, read_columns


def all_rows(part, columns=None):
    return [pair for batch in part.batches(columns) for pair in batch.rows()]


def test_parquet_rows_are_numbered_over_batches(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.sources.arrow_part.BATCH_ROWS", 3)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": range(8), "b": ["x"] * 8}), path)
    part = open_parquet(path)
    assert part.column_names() == ["a", "b"]
    assert part.count_rows() == 8
    assert all_rows(part) == [(i, {"a": i, "b": "x"}) for i in range(8)]
    assert all_rows(part, ["a", "absent"]) == [(i, {"a": i}) for i in range(8)]
    assert [list(batch.numbers) for batch in part.batches(None)] == [[0, 1, 2], [3, 4, 5], [6, 7]]
    assert [batch.columns().num_rows for batch in part.batches(["b"])] == [3, 3, 2]


def test_types_that_json_lacks_become_text(tmp_path):
    path = tmp_path / "t.parquet"
    table = pa.table(
        {
            "day": [datetime.date(2020, 1, 31)],
            "time": [datetime.datetime(2020, 1, 31, 12, 30)],
            "price": [decimal.Decimal("1.50")],
        }
    )
    pq.write_table(table, path)
    [(_, row)] = all_rows(open_parquet(path))
    assert row["day"] == "2020-01-31"
    assert row["time"].startswith("2020-01-31 12:30:00")
    assert row["price"] == "1.50"
    json.dumps(row)


def test_types_that_json_lacks_become_text_inside_of_columns_too(tmp_path):
    path = tmp_path / "t.parquet"
    day = datetime.date(2020, 1, 31)
    table = pa.table(
        {
            "days": pa.array([[day], None], pa.list_(pa.date32())),
            "pair": pa.array([[day, None], None], pa.list_(pa.date32(), 2)),
            "visit": [{"day": day, "paid": [{"price": decimal.Decimal("1.50")}]}, None],
            "by_name": pa.array([[("a", day)], None], pa.map_(pa.string(), pa.date32())),
        }
    )
    pq.write_table(table, path)
    (_, row), (_, missing) = all_rows(open_parquet(path))
    assert row["days"] == ["2020-01-31"]
    assert row["pair"] == ["2020-01-31", None]
    assert row["visit"] == {"day": "2020-01-31", "paid": [{"price": "1.50"}]}
    assert [list(pair) for pair in row["by_name"]] == [["a", "2020-01-31"]]
    assert set(missing.values()) == {None}
    json.dumps(row)


def test_short_floats_are_the_numbers_that_were_written(tmp_path):
    path = tmp_path / "t.parquet"
    short = pa.array([0.7, 0.1, None, 1e30, float("nan")], pa.float32())
    nested = pa.array([[0.7], None, [], [None], [-0.0]], pa.list_(pa.float32()))
    pq.write_table(pa.table({"short": short, "nested": nested}), path)
    rows = [row for _, row in all_rows(open_parquet(path))]
    assert [row["short"] for row in rows[:4]] == [0.7, 0.1, None, 1e30]
    assert rows[4]["short"] != rows[4]["short"]
    assert [row["nested"] for row in rows] == [[0.7], None, [], [None], [0.0]]


def test_a_column_of_bytes_is_refused_where_it_is_read(tmp_path):
    path = tmp_path / "t.parquet"
    picture = pa.array([{"bytes": b"PNG", "path": "a.png"}])
    pq.write_table(pa.table({"text": ["a"], "raw": [b"a"], "picture": picture}), path)
    part = open_parquet(path)
    assert all_rows(part) == [(0, {"text": "a"})]
    assert all_rows(part, ["text"]) == [(0, {"text": "a"})]
    for name in ("raw", "picture"):
        with pytest.raises(SourceError, match=rf"t.parquet: column '{name}' holds bytes") as caught:
            all_rows(part, ["text", name])
        assert caught.value.code == "SRC206"


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\x00" * 50 + b"PAR1", b"text"])
def test_a_damaged_parquet_file_is_told(tmp_path, content):
    path = tmp_path / "t.parquet"
    path.write_bytes(content)
    with pytest.raises(SourceError) as caught:
        open_parquet(path)
    assert caught.value.code == "SRC204"
    assert str(caught.value).startswith(f"{path}: cannot be read: ")


def test_a_parquet_file_with_a_broken_page_is_told(tmp_path):
    path = tmp_path / "t.parquet"
    rng = random.Random(0)
    pq.write_table(pa.table({"a": [rng.random() for _ in range(5000)]}), path)
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(bytes(content))
    with pytest.raises(SourceError, match="SRC204"):
        all_rows(open_parquet(path))


def test_json_columns_are_decoded(tmp_path):
    rows = [{"text": "a", "call": {"x": 1}}, {"text": "b", "call": {"y": [None]}}]
    features = Features({"text": Value("string"), "call": Json()})
    dataset = Dataset.from_list(rows, features=features)
    part = part_of_dataset(dataset)
    assert all_rows(part) == list(enumerate(rows))
    assert [batch.columns() for batch in part.batches(["text"])] == [None]
    path = tmp_path / "t.parquet"
    dataset.to_parquet(path)
    assert all_rows(open_parquet(path)) == list(enumerate(rows))
    assert all_rows(open_parquet(path), ["call"]) == [
        (0, {"call": {"x": 1}}),
        (1, {"call": {"y": [None]}}),
    ]


def json_part(tmp_path, text, convert=None):
    path = tmp_path / "t.jsonl"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    return JsonPart(JsonLinesFile(path), convert)


def columns_of(part, names):
    batches = [batch.columns() for batch in part.batches(names)]
    return None if None in batches else [row for batch in batches for row in batch.to_pylist()]


def test_plain_columns_of_json_are_read_by_arrow_as_by_python(tmp_path):
    rows = [
        {"text": "2020-01-01", "label": 3, "ok": True, "score": 8.854e-12, "tags": ["a", "b"]},
        {"text": 'é\u2028\x00"\\', "label": -1, "ok": False, "score": 0.2907590418481535},
        {"text": None, "label": 0, "ok": None, "score": 1.5e-300, "tags": []},
    ]
    part = json_part(tmp_path, "\n\n".join(json.dumps({**row, "z": [1, "s"]}) for row in rows))
    names = ["label", "text", "ok", "score", "tags"]
    expected = [{name: row.get(name) for name in names} for row in rows]
    assert columns_of(part, names) == expected
    assert [row for _, row in all_rows(part)] == [{**row, "z": [1, "s"]} for row in rows]


@pytest.mark.parametrize(
    "line",
    [
        '{"a": 1.0}',
        '{"a": "1"}',
        '{"a": true}',
        '{"a": 99999999999999999999}',
        '{"a": 1, "a": 2}',
        '{"a": 1}{"a": 2}',
        '{"a": 1',
        "[1]",
        '{"a": {"b": 1}}',
    ],
)
def test_a_block_that_arrow_would_read_otherwise_is_left_to_python(tmp_path, line):
    part = json_part(tmp_path, '{"a": 1}\n' * 150 + line + "\n")
    assert columns_of(part, ["a"]) is None


@pytest.mark.parametrize(("later", "is_left"), [("2", True), ("2.0", True), ("2.5", False)])
def test_integers_among_floats_are_left_to_python_which_tells_them_apart(tmp_path, later, is_left):
    part = json_part(tmp_path, '{"a": 0.5}\n' * 150 + f'{{"a": {later}}}\n')
    assert (columns_of(part, ["a"]) is None) == is_left


def test_a_column_that_is_null_at_first_is_read_while_it_stays_so(tmp_path):
    part = json_part(tmp_path, '{"a": 1, "b": null}\n' * 150)
    assert columns_of(part, ["a", "b"])[-1] == {"a": 1, "b": None}
    part = json_part(tmp_path, '{"a": 1, "b": null}\n' * 150 + '{"a": 1, "b": "x"}\n')
    assert columns_of(part, ["a", "b"]) is None


@pytest.mark.parametrize("values", [[1, "x"], [1, 2.5], [{"x": 1}], [[1]], [["a", None]], [[]]])
def test_columns_without_one_plain_type_are_left_to_python(values):
    assert plain_schema([{"a": value} for value in values], ["a"], None) is None


def test_columns_that_are_cast_are_left_to_python():
    assert plain_schema([{"a": "1"}], ["a"], lambda row: {"a": int(row["a"])}) is None
    assert plain_schema([{"a": "1"}], ["a"], dict) == pa.schema([("a", pa.string())])


def test_text_that_is_not_utf8_is_left_to_python(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"a": "\xff"}\n')
    [block] = JsonLinesFile(path).blocks()
    assert read_columns(block, pa.schema([("a", pa.string())])) is None


def test_an_array_is_read_whole(tmp_path):
    path = tmp_path / "t.json"
    path.write_text('[{"a": 1}, {"b": 2}]')
    part = JsonPart(JsonLinesFile(path), None)
    assert part.column_names() == ["a", "b"]
    assert all_rows(part, ["a"]) == [(0, {"a": 1}), (1, {"b": 2})]
    assert columns_of(part, ["a"]) is None
