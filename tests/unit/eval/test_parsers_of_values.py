"""Sixty outputs each for numbers, answer spans, JSON and calls, labelled by hand."""

import pytest

from eval.parsers import parse_answer
from eval.parsers.values import parse_number
from pipeline.types import ParseFailure, TaskExample, TaskSpec

NAN = "not_a_number"
OUT = "out_of_range"
NUMBER_CASES = [
    ("0", 0.0),
    ("1", 1.0),
    ("5", 5.0),
    ("3.8", 3.8),
    ("3.80", 3.8),
    ("0.25", 0.25),
    ("4.", 4.0),
    (".5", 0.5),
    ("+2", 2.0),
    ("-0", 0.0),
    ("-0.0", 0.0),
    ("00", 0.0),
    ("03", 3.0),
    ("3.0", 3.0),
    ("5.0", 5.0),
    ("5.00", 5.0),
    (" 3", 3.0),
    ("3 ", 3.0),
    ("\n3\n", 3.0),
    ("\t3.5", 3.5),
    ("3.5.", 3.5),
    ("3 .", 3.0),
    (" 3.5. ", 3.5),
    ("0.001", 0.001),
    ("4.999999", 4.999999),
    ("+0.5", 0.5),
    ("2.50", 2.5),
    ("1.", 1.0),
    ("+.5", 0.5),
    ("0000.5", 0.5),
    ("6", OUT),
    ("5.1", OUT),
    ("5.0001", OUT),
    ("-1", OUT),
    ("-0.1", OUT),
    ("100", OUT),
    ("99999999999999999999", OUT),
    ("", NAN),
    (" ", NAN),
    (".", NAN),
    ("+", NAN),
    ("-", NAN),
    ("three", NAN),
    ("3,8", NAN),
    ("3.8.1", NAN),
    ("3..", NAN),
    ("3 4", NAN),
    ("3/5", NAN),
    ("3 of 5", NAN),
    ("~3", NAN),
    ("3e0", NAN),
    ("1e9", NAN),
    ("nan", NAN),
    ("NaN", NAN),
    ("inf", NAN),
    ("-inf", NAN),
    ("0x3", NAN),
    ("3%", NAN),
    ("Score: 3", NAN),
    ("3.8 points", NAN),
    ("[3]", NAN),
    ("٣", 3.0),
    ("½", NAN),
    ("1_0", NAN),
    ("1" * 40, NAN),
    ("--3", NAN),
    ("None", NAN),
]

BAD = "not_json"
NAMES = "not_a_list_of_names"
NAME_CASES = [
    ("[]", []),
    ("None", []),
    ("none.", []),
    ("[ ]", []),
    ('["f"]', ["f"]),
    ('["f", "g"]', ["f", "g"]),
    ('["f","g"]', ["f", "g"]),
    (' ["f"] ', ["f"]),
    ('\n["f"]\n', ["f"]),
    ('["f",\n"g"]', ["f", "g"]),
    ('["f", "f"]', ["f", "f"]),
    ('["a.b"]', ["a.b"]),
    ('["a_b"]', ["a_b"]),
    ('["a-b"]', ["a-b"]),
    ('["a b"]', ["a b"]),
    ('[""]', [""]),
    ('["\\u00fc"]', ["ü"]),
    ('["ü"]', ["ü"]),
    ('["F"]', ["F"]),
    ('["\\""]', ['"']),
    ('["f,g"]', ["f,g"]),
    ('["[f]"]', ["[f]"]),
    ('["1"]', ["1"]),
    ('["null"]', ["null"]),
    ('["a", "b", "c"]', ["a", "b", "c"]),
    ('["c", "b", "a"]', ["c", "b", "a"]),
    ('\t["f"]', ["f"]),
    ('["f"]  \n ', ["f"]),
    ('["\\n"]', ["\n"]),
    ('["f", ""]', ["f", ""]),
    ('"f"', NAMES),
    ("1", NAMES),
    ("null", NAMES),
    ("true", NAMES),
    ("{}", NAMES),
    ('{"f": 1}', NAMES),
    ("[1]", NAMES),
    ("[null]", NAMES),
    ("[true]", NAMES),
    ('["f", 1]', NAMES),
    ('[["f"]]', NAMES),
    ('[{"name": "f"}]', NAMES),
    ('["f", null]', NAMES),
    ("[[]]", NAMES),
    ("1.5", NAMES),
    ("f", BAD),
    ("f, g", BAD),
    ("[f]", BAD),
    ("['f']", BAD),
    ('["f"', BAD),
    ('"f"]', BAD),
    ('["f",]', BAD),
    ('["f" "g"]', BAD),
    ('["f"]]', BAD),
    ('["f"] ["g"]', BAD),
    ('["f"], "g"', BAD),
    ('```json\n["f"]\n```', BAD),
    ('Names: ["f"]', BAD),
    ("[NaN]", BAD),
    ("f()", BAD),
    ('["f\x01"]', BAD),
    ("[" * 2000, BAD),
]

