from collections import Counter

import pytest

from pipeline.examples import encoding
from pipeline.examples.encoding import (
    DraftExample,
    decode_batch,
    decode_cell,
    encode_batch,
    encode_cell,
    example_schema,
)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "plain",
        "\x00starts with the mark",
        "null",
        '{"a": 1}',
        "é\u2028😀",
        None,
        True,
        3,
        -0.5,
        8.854e-12,
        2**70,
        [],
        ["a", None, 1, {"x": []}],
        {"a": {"x": 1}, "b": None},
    ],
)
def test_a_cell_gives_back_what_was_put_in(value):
    decoded = decode_cell(encode_cell(value))
    assert decoded == value
    assert type(decoded) is type(value)


def test_plain_text_is_stored_as_it_is():
    assert encode_cell("a b") == "a b"
    assert encode_cell(["a", 1]) == '\x00["a",1]'
    assert encode_cell("\x00") == '\x00"\\u0000"'


def drafts_back(drafts, **settings):
    skipped = Counter()
    schema = example_schema(["text", "context"], has_choices=True)
    batch = encode_batch(drafts, schema, skipped)
    settings = {"task": "t", "split": "train", "labels": None, **settings}
    return list(decode_batch(batch, **settings)), skipped


def test_examples_come_back_with_keys_order_and_choices():
    drafts = [
        DraftExample("0", {"text": "a", "context": ["x"]}, 1, ["p", "q"]),
        DraftExample("7.2", {"text": "b"}, None),
    ]
    (first, second), skipped = drafts_back(drafts, labels=("no", "yes"))
    assert (first.key, first.task, first.split) == ("t/train/0", "t", "train")
    assert list(first.inputs.items()) == [("text", "a"), ("context", ["x"])]
    assert (first.target, first.choices) == (1, ("p", "q"))
    assert second.key == "t/train/7.2"
    assert second.inputs == {"text": "b"}
    assert (second.target, second.choices) == (None, ("no", "yes"))
    assert not skipped


def test_half_surrogate_pairs_and_very_long_texts_are_left_out(monkeypatch):
    monkeypatch.setattr(encoding, "MAX_ROW_BYTES", 100)
    drafts = [
        DraftExample("0", {"text": "\ud83d"}, "x"),
        DraftExample("1", {"text": "fine"}, "x"),
        DraftExample("2", {"text": "a" * 60, "context": "b" * 60}, "x"),
        DraftExample("3", {"text": "x"}, ["\udc00"]),
    ]
    examples, skipped = drafts_back(drafts)
    assert [example.key for example in examples] == ["t/train/1"]
    assert skipped == {"not valid Unicode": 2, "row_too_large": 1}


def test_no_examples_make_an_empty_batch():
    assert drafts_back([]) == ([], {})
