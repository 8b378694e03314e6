import time
from typing import Literal

import pydantic
import pytest

from pipeline.errors import PipelineErrors, RecipeError, YamlError
from pipeline.yaml_reader import (
    MAX_DEPTH,
    ErrorCodes,
    Problem,
    dotted,
    excerpt,
    load_yaml,
    problems_as_validation_error,
    read_yaml,
    validation_errors,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("yes", "yes"),
        ("on", "on"),
        ("Off", "Off"),
        ("True", "True"),
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("NULL", "NULL"),
        ("0", 0),
        ("-7", -7),
        ("+7", 7),
        ("017", "017"),
        ("0o17", "0o17"),
        ("0x1F", "0x1F"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1e3", 1000.0),
        ("1.5E-3", 0.0015),
        (".5", 0.5),
        ("5.", 5.0),
        (".inf", ".inf"),
        (".nan", ".nan"),
        ('"5"', "5"),
        ("'true'", "true"),
        ("|\n  5", "5\n"),
        ("=", "="),
    ],
)
def test_scalars_follow_a_narrow_core_schema(text, value):
    found = read_yaml(f"a: {text}\n").value
    assert found == {"a": value}
    assert type(found["a"]) is type(value)


def test_plain_keys_are_text_whatever_they_look_like():
    assert read_yaml("{0: a, true: b, no: c, null: d, 1.5: e}").value == {
        "0": "a",
        "true": "b",
        "no": "c",
        "null": "d",
        "1.5": "e",
    }


def test_every_value_and_key_keeps_its_place():
    document = read_yaml("a:\n  - b: 1\n    c: [x, y]\n", name="f.yaml")
    assert str(document.mark(("a", 0, "c", 1))) == "f.yaml:3:12"
    assert str(document.mark(("a", 0, "c"))) == "f.yaml:3:8"
    assert str(document.mark(("a", 0, "c"), key=True)) == "f.yaml:3:5"
    assert str(document.mark()) == "f.yaml:1:1"


def test_a_missing_place_falls_back_to_the_nearest_parent():
    document = read_yaml("a:\n  b: 1\n", name="f.yaml")
    assert str(document.mark(("a", "zzz", 3))) == "f.yaml:2:3"
    assert str(document.mark(("a", "function-plain[x()]", "b"))) == "f.yaml:2:6"


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("a: &x 1\nb: *x", "YML008", "1:4"),
        ("a: !!python/name:os.system x", "YML009", "1:4"),
        ("a: ! x", "YML009", "1:4"),
        ("a:\n  <<: {b: 1}", "YML012", "2:3"),
        ("a: 1\nb: 2\na: 3", "YML010", "3:1"),
        ("? [a, b]\n: 1", "YML011", "1:3"),
        ("? {a: b}\n: 1", "YML011", "1:3"),
        ("a: 1\n---\nb: 2", "YML007", "2:1"),
        ("a: [1, 2", "YML002", "2:1"),
        ("a: b: c", "YML002", "1:5"),
        ("\tx: 1", "YML002", "1:1"),
        ("a: 1\nb: \x07", "YML006", "2:4"),
        ("a: 9999999999999999999999", "YML013", "1:4"),
        ("a: 1e999", "YML013", "1:4"),
        ('a: "\\ud800"', "YML002", "1:7"),
        ('a: "\\U0011FFFF"', "YML002", "1:7"),
        ("%YAML 9.9\n---\na: 1", "YML002", "1:1"),
    ],
)
def test_what_is_refused_is_named_with_its_place(text, code, place):
    with pytest.raises((YamlError, PipelineErrors)) as caught:
        read_yaml(text, name="f.yaml")
    errors = getattr(caught.value, "errors", (caught.value,))
    assert (code, f"f.yaml:{place}") in {(e.code, str(e.where)) for e in errors}