OBJ = "not_an_object"
ARGUMENT_CASES = [
    ("{}", {}),
    ("{ }", {}),
    ('{"a": 1}', {"a": 1}),
    ('{"a":1}', {"a": 1}),
    (' {"a": 1} ', {"a": 1}),
    ('{\n"a": 1\n}', {"a": 1}),
    ('{"a": "1"}', {"a": "1"}),
    ('{"a": 1.0}', {"a": 1.0}),
    ('{"a": true}', {"a": True}),
    ('{"a": null}', {"a": None}),
    ('{"a": []}', {"a": []}),
    ('{"a": [1, 2]}', {"a": [1, 2]}),
    ('{"a": {}}', {"a": {}}),
    ('{"a": {"b": 1}}', {"a": {"b": 1}}),
    ('{"a": 1, "b": 2}', {"a": 1, "b": 2}),
    ('{"b": 2, "a": 1}', {"a": 1, "b": 2}),
    ('{"": 1}', {"": 1}),
    ('{"a b": 1}', {"a b": 1}),
    ('{"a": -1}', {"a": -1}),
    ('{"a": 1e3}', {"a": 1000.0}),
    ('{"a": "x, y"}', {"a": "x, y"}),
    ('{"a": "{}"}', {"a": "{}"}),
    ('{"a": "\\u00e9"}', {"a": "é"}),
    ('{"a": "é"}', {"a": "é"}),
    ('{"a": ""}', {"a": ""}),
    ('{"a": "\\n"}', {"a": "\n"}),
    ('{"a": [[]]}', {"a": [[]]}),
    ('{"a": false}', {"a": False}),
    ('{"name": "f", "arguments": {}}', {"name": "f", "arguments": {}}),
    ('{"a": 0}', {"a": 0}),
    ("[]", OBJ),
    ('[{"a": 1}]', OBJ),
    ('"a"', OBJ),
    ("1", OBJ),
    ("null", OBJ),
    ("true", OBJ),
    ("1.5", OBJ),
    ('""', OBJ),
    ("[1]", OBJ),
    ("[null]", OBJ),
    ("None", BAD),
    ("a", BAD),
    ("a=1", BAD),
    ("f(a=1)", BAD),
    ("{a: 1}", BAD),
    ("{'a': 1}", BAD),
    ('{"a": 1', BAD),
    ('"a": 1}', BAD),
    ('{"a": 1,}', BAD),
    ('{"a": 1}}', BAD),
    ('{"a": 1} {"b": 2}', BAD),
    ('{"a" 1}', BAD),
    ('{"a": }', BAD),
    ('{"a": NaN}', BAD),
    ('{"a": Infinity}', BAD),
    ('{"a": 1, "a": 2}', BAD),
    ('{"a": True}', BAD),
    ('{"a": None}', BAD),
    ('```{"a": 1}```', BAD),
    ('Arguments: {"a": 1}', BAD),
    ('{"a": 1} as asked', BAD),
    ('{"a":' * 500, BAD),
]


def c(name, **arguments):
    return {"name": name, "arguments": arguments}


