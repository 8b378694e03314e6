"""Data prepared in one go, in shards and by helping processes: always the same bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from pipeline.errors import MixtureError, PipelineErrors
from pipeline.mixture import parts
from pipeline.recipe import Recipe
from pipeline.training import preparing
from pipeline.training.preparing import join_shards, prepare, prepare_shard
from pipeline.training.task_tokens import load_tasks
from tests.fixtures.tiny_mirror import write_tiny_mirror
from tests.fixtures.tiny_models import save_tiny_model

NUM_SHARDS = 3


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("place")
    write_tiny_mirror(folder)
    save_tiny_model(folder / "base")
    return folder


@pytest.fixture
def recipe(place, tmp_path, monkeypatch):
    """A recipe whose tasks are cut into parts of 7 rows, with a cache of its own."""
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path / "cache"))
    cut = parts.cut_into_parts
    monkeypatch.setattr(preparing, "cut_into_parts", lambda rows: cut(rows, part_rows=7))
    return Recipe.model_validate(
        {
            "model_name_or_path": str(place / "base"),
            "annotations": [str(place / "annotations")],
            "data_root": str(place / "mirror"),
            "tasks": ["tiny/colour", "tiny/calls"],
            "output_dir": str(tmp_path / "run"),
            "max_length": 192,
            "eval_strategy": "steps",
        }
    )


def cache_of(tmp_path: Path) -> dict[str, str]:
    """Return a hash of every file below the tokens."""
    root = tmp_path / "cache" / "tokens"
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def forget(tmp_path: Path) -> None:
    (tmp_path / "cache").rename(tmp_path / f"cache-{len(list(tmp_path.iterdir()))}")


def test_shards_in_any_order_leave_the_bytes_of_one_run(recipe, tmp_path):
    assert prepare(recipe) == 3
    whole = cache_of(tmp_path)
    forget(tmp_path)
    made = [prepare_shard(recipe, shard=shard, num_shards=NUM_SHARDS) for shard in (2, 0, 1)]
    assert min(made) >= 2
    assert join_shards(recipe, NUM_SHARDS) == 3
    assert cache_of(tmp_path) == whole
    assert {name.split("/")[0] for name in whole} == {"tiny__calls", "tiny__colour"}


def test_training_reads_what_was_prepared(recipe, tmp_path, monkeypatch):
    prepare(recipe)
    monkeypatch.setattr("pipeline.mixture.tokens.tokenise_many", None)
    assert [task.name for task in load_tasks(recipe, preparing.Maker(recipe).tokenizer)] == [
        "tiny/colour",
        "tiny/calls",
    ]


def test_missing_and_damaged_shards_are_named_with_the_command_that_makes_them(recipe, tmp_path):
    prepare_shard(recipe, shard=0, num_shards=NUM_SHARDS)
    prepare_shard(recipe, shard=2, num_shards=NUM_SHARDS)
    broken = sorted((tmp_path / "cache" / "tokens").rglob("*-of-*/input_ids.bin"))[0]
    broken.write_bytes(b"")
    with pytest.raises(PipelineErrors) as caught:
        join_shards(recipe, NUM_SHARDS)
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    assert sum("is damaged" in line for line in lines) == 1
    (missing,) = (line for line in lines if "is missing" in line)
    assert missing.startswith("shard 1/3: part ")
    assert missing.endswith("Run it again: taskloom prepare RECIPE --shard 1/3. [MIX006]")


def test_repeated_shard_mends_what_is_damaged_and_keeps_the_rest(recipe, tmp_path):
    for shard in range(NUM_SHARDS):
        prepare_shard(recipe, shard=shard, num_shards=NUM_SHARDS)
    before = cache_of(tmp_path)
    files = sorted((tmp_path / "cache" / "tokens").rglob("*-of-*/offsets.bin"))
    times = [file.stat().st_mtime_ns for file in files]
    files[0].write_bytes(b"")
    for shard in range(NUM_SHARDS):
        prepare_shard(recipe, shard=shard, num_shards=NUM_SHARDS)
    assert cache_of(tmp_path) == before
    assert [file.stat().st_mtime_ns for file in files][1:] == times[1:]


def test_shards_of_another_number_find_what_is_made(recipe, tmp_path, monkeypatch):
    for shard in range(NUM_SHARDS):
        prepare_shard(recipe, shard=shard, num_shards=NUM_SHARDS)
    monkeypatch.setattr("pipeline.mixture.tokens.tokenise_many", None)
    assert prepare_shard(recipe, shard=0, num_shards=1) >= 6
    assert join_shards(recipe, 1) == 3


def test_only_shard_of_one_that_is_missing_is_one_error(recipe):
    with pytest.raises(MixtureError) as caught:
        join_shards(recipe, 1)
    assert caught.value.code == "MIX006"
    assert ", and " in str(caught.value)


def test_helping_processes_leave_the_same_bytes(recipe, tmp_path, monkeypatch):
    prepare(recipe)
    whole = cache_of(tmp_path)
    forget(tmp_path)
    monkeypatch.setattr(preparing, "_MANY_TO_TOKENISE", 1)
    told = []
    prepare(recipe, most_workers=2, progress=lambda *what: told.append(what))
    assert cache_of(tmp_path) == whole
    assert told[-1][0] == "parts tokenised"
    assert told[-1][1] == told[-1][2] >= 6
