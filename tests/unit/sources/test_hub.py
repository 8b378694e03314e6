"""The hub is a small HTTP server on this machine that answers as the real one does."""

import pytest

from pipeline.errors import SourceError
from pipeline.sources import hub
from pipeline.sources.layout import WantedSplit
from pipeline.sources.reading import open_split
from tests.fixtures.loopback_hub import COMMIT, loopback_hub


@pytest.fixture
def endpoint(monkeypatch, tmp_path):
    with loopback_hub(monkeypatch, tmp_path / "hub") as address:
        yield address


def rows_of(place, **settings):
    wanted = WantedSplit(dataset="owner/name", split="train", **settings)
    split = open_split(place, wanted)
    rows = [row for _, batch in split.batches() for _, row in batch.rows()]
    return split, rows


def test_files_are_fetched_at_the_commit_and_again_from_the_cache(endpoint, monkeypatch):
    place = hub.open_hub("owner/name", None)
    assert place.origin == f"hub owner/name@{COMMIT[:12]}"
    split, rows = rows_of(place, config="rte")
    assert rows == [{"text": "a", "label": 1}, {"text": "b", "label": 0}]
    assert split.features["label"].names == ("no", "yes")
    assert place.identity("README.md") == f"owner/name@{COMMIT}:README.md"

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    for revision in (None, COMMIT):
        offline = hub.open_hub("owner/name", revision)
        assert rows_of(offline, config="rte")[1] == rows


@pytest.mark.parametrize(
    ("dataset", "revision", "code", "words"),
    [
        ("owner/absent", None, "SRC102", "not on the hub, or private. Ask the authors."),
        ("owner/gated", None, "SRC105", "the hub asks for an accepted licence or a token. Ask"),
        ("owner/name", "nope", "SRC111", "the hub has no such revision"),
    ],
)
def test_what_the_hub_refuses_is_told_in_one_line(endpoint, dataset, revision, code, words):
    with pytest.raises(SourceError) as caught:
        rows_of(hub.open_hub(dataset, revision, how_to_get="Ask the authors"))
    assert caught.value.code == code
    assert str(caught.value).startswith(f"{dataset}: {words}")
    assert "\n" not in str(caught.value)


def test_a_dataset_that_is_only_a_script_is_never_run(endpoint):
    with pytest.raises(SourceError) as caught:
        rows_of(hub.open_hub("owner/script", None))
    assert caught.value.code == "SRC107"
    assert "name.py, which is never run" in str(caught.value)


def test_an_address_that_does_not_resolve_fails_at_once(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.invalid")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SourceError) as caught:
        hub.open_hub("owner/name", None)
    assert str(caught.value) == (
        "owner/name: cannot be fetched from the hub: no connection, and it is not in the hub's "
        "cache. Run `taskloom mirror TASK --to DIR` where there is a network; give --data-root "
        "DIR. [SRC106]"
    )


def test_the_environment_can_switch_the_hub_off(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(SourceError, match="switched off"):
        hub.open_hub("owner/name", None)


def test_a_snapshot_in_the_cache_is_a_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    base = tmp_path / "datasets--owner--name"
    (base / "refs").mkdir(parents=True)
    (base / "refs" / "main").write_text(COMMIT)
    (base / "snapshots" / COMMIT).mkdir(parents=True)
    (base / "snapshots" / COMMIT / "train.jsonl").write_text('{"a": 1}\n')
    assert rows_of(hub.open_hub("owner/name", None))[1] == [{"a": 1}]
    assert rows_of(hub.open_hub("owner/name", COMMIT))[1] == [{"a": 1}]
    with pytest.raises(SourceError):
        hub.open_hub("owner/name", "v2")