CALLS = "malformed_calls"
F1 = '{"name": "f", "arguments": {"a": 1}}'
CALL_CASES = [
    (F1, [c("f", a=1)]),
    (f" {F1} ", [c("f", a=1)]),
    (f"\n{F1}\n", [c("f", a=1)]),
    (f"{F1}\n{F1}", [c("f", a=1), c("f", a=1)]),
    (f"{F1} {F1}", [c("f", a=1), c("f", a=1)]),
    (f"[{F1}]", [c("f", a=1)]),
    (f"[{F1}, {F1}]", [c("f", a=1), c("f", a=1)]),
    ("[]", []),
    ("None", []),
    ("No function fits.", []),
    ("I cannot do that", []),
    ('{"name": "f", "arguments": {}}', [c("f")]),
    ('{"name": "f", "parameters": {"a": 1}}', [c("f", a=1)]),
    ('{"arguments": {"a": 1}, "name": "f"}', [c("f", a=1)]),
    ('{"name": "f", "arguments": "{\\"a\\": 1}"}', [c("f", a=1)]),
    ('{"name": "f", "arguments": null}', [c("f")]),
    ('{"name": "a.b", "arguments": {}}', [c("a.b")]),
    ('{"name": "f", "arguments": {"a": "1"}}', [c("f", a="1")]),
    ('{"name": "f", "arguments": {"a": [1, 2]}}', [c("f", a=[1, 2])]),
    ('{"name": "f", "arguments": {"a": {"b": null}}}', [c("f", a={"b": None})]),
    ('{"name": "f", "arguments": {"a": true}}', [c("f", a=True)]),
    ('{"name": "f", "arguments": {"a": 1.5}}', [c("f", a=1.5)]),
    ('{"name": "f", "arguments": {"a": "é"}}', [c("f", a="é")]),
    ('{"name": "f", "arguments": {"a": "}{"}}', [c("f", a="}{")]),
    (f"<tool_call>\n{F1}\n</tool_call>", [c("f", a=1)]),
    (f"<tool_call>{F1}</tool_call>", [c("f", a=1)]),
    (f"<tool_call>{F1}</tool_call>\n<tool_call>{F1}</tool_call>", [c("f", a=1), c("f", a=1)]),
    (f"Let me see. <tool_call>{F1}</tool_call>", [c("f", a=1)]),
    (f"<tool_call>{F1}</tool_call> Done.", [c("f", a=1)]),
    (f"<function_call> {F1}", [c("f", a=1)]),
    (f"<function_call> {F1}\n<function_call> {F1}", [c("f", a=1), c("f", a=1)]),
    (f"```json\n[{F1}]\n```", [c("f", a=1)]),
    (f"```\n[{F1}]\n```", [c("f", a=1)]),
    ("f(a=1)", [c("f", a=1)]),
    ("[f(a=1)]", [c("f", a=1)]),
    ("[f(a=1), g(b='x')]", [c("f", a=1), c("g", b="x")]),
    ("f()", [c("f")]),
    ("a.b(c=1)", [c("a.b", c=1)]),
    ("f(a=[1, 2], b={'k': True})", [c("f", a=[1, 2], b={"k": True})]),
    ("f(a=-1)", [c("f", a=-1)]),
    ("f(a=None)", [c("f", a=None)]),
    ("{", CALLS),
    ('{"name": "f"', CALLS),
    ('{"name": "f"}', CALLS),
    ('{"name": 1, "arguments": {}}', CALLS),
    ('{"name": "", "arguments": {}}', CALLS),
    ('{"name": "f", "arguments": []}', CALLS),
    ('{"name": "f", "arguments": 1}', CALLS),
    ('{"name": "f", "arguments": {"a": NaN}}', CALLS),
    ('{"name": "f", "arguments": {"a": 1, "a": 2}}', CALLS),
    (f"{F1} and more", CALLS),
    (f"{F1}\n]", CALLS),
    (f"[{F1}", CALLS),
    (f"[{F1}] x", CALLS),
    (f"<tool_call>{F1}", CALLS),
    ("<tool_call>f(a=1)</tool_call>", CALLS),
    ("<tool_call>{}</tool_call>", CALLS),
    ("<function_call> f", CALLS),
    ("f(a=__import__('os').getpid())", CALLS),
    ("f(a=1+1)", CALLS),
    ("f(1)", CALLS),
    ("f(a=1", CALLS),
    ("f(a=b)", CALLS),
    ('{"a": ' * 200, CALLS),
]

