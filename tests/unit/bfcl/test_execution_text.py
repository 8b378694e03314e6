"""Answers in conversations become the calls that the official evaluator would run."""

from __future__ import annotations

import pytest

from eval.bfcl.decode import DecodeError
from eval.bfcl.execution_text import decode_for_execution
from eval.bfcl.simulator_server import World
from pipeline.errors import EvalError

CALL = '{"name": "f", "arguments": {"a": 1}}'


@pytest.mark.parametrize(
    ("output_format", "text", "calls"),
    [
        ("python_call", "[f(a=1), g(b='x')]", ["f(a=1)", "g(b='x')"]),
        ("python_call", "f(a=g(b=h(c=2)))", ["f(a=g(b=h(c=2)))"]),
        ("python_call", "f(a=g(1))", ["f(a='g(1)')"]),
        ("python_call", "f(a={'k': 1, 'l': g(b=1)})", ["f(a={'k': 1, 'l': g(b=1)})"]),
        ("python_call", "f(a={'k': {'l': 1}})", ["f(a=k(l=1))"]),
        ("python_call", "f(a=[g(b=1)])", ["f(a=[{'g': {'b': 1}}])"]),
        ("python_call", "f(a=2 + 3, b=(1, 2))", ["f(a=5, b=(1, 2))"]),
        ("python_call", "[]", []),
        ("hermes", f"<tool_call>\n{CALL}\n</tool_call>", ["f(a=1)"]),
        (
            "hermes",
            '<tool_call>\n{"name": "f", "arguments": "{\\"a\\": 1}"}\n</tool_call>',
            ["f(a=1)"],
        ),
        ("json_list", f"[{CALL}]", ["f(a=1)"]),
        ("json_list", f'{{"tool_calls": [{CALL}]}}', ["f(a=1)"]),
        ("json_list", f"[{CALL}, 1]", ["f(a=1)"]),
        ("json_list", "prose", []),
        ("xlam_json", f"{CALL}; {CALL}", ["f(a=1)", "f(a=1)"]),
        ("granite", f"<function_call> {CALL}", ["f(a=1)"]),
        ("granite", "Done.", ["Done."]),
        ("granite", '<function_call> {"name": "no_function"}', ["No function is called"]),
        ("granite", "", []),
    ],
)
def test_answers_are_written_as_the_official_handlers_write_them(output_format, text, calls):
    assert decode_for_execution(text, output_format) == calls


@pytest.mark.parametrize(
    ("output_format", "text"),
    [
        ("python_call", "Done."),
        ("python_call", "f(a={})"),
        ("python_call", "f(a=10 ** 5000)"),
        ("hermes", "<tool_call>\n[1]\n</tool_call>"),
        ("json_list", '[{"name": "f", "arguments": []}]'),
        ("xlam_json", "Done."),
        ("granite", "<function_call> 5"),
    ],
)
def test_answers_on_which_a_handler_raises_hold_no_call(output_format, text):
    with pytest.raises(DecodeError):
        decode_for_execution(text, output_format)


def test_an_unknown_format_is_refused():
    with pytest.raises(EvalError, match="BFC103"):
        decode_for_execution("", "hermis")


@pytest.mark.parametrize(
    "call",
    [
        "__import__('os').system('touch ran')",
        "open('ran', 'w')",
        "(lambda: 1)()",
        "f(a=[x for x in (1, 2)])",
        "f(**{'a': 1})",
        "f(a=().__class__)",
        "exec('1')",
        "print('x')",
        "f(a=1)(b=2)",
        "f(a=1).b(c=2)",
        "x" * 10,
        "(" * 3000,
        "f(a=1) or 2",
    ],
)
def test_nothing_but_simulated_methods_and_literals_can_run(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (result,) = World({"classes": [], "initial_config": {}, "long_context": False}).run([call])
    assert result.startswith("Error during execution: ")
    assert [*tmp_path.iterdir()] == []
