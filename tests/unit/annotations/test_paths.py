import pytest

from pipeline.annotations.paths import EVERY, Path, compile_path, elements, parse_path

STRUCTS = [{"text": "a", "tags": [1]}, {"text": "b", "tags": [2, 3]}]
LISTS = {"text": ["a", "b"], "tags": [[1], [2, 3]]}


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", Path("a")),
        ("a.b[0]", Path("a", ("b", 0))),
        ("a[*].x", Path("a", (EVERY, "x"))),
        ("a[-1]", Path("a", (-1,))),
        ("$choices[0]", Path("$choices", (0,))),
        ("Sentence 1", Path("Sentence 1")),
        ("Pronoun-offset", Path("Pronoun-offset")),
        ('"odd.name".x', Path("odd.name", ("x",))),
        ('" sent1 "', Path(" sent1 ")),
        ('"[0]"', Path("[0]")),
        ('a."b c[0]"', Path("a", ("b c[0]",))),
    ],
)
def test_a_path_is_read_and_written_back_the_same(text, path):
    assert parse_path(text) == path
    assert parse_path(str(path)) == path


@pytest.mark.parametrize(
    "text",
    [
        *["", " a", "a ", ".a", "a.", "a..b", "[0]", "a[x]", "a[", "a]", "a.[0]", "{a}", "$"],
        *["a[99999999]", "x" * 201, 'a"b"', "a[0]b"],
    ],
)
def test_what_is_no_path_is_refused(text):
    with pytest.raises(ValueError, match="path"):
        parse_path(text)


@pytest.mark.parametrize("rows", [STRUCTS, LISTS])
def test_lists_of_structs_and_structs_of_lists_read_alike(rows):
    for text, value in [
        ("r[*].text", ["a", "b"]),
        ("r.text", ["a", "b"]),
        ("r[1].text", "b"),
        ("r[-1].tags[0]", 2),
        ("r[*].tags[0]", [1, 2]),
        ("r[5].text", None),
        ("r.nothing[0]", None),
    ]:
        found = compile_path(parse_path(text))({"r": rows})
        assert found == value, text


def test_absent_values_are_null_and_not_an_error():
    scope = {"a": {"b": [1]}, "n": None, "t": "text"}
    for text in ["x", "x.y[0].z", "a.c", "a.b[3]", "n.x", "t.x", "t[0]"]:
        assert compile_path(parse_path(text))(scope) is None, text


def test_elements_of_a_struct_of_lists_are_its_rows():
    assert elements(LISTS) == STRUCTS
    assert elements({"a": 1}) == []
    assert elements("text") == []
