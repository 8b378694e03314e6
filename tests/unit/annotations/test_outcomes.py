import pytest

from pipeline.annotations.outcomes import RowSkipped, as_text, kind_of, raw_key


def test_scalars_become_text_and_others_skip_the_row():
    assert [as_text(v) for v in ["a", 1, 2.5, True]] == ["a", "1", "2.5", "True"]
    for value in (None, [], {}):
        with pytest.raises(RowSkipped):
            as_text(value)


def test_raw_keys_tell_booleans_from_numbers():
    values = [True, False, 1, 1.0, 0.5, "x", None, [1]]
    assert [raw_key(v) for v in values] == ["true", "false", "1", "1", "0.5", "x", None, None]


def test_kinds_have_everyday_names():
    values = [None, True, 1, 1.5, "x", [], {}]
    names = ["null", "a boolean", "a number", "a number", "text", "a list", "a map"]
    assert [kind_of(v) for v in values] == names
