"""Source text of Java and JavaScript becomes values by declared type."""

from __future__ import annotations

import re
import time

import pytest

from eval.bfcl.decode import DecodeError, decode_output
from eval.bfcl.foreign_values import MAX_VALUE_CHARACTERS, convert_java, convert_javascript


@pytest.mark.parametrize(
    ("text", "type_name", "item_type", "value"),
    [
        ("5", "integer", None, 5),
        ("5L", "integer", None, "5L"),
        ("5L", "long", None, 5),
        ("5", "long", None, "5"),
        ("3.5f", "float", None, 3.5),
        ("3.5", "float", None, "3.5"),
        ("3e2", "double", None, 300.0),
        ("true", "boolean", None, True),
        ("True", "boolean", None, "True"),
        ("'a'", "char", None, "'a'"),
        ("new int[]{1, 2}", "Array", "integer", [1, 2]),
        ('new String[]{"a"}', "Array", "String", ['"a"']),
        ("{1, 2}", "Array", "integer", "{1, 2}"),
        ('new ArrayList<String>(Arrays.asList("a", "b"))', "ArrayList", "String", ["a", "b"]),
        ("new ArrayList<>() {{ add(1); add(2); }}", "ArrayList", "integer", [1, 2]),
        ("new ArrayList<>()", "ArrayList", "integer", []),
        ("List.of(1)", "ArrayList", "integer", "List.of(1)"),
        (
            'new HashMap<String, Object>() {{ put("a", 1); put("b", 2L); put("c", "x"); }}',
            "HashMap",
            None,
            {"a": 1, "b": 2, "c": "x"},
        ),
        ("new HashMap<>()", "HashMap", None, {}),
    ],
)
def test_java_text_becomes_the_declared_type_or_stays_text(text, type_name, item_type, value):
    converted = convert_java(text, type_name, item_type)
    assert (converted, type(converted)) == (value, type(value))


@pytest.mark.parametrize(
    ("text", "type_name", "item_type", "value"),
    [
        ("'a'", "String", None, "a"),
        ("5.0", "integer", None, "5.0"),
        ("5n", "Bigint", None, 5),
        ("5", "float", None, 5.0),
        ("true", "Boolean", None, True),
        ("[1, 'a,b', true]", "array", None, [1, "'a", "b'", True]),
        ("new Array(1, 2)", "array", "integer", [1, 2]),
        ("[[1, 2], [3]]", "array", "array", [[1, 2], [3]]),
        ("[1n]", "array", "Bigint", [1]),
        ("{a: 1, 'b': [1, 2], \"c\": x}", "dict", None, {"a": 1, "b": [1, 2], "c": "x"}),
        ("{}", "dict", None, {}),
        ("word", "dict", None, "word"),
    ],
)
def test_javascript_text_becomes_the_declared_type_or_stays_text(text, type_name, item_type, value):
    converted = convert_javascript(text, type_name, item_type)
    assert (converted, type(converted)) == (value, type(value))


def test_types_without_conversion_raise_as_the_official_checker_does():
    with pytest.raises(KeyError):
        convert_java("x", "Hashtable")
    with pytest.raises(KeyError):
        convert_javascript("x", "Map")


OFFICIAL_NESTED = re.compile(
    r"\[\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\]|\bnew\s+Array\(\s*\[.*?\]\s*(,\s*\[.*?\]\s*)*\)"
)


def test_arrays_of_arrays_end_where_the_official_pattern_ends():
    import random

    from eval.bfcl.foreign_values import _end_of_nested_array

    rng = random.Random(0)
    parts = ["[", "]", ",", "1", " ", "\n", "x", "],[", "]]", "[[", "new Array(", ")", "new"]
    found = 0
    for _ in range(20_000):
        text = rng.choice(["[[", "[ [", "new Array([", ""]) + "".join(
            rng.choice(parts) for _ in range(rng.randrange(9))
        )
        match = OFFICIAL_NESTED.match(text)
        assert _end_of_nested_array(text) == (match.end() if match else None), text
        found += match is not None
    assert found > 2_000


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("[[" + "1],[" * 2_000, "array"),
        ("{" + "a" * 9_000 + "}", "dict"),
        ("{" + "a:," * 3_000 + "}", "dict"),
        ("[" * 9_000, "array"),
        ("{" * 9_000 + "}" * 900, "dict"),
        ("[" + "1," * 400_000 + "]", "array"),
    ],
)
def test_hostile_javascript_is_read_in_bounded_time(text, type_name):
    start = time.process_time()
    convert_javascript(text, type_name)
    assert time.process_time() - start < 5


@pytest.mark.parametrize(
    ("text", "type_name"),
    [
        ("new ArrayList<>(Arrays.asList(" * 300, "ArrayList"),
        ("new HashMap<" * 800, "HashMap"),
        ("new HashMap<>(){{" + 'put("a", ' * 1_000, "HashMap"),
        ("new int[]{" * 900, "Array"),
    ],
)
def test_hostile_java_is_read_in_bounded_time(text, type_name):
    assert len(text) <= MAX_VALUE_CHARACTERS
    start = time.process_time()
    convert_java(text, type_name)
    assert time.process_time() - start < 5


@pytest.mark.parametrize("language", ["java", "javascript"])
@pytest.mark.parametrize("text", ["f(" * 20_000, "f(a=" + "(" * 20_000, "\ud800", "f(a=1, a=2)"])
def test_texts_that_cannot_be_read_fail_to_decode(text, language):
    with pytest.raises(DecodeError):
        decode_output(text, "python_call", language)


def test_calls_in_other_languages_keep_arguments_as_source_text():
    java = decode_output(
        '[a.f(x=5L, s="q r", y=new int[]{1, 2}, z=g(1, 2));]', "python_call", "java"
    )
    assert java == [{"a.f": {"x": "5L", "s": "q r", "y": "new int[]{1,2}", "z": "g(1, 2)"}}]
    script = decode_output("f(x=5n, s='q', y=[1, 2], z)", "python_call", "javascript")
    assert script == [{"f": {"x": "5n", "s": "q", "y": "[1, 2]", None: "z"}}]
