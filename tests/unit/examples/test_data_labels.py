import pytest

from pipeline.errors import AnnotationError, SourceError
from pipeline.examples import data_labels, load_examples

FROM_DATA = """
task: classification
splits: {train: train, validation: {take: 0.5, from: train}, test: test}
fields: {text: text, target: mood}
labels: from_data
cap: {train: 1}
"""


def rows(*moods):
    return [{"text": f"t{number}", "mood": mood} for number, mood in enumerate(moods)]


def test_labels_are_those_of_all_splits_whatever_is_kept(annotate, mirror):
    root = mirror(train=rows("sad", "glad", "sad", "glad"), test=rows("calm", "sad"))
    for split in ("train", "validation", "test"):
        examples = load_examples(annotate(FROM_DATA), split, data_root=root)
        assert examples.spec.labels == ("calm", "glad", "sad")
        assert examples[0].choices == ("calm", "glad", "sad")
    few = load_examples(annotate(FROM_DATA), "test", data_root=root, max_rows=1)
    assert few.spec.labels == ("calm", "glad", "sad")


def test_new_rows_give_new_labels(annotate, mirror):
    root = mirror(train=rows("sad", "glad"), test=rows("sad"))
    assert load_examples(annotate(FROM_DATA), "test", data_root=root).spec.labels == ("glad", "sad")
    mirror(train=rows("sad", "wild"), test=rows("sad"))
    assert load_examples(annotate(FROM_DATA), "test", data_root=root).spec.labels == ("sad", "wild")


def test_new_side_files_and_new_code_give_new_labels(annotate, mirror, monkeypatch):
    text = FROM_DATA.replace("target: mood", 'target: "known[0].name"') + (
        "rows: [{lookup: {as: known, file: moods.jsonl, key: code, of: [mood]}}]\n"
    )
    root = mirror(train=rows(1, 2), test=rows(1), moods=[{"code": 1, "name": "sad"}])

    def labels():
        return load_examples(annotate(text), "train", data_root=root).spec.labels

    moods = [{"code": 1, "name": "sad"}, {"code": 2, "name": "glad"}]
    mirror(moods=moods)
    assert labels() == ("glad", "sad")
    mirror(moods=[*moods[:1], {"code": 2, "name": "calm"}])
    assert labels() == ("calm", "sad")
    collected = []
    monkeypatch.setattr(data_labels, "code_fingerprint", lambda: "another version")
    monkeypatch.setattr(data_labels, "_collect", lambda *_: collected.append(1) or ("calm", "sad"))
    assert labels() == ("calm", "sad")
    assert collected


def test_numbers_keep_their_meaning(annotate, mirror):
    root = mirror(train=rows(10, 9), test=rows(1, 10))
    test = load_examples(annotate(FROM_DATA), "test", data_root=root)
    assert test.spec.labels == ("1", "9", "10")
    assert [example.target for example in test] == ["1", "10"]


def test_a_target_without_values_has_no_labels(annotate, mirror):
    root = mirror(train=rows(None, None), test=rows(None))
    with pytest.raises(AnnotationError, match="no value for the target"):
        load_examples(annotate(FROM_DATA), "test", data_root=root)


def test_a_split_that_cannot_be_read_is_no_reason_to_guess(annotate, mirror):
    with pytest.raises(SourceError):
        load_examples(annotate(FROM_DATA), "train", data_root=mirror(train=rows("sad", "glad")))