SPAN_CASES = [
    ("None", ""),
    ("none", ""),
    ("NONE", ""),
    ("None.", ""),
    (" None ", ""),
    ("none .", ""),
    ("\nNone\n", ""),
    *[
        (text, text)
        for text in [
            "p53",
            "the cell",
            "42",
            "yes",
            "No",
            "None of them",
            "none known",
            "a.",
            "a b c",
            "ü",
            "(x)",
            "[x]",
            "{x}",
            "<x>",
            "'x'",
            '"x"',
            "x, y",
            "x; y",
            "x: y",
            "x\ny",
            "x\ty",
            "x  y",
            "...",
            "?",
            "!",
            "-",
            "0",
            "3.8",
            "1,000",
            "10 %",
            "$5",
            "x/y",
            "x-y",
            "x_y",
            "X",
            "xX",
            "None None",
            "N",
            "non",
            "Nones",
        ]
    ],
    *[(f" {text} ", text) for text in ["p53", "the cell", "42", "x y", "a."]],
    *[(f"\n{text}\n", text) for text in ["p53", "the cell", "42", "x y", "a."]],
    *[(f"<think>hm</think>{text}", text) for text in ["p53", "the cell"]],
    ("<think>hm</think>None", ""),
    ("", "empty"),
    (" ", "empty"),
    ("\n", "empty"),
    ("<think>hm</think>", "empty"),
    ("<think>hm</think> \n", "empty"),
]


def task(kind, labels=None, **settings):
    return TaskSpec(id="t", kind=kind, family="f", instruction="", labels=labels, settings=settings)


def example(**inputs):
    return TaskExample(key="t/test/0", task="t", split="test", inputs=inputs, target=None)


def check(parsed, expected):
    if isinstance(parsed, ParseFailure):
        assert parsed.code == expected
    else:
        assert parsed == expected
        assert type(parsed) is type(expected)


@pytest.mark.parametrize(("text", "expected"), NUMBER_CASES)
def test_a_number_is_read(text, expected):
    check(parse_number(text, task("regression", minimum=0, maximum=5)), expected)


@pytest.mark.parametrize(("text", "expected"), NAME_CASES)
def test_names_are_read(text, expected):
    check(parse_answer(text, example(), task("function_calling", granular="names")), expected)


@pytest.mark.parametrize(("text", "expected"), ARGUMENT_CASES)
def test_arguments_are_read(text, expected):
    spec = task("function_calling", granular="parameters")
    check(parse_answer(text, example(), spec), expected)


@pytest.mark.parametrize(("text", "expected"), CALL_CASES)
def test_calls_are_read_and_never_run(text, expected):
    check(parse_answer(text, example(), task("function_calling")), expected)


@pytest.mark.parametrize(("text", "expected"), SPAN_CASES)
def test_an_answer_span_is_read(text, expected):
    check(parse_answer(text, example(), task("extractive_qa")), expected)


def test_there_are_sixty_cases_of_each_family():
    families = (NUMBER_CASES, NAME_CASES, ARGUMENT_CASES, CALL_CASES, SPAN_CASES)
    assert min(len(family) for family in families) >= 60


def test_free_text_keeps_the_word_none():
    assert parse_answer(" None ", example(), task("text")) == "None"


def test_a_failure_holds_at_most_eighty_characters():
    parsed = parse_answer("x" * 500, example(), task("classification", labels=("a", "b")))
    assert parsed == ParseFailure(code="not_a_label", excerpt="x" * 80)


def test_a_closed_thought_is_left_out_and_an_open_one_is_not():
    spec = task("classification", labels=("yes", "no"))
    assert parse_answer("<think>\nno?\n</think>\n\nyes", example(), spec) == "yes"
    assert isinstance(parse_answer("<think>no? yes", example(), spec), ParseFailure)
