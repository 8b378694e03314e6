import json
import re
from collections import Counter
from pathlib import Path

import pytest

from pipeline.files import is_complete_folder
from pipeline.sources.generated import ensure_generated_mirror, write_generated_mirror
from pipeline.sources.generated.mirror import CONFIGS

NAME = re.compile(r"\b(?:[bdfgklmnprtv][aeiou]){2,3}(?:sis|tis|mia|xia|zine|zol|cin|xide)?\b")


@pytest.fixture(scope="module")
def mirror(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("mirror")
    write_generated_mirror(folder)
    return folder


def rows(path: Path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def rare_words(text: str) -> set[str]:
    """Words of the form of a name; English ones such as `gene` are told by their frequency."""
    return {word for word, count in Counter(NAME.findall(text)).items() if count < 20}


def split_paths(mirror):
    for config in CONFIGS:
        folder = mirror / config.dataset / config.folder
        yield config, {split: folder / f"{split}.jsonl" for split in config.splits}


def test_every_split_has_its_number_of_rows(mirror):
    for config, paths in split_paths(mirror):
        for split, path in paths.items():
            assert len(rows(path)) == config.splits[split][1]


def test_the_row_columns_are_those_of_the_card(mirror):
    for config, paths in split_paths(mirror):
        for path in paths.values():
            for row in rows(path)[:20]:
                assert not config.features or list(row) == list(config.features)


def test_test_and_validation_rows_show_no_name_of_a_training_row(mirror):
    for config, paths in split_paths(mirror):
        names = {split: rare_words(path.read_text()) for split, path in paths.items()}
        for split in set(names) - {"train"}:
            assert not names[split] & names["train"], (config.dataset, split)


def test_no_row_content_is_in_two_splits(mirror):
    for config, paths in split_paths(mirror):
        seen: dict[str, str] = {}
        for split, path in paths.items():
            for row in rows(path):
                content = {key: row[key] for key in row if key not in {"id", "pid", "pubid"}}
                text = json.dumps(content, sort_keys=True)
                assert seen.setdefault(text, split) == split, config.dataset


def test_functions_of_the_benchmark_are_unknown_to_the_training_rows(mirror):
    trained = (mirror / "Salesforce/xlam-function-calling-60k/train.jsonl").read_text()
    bench = mirror / "gorilla-llm/Berkeley-Function-Calling-Leaderboard"
    for row in rows(bench / "BFCL_v4_simple_python.json"):
        assert row["function"][0]["name"] not in trained


def test_equal_seeds_give_equal_bytes_and_others_do_not(mirror, tmp_path):
    write_generated_mirror(tmp_path / "again")
    write_generated_mirror(tmp_path / "other", seed=1)
    path = "tner/bc5cdr/train.jsonl"
    assert (tmp_path / "again" / path).read_bytes() == (mirror / path).read_bytes()
    assert (tmp_path / "other" / path).read_bytes() != (mirror / path).read_bytes()


def test_the_cached_mirror_is_sealed_and_built_again_when_damaged(tmp_path, monkeypatch):
    monkeypatch.setenv("TASKLOOM_CACHE", str(tmp_path))
    folder = ensure_generated_mirror()
    assert is_complete_folder(folder)
    path = folder / "ncbi/ncbi_disease/test.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    assert ensure_generated_mirror() == folder
    assert path.read_bytes() == whole
