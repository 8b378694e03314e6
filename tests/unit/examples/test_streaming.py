"""Sources that are read where they are, of which only examples are stored."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import SourceError
from pipeline.examples import load_examples
from pipeline.examples.sampling import PassingSample
from pipeline.files import cache_root
from pipeline.sources import remote
from pipeline.sources.selection import choose_rows
from tests.fixtures import loopback_hub

HEADER = """schema_version: 1
id: demo
source: {hub: owner/name, licence: mit, data_files: %s, stream: %s}
instruction: Answer.
"""
TASK = """
task: classification
splits: {train: train}
fields: {text: text, target: label}
labels: ["no", "yes"]
"""
ROWS = [{"text": f"text number {i}", "label": i % 2} for i in range(12_000)]


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """Serve the rows as `rows.jsonl` and `rows.parquet`; gives the folder of the hub's cache."""
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "rows.parquet", row_group_size=500)
    lines = "".join(json.dumps(row) + "\n" for row in ROWS).encode()
    served = {
        "README.md": b"",
        "rows.jsonl": lines,
        "rows.parquet": (tmp_path / "rows.parquet").read_bytes(),
        "rows.csv": b"text,label\na,1\n",
    }
    monkeypatch.setattr(loopback_hub, "FILES", served)
    monkeypatch.setattr(loopback_hub, "RANGES_SERVED", [])
    monkeypatch.setattr(remote, "READ_AHEAD_BYTES", 16_384)
    monkeypatch.setattr("pipeline.sources.json_lines.BLOCK_BYTES", 4096)
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    with loopback_hub.loopback_hub(monkeypatch, tmp_path / "hub"):
        yield tmp_path / "hub"


def stored_files(folder):
    return {path.name for path in folder.rglob("*") if path.is_file() and path.suffix != ".md"}


@pytest.mark.parametrize("file", ["rows.jsonl", "rows.parquet"])
def test_a_stream_gives_the_examples_of_the_stored_file_and_stores_no_file(annotate, hub, file):
    stored = load_examples(annotate(TASK, HEADER % (file, "false")), "train")
    expected = list(stored)
    assert file in stored_files(hub)
    for path in hub.rglob(file):
        path.unlink()
    streamed = load_examples(annotate(TASK, HEADER % (file, "true")), "train")
    assert not streamed.report.is_cached
    assert list(streamed) == expected
    assert file not in stored_files(hub)


@pytest.mark.parametrize("file", ["rows.jsonl", "rows.parquet"])
def test_a_stream_that_ends_early_reads_the_first_rows_only(annotate, hub, file):
    annotation = annotate(TASK, HEADER % (file, "50"))
    examples = load_examples(annotation, "train")
    assert [example.key for example in examples] == [f"demo/train/{i}" for i in range(50)]
    assert examples.report.num_rows == 50
    if file == "rows.jsonl":
        assert sum(loopback_hub.RANGES_SERVED) < len(loopback_hub.FILES[file]) / 2


def test_a_capped_stream_stores_the_examples_that_the_cap_would_choose(annotate, hub):
    text = TASK + "cap: {train: 40, seed: 3}\n"
    whole = load_examples(annotate(text, HEADER % ("rows.jsonl", "false")), "train")
    capped = load_examples(annotate(text, HEADER % ("rows.jsonl", "true")), "train")
    assert list(capped) == list(whole)
    assert (capped.report.num_available, capped.report.num_examples) == (12_000, 40)
    assert len(pa.ipc.open_file(pa.memory_map(str(capped._path))).read_all()) == 40
    few = load_examples(annotate(text, HEADER % ("rows.jsonl", "true")), "train", max_rows=7)
    expected = load_examples(annotate(text, HEADER % ("rows.jsonl", "false")), "train", max_rows=7)
    assert list(few) == list(expected)
    again = load_examples(annotate(text, HEADER % ("rows.jsonl", "true")), "train")
    assert again.report.is_cached


def test_a_limit_on_rows_is_applied_while_streaming(annotate, hub):
    few = load_examples(
        annotate(TASK, HEADER % ("rows.jsonl", "true")), "train", max_rows=25, seed=9
    )
    whole = load_examples(
        annotate(TASK, HEADER % ("rows.jsonl", "false")), "train", max_rows=25, seed=9
    )
    assert list(few) == list(whole)
    assert sum(1 for _ in (cache_root() / "examples").rglob("examples.arrow")) == 2
    assert len(pa.ipc.open_file(pa.memory_map(str(few._path))).read_all()) == 25


def test_a_file_that_cannot_be_streamed_is_told(annotate, hub):
    with pytest.raises(SourceError, match=r"rows.csv: files of type csv cannot be .*\[SRC162\]"):
        load_examples(annotate(TASK, HEADER % ("rows.csv", "true")), "train")


def test_a_split_cut_out_of_a_stream_that_ends_early_is_told(annotate, hub):
    text = TASK.replace("{train: train}", "{train: train, validation: {take: 0.1, from: train}}")
    with pytest.raises(SourceError, match=r"demo: `take` needs all rows.*\[SRC163\]"):
        load_examples(annotate(text, HEADER % ("rows.jsonl", "100")), "validation")


@pytest.mark.parametrize("size", [1, 7, 1000])
@pytest.mark.parametrize("limit", [1, 3, 500, 5000, 20_000])
def test_a_passing_sample_is_what_would_be_chosen_of_all(monkeypatch, size, limit):
    monkeypatch.setattr("pipeline.examples.sampling._SLACK_ROWS", 10)
    count = 300 * size if size < 1000 else 9000
    values = np.arange(count)
    batches = [
        pa.record_batch({"value": values[start : start + size]}) for start in range(0, count, size)
    ]
    sample = PassingSample(limit, seed=4)
    found = [value for batch in sample.chosen(batches) for value in batch["value"].to_pylist()]
    assert found == choose_rows(count, limit, 4).tolist()
    assert sample.num_passed == count
