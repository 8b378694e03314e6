import pytest

from pipeline.annotations.source import Take


@pytest.mark.parametrize(
    ("source", "part", "code"),
    [
        ("{licence: mit}", "exactly one of `hub` and `files`", "ANN140"),
        ("{hub: a/b, files: {train: x}, licence: mit}", "exactly one of", "ANN140"),
        ("{hub: a/b/c, licence: mit}", "a dataset as owner/name", "ANN103"),
        ("{hub: ../b, licence: mit}", "a dataset as owner/name", "ANN103"),
        ("{hub: a/b, licence: mit, access: gated}", "needs `how_to_get`", "ANN141"),
        ("{hub: a/b, licence: mit, access: secret}", "'open', 'gated' or 'private'", "ANN103"),
        ("{hub: a/b, licence: mit, commercial: true}", "'yes', 'no' or 'unknown'", "ANN103"),
        ("{hub: a/b, licence: mit, language: english}", "a language code", "ANN103"),
        ("{hub: a/b, licence: mit, url: ftp://x}", "an address", "ANN103"),
        ("{hub: a/b, licence: mit, config: [x, x]}", "listed twice", "ANN140"),
        ("{hub: a/b, licence: mit, data_files: /etc/passwd}", "no relative path", "ANN142"),
        ("{hub: a/b, licence: mit, data_files: {train: [a, ../b]}}", "'../b'", "ANN142"),
        ("{files: {train: 'C:\\x'}, licence: mit}", "no relative path", "ANN142"),
        ("{hub: a/b, licence: mit, delimiter: ';;'}", "at most 1 character", "ANN103"),
        ("{hub: a/b, licence: mit, trust_remote_code: true}", "unknown key", "ANN101"),
    ],
)
def test_a_wrong_source_is_refused(refusals, source, part, code):
    found = refusals(source=source)
    assert len(found) == 1
    assert part in found[0]
    assert found[0].endswith(f"[{code}]")


def test_a_full_source_is_read(annotate):
    source = annotate(
        source="{hub: o/n, config: c, revision: refs/convert/parquet, data_dir: d, "
        "data_files: {train: ['a/*.csv', 'https://x.org/b.csv']}, format: csv, delimiter: ';', "
        "column_names: [x, y], licence: cc-by-nc-4.0, commercial: no, language: [en, zh-Hans], "
        "modality: table, citation: 'arXiv:1', url: 'https://x.org', access: private, "
        "how_to_get: Ask.}"
    ).source
    assert source.data_files == {"train": ("a/*.csv", "https://x.org/b.csv")}
    assert source.column_names == ("x", "y")
    assert source.commercial == "no"
    assert source.language == ("en", "zh-Hans")


def test_splits_take_every_form(annotate):
    splits = annotate(
        splits="{train: [a, b], validation: {take: 0.1, from: a, seed: 3}, test: c}"
    ).splits
    assert splits.of("train") == ("a", "b")
    assert splits.of("validation") == Take(take=0.1, **{"from": "a"}, seed=3)
    assert splits.of("test") == "c"
    assert splits.present() == ("train", "validation", "test")
    assert annotate(splits="{train: null, test: x}").splits.present() == ("test",)


@pytest.mark.parametrize(
    ("splits", "part", "code"),
    [
        ("{train: a, test: a}", "'a' already serves train", "ANN144"),
        ("{train: [a, b], validation: [b]}", "'b' already serves train", "ANN144"),
        ("{train: a, validation: b, test: b}", "'b' already serves validation", "ANN144"),
        ("{train: test}", "'test' is a test split", "ANN145"),
        ("{train: [train, test_r1]}", "'test_r1' is a test split", "ANN145"),
        ("{train: my-TEST}", "is a test split", "ANN145"),
        ("{train: {take: 0.5, from: test}}", "is a test split", "ANN145"),
        ("{train: null}", "at least one split", "ANN143"),
        ("{train: 5}", "a split is a name", "ANN143"),
        ("{train: []}", "a split is a name", "ANN143"),
        ("{train: ''}", "a split is a name", "ANN143"),
        ("{train: {take: 0, from: a}}", "greater than 0", "ANN103"),
        ("{train: {take: 1.5, from: a}}", "1.5 is neither a share", "ANN143"),
        ("{train: {take: 0.1}}", "this key is missing", "ANN102"),
        ("{train: {take: 0.1, of: a}}", "unknown key 'of'", "ANN101"),
        ("{train: a, dev: b}", "unknown key 'dev'", "ANN101"),
    ],
)
def test_wrong_or_leaking_splits_are_refused(refusals, splits, part, code):
    found = refusals(splits=splits)
    assert any(part in line and line.endswith(f"[{code}]") for line in found), found


@pytest.mark.parametrize(
    "source",
    [
        "{files: {a: [rows.jsonl, data/test-1.jsonl]}, licence: mit}",
        "{hub: o/n, data_files: {a: test.parquet}, licence: mit}",
    ],
)
def test_test_files_are_not_trained_on_under_another_name(refusals, source):
    (found,) = refusals(source=source, splits="{train: a}")
    assert "is a test split and may not be trained on" in found
    assert found.endswith("[ANN145]")


@pytest.mark.parametrize(
    "source",
    [
        "{files: {a: rows.jsonl, b: test.jsonl}, licence: mit}",
        "{hub: o/n, data_files: {a: latest.parquet}, licence: mit}",
    ],
)
def test_test_files_may_stand_beside_those_trained_on(annotate, source):
    assert annotate(source=source, splits="{train: a, test: b}").splits.named("train") == ("a",)


@pytest.mark.parametrize("name", ["train", "latest", "contest", "testimony", "attest_1"])
def test_names_that_only_contain_the_word_may_be_trained_on(annotate, name):
    assert annotate(splits=f"{{train: {name}}}").splits.train == name
