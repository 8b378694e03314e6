"""Texts become calls as the official handlers decode them, without running anything."""

from __future__ import annotations

import time

import pytest

from eval.bfcl.decode import NO_CALL_NOTE, DecodeError, decode_output, is_call_list
from pipeline.errors import EvalError


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ("[f(a=1), g.h(b='x')]", [{"f": {"a": 1}}, {"g.h": {"b": "x"}}]),
        ("f(a=1)", [{"f": {"a": 1}}]),
        ("[f(a=1)", [{"f": {"a": 1}}]),
        ("```\n[f(a=1)]\n```", [{"f": {"a": 1}}]),
        ("f(a=1),\ng(b=2)", [{"f": {"a": 1}}, {"g": {"b": 2}}]),
        ("[f(a=1)] # done", [{"f": {"a": 1}}]),
        ("[f(a=0x1F, b=1_000, c=2 + 3)]", [{"f": {"a": 31, "b": 1000, "c": 5}}]),
        ("[f(a=word, b=true)]", [{"f": {"a": "word", "b": "true"}}]),
        ("[f(a=1, a=2)]", [{"f": {"a": 2}}]),
        ("[f(a=+5, b=-5, c=not True)]", [{"f": {"a": -5, "b": -5, "c": -1}}]),
        ("[f('x', a=1)]", [{"f": {"a": 1}}]),
        ("[f(**{'a': 1})]", [{"f": {None: {"a": 1}}}]),
        ("[f(a=g(1), b=g(c=2))]", [{"f": {"a": "g(1)", "b": {"g": {"c": 2}}}}]),
        ("[f(a=items[0], b=...)]", [{"f": {"a": "items[0]", "b": "..."}}]),
        ("[f(a=(1, 2), b=[1], c={'k': 1})]", [{"f": {"a": (1, 2), "b": [1], "c": {"k": 1}}}]),
        ("[f(a='x' * 3, b=10 / 4, c=2 ** 10)]", [{"f": {"a": "xxx", "b": 2.5, "c": 1024}}]),
        ("[f(a=round(2.6) * 1, b=len('abc') + 1)]", [{"f": {"a": 3, "b": 4}}]),
        ("[f(a='a'.upper() + 'b', b=f'{1}x' + '')]", [{"f": {"a": "Ab", "b": "1x"}}]),
        ("[f(a=(4 if 1 < 2 else 5) + 3, b=[1, 2][::-1] + [])]", [{"f": {"a": 7, "b": [2, 1]}}]),
        ("[f(a=[(x := 1), *(2, 3)] + [0 or 4])]", [{"f": {"a": [1, 2, 3, 4]}}]),
        ("[]", []),
        ("", []),
    ],
)
def test_python_text_is_read_as_the_official_handler_reads_it(text, calls):
    assert decode_output(text, "python_call") == calls


@pytest.mark.parametrize(
    "text",
    [
        "```python\n[f(a=1)]\n```",
        "Here: [f(a=1)]",
        "[f(a=1)] Done.",
        "<think></think>[f(a=1)]",
        "f(a=1); g(b=2)",
        "[f(a=f'x')]",
        "[f(a={1, 2})]",
        "[f(a=[x for x in y])]",
        "[f(a=Enum.X)]",
        "[f(a=await x)]",
        "[f(a=lambda: 1)]",
        "[f(a={[1]: 2})]",
        "[f(a=--5)]",
        "[1, 2]",
        "I cannot do that.",
        "[f(a=1 + x)]",
        "[f(a=1 / 0)]",
        "[f(a=10 ** 10 ** 10)]",
        "[f(a='a' * 10 ** 9)]",
        "[f(a=1 << 10 ** 9)]",
        "[f(a='%999999999d' % 1)]",
        "[f(a=str([['a' * 1000] * 1000] * 1000) + '')]",
        "[f(a=[" + "[0] * 99999," * 200 + "])]",
        "[f(a=round(5, -10**9) * 1)]",
        "[f(a=int('9' * 5000) + 1)]",
        "[f(a=" + "(" * 5000 + ")" * 5000 + ")]",
        "[f(a='" + "x" * 300_000 + "')]",
        None,
        7,
    ],
)
def test_what_the_official_handler_cannot_read_fails(text):
    with pytest.raises(DecodeError):
        decode_output(text, "python_call")


@pytest.mark.parametrize(
    "payload",
    [
        "__import__('os').system('id') + 1",
        "[].append(1) + 1",
        "print('x') * 2",
        "(lambda: 1)() + 1",
    ],
)
def test_arithmetic_on_calls_is_refused_where_the_official_code_would_run_it(payload):
    with pytest.raises(DecodeError):
        decode_output(f"[f(a={payload})]", "python_call")