def test_all_refusals_of_a_text_are_told_at_once():
    with pytest.raises(PipelineErrors) as caught:
        read_yaml("a: &x 1\nb: !t 2\na: 3\n")
    assert [error.code for error in caught.value.errors] == ["YML008", "YML009", "YML010"]


@pytest.mark.parametrize("bomb", ["[" * 5000, "{a: " * 5000, "- " * 5000, "? " * 5000])
def test_deep_nesting_is_refused_quickly(bomb):
    started = time.process_time()
    with pytest.raises(YamlError):
        read_yaml(bomb)
    assert time.process_time() - started < 0.1


def test_the_deepest_allowed_nesting_is_read():
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert str(read_yaml(text).value) == text
    with pytest.raises(YamlError, match="YML004"):
        read_yaml(f"[{text}]")


def test_an_alias_bomb_is_refused_without_being_built():
    lines = ["a0: &a0 [x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(PipelineErrors):
        read_yaml("\n".join(lines))


def test_large_and_unreadable_files_are_refused(tmp_path):
    large = tmp_path / "large.yaml"
    large.write_text("a: " + "x" * 300_000)
    with pytest.raises(YamlError, match="larger than 256 KB"):
        load_yaml(large)
    with pytest.raises(YamlError, match=r"missing.yaml: cannot read the file: No such file"):
        load_yaml(tmp_path / "missing.yaml")
    with pytest.raises(YamlError, match="YML001"):
        load_yaml(tmp_path)


def test_bytes_that_are_no_utf8_are_refused_at_their_place(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes(b"a: 1\nname: caf\xe9\n")
    with pytest.raises(YamlError, match=r"latin.yaml:2:10: not UTF-8 text. \[YML005\]"):
        load_yaml(path)


def test_a_byte_order_mark_and_windows_lines_are_fine():
    assert read_yaml(b"\xef\xbb\xbfa: 1\r\nb: 2\r\n").value == {"a": 1, "b": 2}


def test_an_empty_text_is_null():
    assert read_yaml("").value is None
    assert read_yaml("# only a comment\n").value is None


class Inner(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    size: int = 1
    names: str | list[str] = ""


class Outer(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", strict=True)
    inner: Inner
    mode: Literal["fast", "slow"] = "fast"

    @pydantic.model_validator(mode="after")
    def _check(self) -> "Outer":
        if self.inner.size > 5:
            problem = Problem(("inner", "size"), "REC099", "size is above 5", "Use 5")
            raise problems_as_validation_error([problem])
        return self


CODES = ErrorCodes("REC001", "REC002", "REC003", RecipeError)


def errors_of(text: str) -> list[str]:
    document = read_yaml(text, name="r.yaml")
    with pytest.raises(pydantic.ValidationError) as caught:
        Outer.model_validate(document.value)
    return [str(e) for e in validation_errors(caught.value, document, model=Outer, codes=CODES)]


def test_pydantic_errors_become_ours_in_file_order():
    assert errors_of("mode: fats\ninner:\n  sise: 2\n  names: 3\n") == [
        "r.yaml:1:7: mode: 'fast' or 'slow' is needed, got 'fats'. Did you mean 'fast'? [REC003]",
        "r.yaml:3:3: inner.sise: unknown key 'sise'. Did you mean 'size'? [REC001]",
        "r.yaml:4:10: inner.names: text or a list is needed, got 3. [REC003]",
    ]


def test_missing_keys_and_own_problems_have_places():
    assert errors_of("mode: fast\n") == ["r.yaml:1:1: inner: this key is missing. [REC002]"]
    assert errors_of("inner: {size: 9}\n") == [
        "r.yaml:1:15: inner.size: size is above 5. Use 5. [REC099]"
    ]


def test_places_and_values_in_messages_stay_short():
    assert dotted(("a", 0, "b")) == "a[0].b"
    assert dotted(("a\u202e",)) == "'a\\u202e'"
    assert excerpt("x" * 100) == "'" + "x" * 56 + "..."