CALL = '{"name": "f", "arguments": {"a": 1}}'
BLOCK = f"<tool_call>\n{CALL}\n</tool_call>"


@pytest.mark.parametrize(
    ("output_format", "text", "calls"),
    [
        ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", [{"f": {"a": 1}}]),
        ("hermes", f"Sure.\n<tool_call>\n{CALL}\n</tool_call> Done", [{"f": {"a": 1}}]),
        ("hermes", f"<tool_call>{CALL}</tool_call>", []),
        ("hermes", f"<tool_call>\nx\n</tool_call>{BLOCK}", [{"f": {"a": 1}}]),
        ("json_list", f"[{CALL}]", [{"f": {"a": 1}}]),
        ("json_list", f"```\n[{CALL}]\n```", [{"f": {"a": 1}}]),
        ("json_list", f"```json\n[{CALL}]\n```", []),
        ("json_list", "prose", []),
        ("json_list", "{}", []),
        ("xlam_json", CALL, [{"f": {"a": 1}}]),
        ("xlam_json", f"[{CALL}, {CALL}]", [{"f": {"a": 1}}, {"f": {"a": 1}}]),
        ("xlam_json", f"{CALL}; {CALL}", [{"f": {"a": 1}}, {"f": {"a": 1}}]),
        ("granite", f"<function_call> {CALL}", [{"f": {"a": 1}}]),
        ("granite", CALL, [{"f": {"a": 1}}]),
        ("granite", f"<function_call> {CALL}<|endoftext|>", [f"{CALL}<|endoftext|>"]),
        ("granite", '<function_call> {"name": "no_function"}', [NO_CALL_NOTE]),
        ("granite", "prose", ["prose"]),
        ("granite", "", []),
    ],
)  # fmt: skip
def test_json_formats_are_read_as_their_handlers_read_them(output_format, text, calls):
    assert decode_output(text, output_format) == calls


@pytest.mark.parametrize(
    ("output_format", "text"),
    [
        ("hermes", '<tool_call>\n{"name": "f", "arguments": "{}"}\n</tool_call>'),
        ("hermes", '<tool_call>\n{"name": "f", "parameters": {}}\n</tool_call>'),
        ("hermes", "<tool_call>\n[1]\n</tool_call>"),
        ("json_list", CALL),
        ("json_list", "[1]"),
        ("json_list", "null"),
        ("xlam_json", "prose"),
        ("xlam_json", "[]x"),
        ("granite", "<function_call> [1]"),
        ("granite", '<function_call> {"name": 1}'),
    ],
)
def test_json_formats_fail_where_their_handlers_raise(output_format, text):
    with pytest.raises(DecodeError):
        decode_output(text, output_format)


@pytest.mark.parametrize(
    ("value", "is_list"),
    [
        ([], True),
        ([{"f": {}}], True),
        ([{"f": {}}, "text"], False),
        ([{}], False),
        ([{"f": {}, "g": {}}], False),
        ([{"f": [1]}], False),
        ({"f": {}}, False),
    ],
)
def test_the_call_format_is_checked_as_officially(value, is_list):
    assert is_call_list(value) == is_list


def test_an_unknown_format_is_refused():
    with pytest.raises(EvalError) as caught:
        decode_output("", "hermis")
    assert (
        str(caught.value) == "unknown BFCL output format 'hermis'. Did you mean 'hermes'? [BFC103]"
    )


@pytest.mark.parametrize("language", ["java", "javascript"])
@pytest.mark.parametrize(
    ("opening", "closing"),
    [("(", ")"), ("[", "]"), ("{a:", "}"), ("g(", ")"), ("x=>", ""), ("`${", "}`"), ("(int)", "")],
)
def test_deep_source_text_gives_a_value_or_a_typed_failure(opening, closing, language):
    # The parser's own text of a tree, made by recursion in C, is not used.
    depth = 19_000 // len(opening + closing)
    text = f"f(a={opening * depth}1{closing * depth})"
    try:
        decoded = decode_output(text, "python_call", language)
    except DecodeError:
        return
    assert decoded in ([{"f": {"a": text[4:-1]}}], {})


@pytest.mark.parametrize("language", ["java", "javascript"])
def test_longer_source_than_a_model_writes_is_not_parsed(language):
    with pytest.raises(DecodeError, match="more than 20000 characters"):
        decode_output(f"f(a={'A<' * 50_000})", "python_call", language)


def test_tags_that_are_never_closed_take_linear_time():
    started = time.monotonic()
    assert decode_output("<tool_call>\n{}\n" * 13_000, "hermes") == []
    assert time.monotonic() - started < 1
