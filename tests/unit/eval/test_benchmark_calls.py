"""BFCL rows in the harness: read and judged as the official evaluator does."""

import json

import pytest

from eval.backends.given_backend import GivenBackend
from eval.harness import evaluate
from eval.metrics import METRICS
from eval.parsers import parse_answer
from eval.results import read_samples
from eval.tasks import Asking, EvalTask, call_format
from pipeline.types import ParseFailure, Prediction, TaskExample, TaskSpec

SPEC = TaskSpec(
    id="bfcl/x",
    kind="function_calling",
    family="f",
    instruction="",
    metrics=("call_ast_accuracy",),
    settings={"granular": "calls", "checker": "bfcl"},
)
ADD = {
    "name": "add",
    "description": "Adds.",
    "parameters": {
        "type": "dict",
        "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
        "required": ["a", "b"],
    },
}
METRIC = METRICS["call_ast_accuracy"]


def row(category="simple_python", index=0):
    truth = [{"add": {"a": [1], "b": [2]}}]
    target = {
        "category": category,
        "functions": [ADD],
        "ground_truth": [] if "relevance" in category else truth,
    }
    return TaskExample(
        key=f"bfcl/x/test/{index}",
        task="bfcl/x",
        split="test",
        inputs={"query": "Add 1 and 2.", "functions": [{**ADD, "parameters": {"type": "object"}}]},
        target=target,
    )


def verdict(text, category="simple_python"):
    example = row(category)
    parsed = parse_answer(text, example, SPEC)
    value = None if isinstance(parsed, ParseFailure) else parsed
    return METRIC.row_value(value, example.target, SPEC)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        ("[add(a=1, b=2)]", True),
        ("add(a=1, b=2)", True),
        # The official default handler drops fences around a list.
        ("```[add(a=1, b=2)]```", True),
        ("`[add(a=1, b=2)]`", True),
        ('{"name": "add", "arguments": {"a": 1, "b": 2}}', True),
        ('<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>', True),
        ("[add(a=1, b=3)]", False),
        ("[add(a=1, b=1e999)]", False),
        ("[add(a=1, b=2", False),
        ("I cannot add.", False),
        ("add", False),
        ("[1, 2]", False),
        ("", False),
    ],
)
def test_an_answer_is_right_where_the_official_evaluator_says_so(text, is_right):
    assert verdict(text) == float(is_right)


@pytest.mark.parametrize(
    ("text", "is_right"),
    [("I cannot do that.", True), ("[add(a=", True), ("", True), ("[add(a=1, b=2)]", False)],
)
def test_where_no_function_fits_a_text_that_calls_nothing_is_right(text, is_right):
    assert verdict(text, "irrelevance") == float(is_right)


def test_a_row_without_an_answer_is_wrong_also_where_no_function_fits(tmp_path):
    class Failing(GivenBackend):
        def generate(self, batch, *, max_new_tokens):
            reason = "server_timeout"
            return [
                Prediction(key=prompt.key, text="", finish_reason="failed", failure=reason)
                for prompt in batch
            ]

    task = EvalTask(spec=SPEC, examples=[row("irrelevance", index) for index in range(4)])
    result = evaluate(Failing({}, name="x"), [task], output_folder=tmp_path / "run")
    assert result.tasks[0].metrics["call_ast_accuracy"].value == 0.0
    assert dict(result.tasks[0].failures) == {"server_timeout": 4}


def test_unparsable_answers_are_counted_beside_their_official_verdict(tmp_path):
    task = EvalTask(spec=SPEC, examples=[row("irrelevance", index) for index in range(4)])
    answers = {example.key: "[add(a=" for example in task.examples}
    result = evaluate(GivenBackend(answers, name="x"), [task], output_folder=tmp_path / "run")
    assert result.tasks[0].metrics["call_ast_accuracy"].value == 1.0
    assert dict(result.tasks[0].failures) == {"malformed_calls": 4}
    assert all(json.dumps(sample) for sample in read_samples(tmp_path / "run"))


def test_a_row_that_a_file_lacks_is_wrong_and_a_given_empty_text_abstains(tmp_path):
    task = EvalTask(spec=SPEC, examples=[row("irrelevance", index) for index in range(4)])
    answers = {task.examples[0].key: ""}
    result = evaluate(GivenBackend(answers, name="x"), [task], output_folder=tmp_path / "run")
    assert result.tasks[0].metrics["call_ast_accuracy"].value == 0.25
    assert dict(result.tasks[0].failures) == {"empty": 1, "no_answer": 3}


GOOD_BLOCK = '<tool_call>\n{"name": "add", "arguments": {"a": 1, "b": 2}}\n</tool_call>'


@pytest.mark.parametrize(
    ("text", "is_right"),
    [
        (f'{GOOD_BLOCK}\n<tool_call>\n{{"name": "add", "argu', True),
        (f"<tool_call>\n{{broken\n</tool_call>\n{GOOD_BLOCK}", True),
        (f"Sure.\n{GOOD_BLOCK}\nDone.", True),
        (f"{GOOD_BLOCK}\n{GOOD_BLOCK}", False),
        ("<tool_call>\n{broken\n</tool_call>", False),
        ('<tool_call>\n{"name": 5, "arguments": {}}\n</tool_call>', False),
        ('<tool_call>\n{"name": [], "arguments": {}}\n</tool_call>', False),
        ('<tool_call>\n{"name": "add", "arguments": {"a": NaN}}\n</tool_call>', False),
        ('<tool_call>\n{"name": "add", "arguments": 1}\n</tool_call>', False),
    ],
)
def test_blocks_that_cannot_be_read_are_left_out_as_officially(text, is_right):
    assert verdict(text) == float(is_right)


def test_blocks_of_which_none_can_be_read_are_no_call_and_counted_as_unreadable():
    text = "<tool_call>\n{broken\n</tool_call>"
    assert verdict(text, "irrelevance") == 1.0
    assert isinstance(parse_answer(text, row("irrelevance"), SPEC), ParseFailure)


JSON_LIST = '[{"name": "add", "arguments": {"a": 1, "b": 2}}]'
JSON_LINE = '{"name": "add", "arguments": {"a": 1, "b": 2}}'
PYTHON_CALL = "[add(a=1, b=2)]"
GRANITE = f"<function_call> {JSON_LINE}"
QWEN = (
    "<tool_call>\n<function=add>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\n2\n"
    "</parameter>\n</function>\n</tool_call>"
)
ALL_SPELLINGS = {PYTHON_CALL, GOOD_BLOCK, GRANITE, JSON_LIST, JSON_LINE, QWEN, f"```{JSON_LIST}```"}


@pytest.mark.parametrize(
    ("call_format", "right"),
    [
        ("python_call", {PYTHON_CALL}),
        ("hermes", {GOOD_BLOCK}),
        ("granite", {GRANITE, JSON_LINE}),  # the official handler does not need the tag
        ("xlam", {JSON_LIST, f"```{JSON_LIST}```"}),
        ("json", {JSON_LIST, JSON_LINE}),
        ("qwen", {QWEN}),
        (
            "any",
            {PYTHON_CALL, GOOD_BLOCK, GRANITE, JSON_LIST, JSON_LINE, QWEN, f"```{JSON_LIST}```"},
        ),
    ],
)
def test_what_another_format_would_make_of_an_answer_does_not_count(call_format, right):
    texts = {PYTHON_CALL, GOOD_BLOCK, GRANITE, JSON_LIST, JSON_LINE, QWEN, f"```{JSON_LIST}```"}
    for text in texts:
        for category, wanted in (
            ("simple_python", text in right),
            ("irrelevance", text not in right),
        ):
            example = row(category)
            parsed = parse_answer(text, example, SPEC, call_format=call_format)
            value = None if isinstance(parsed, ParseFailure) else parsed
            assert METRIC.row_value(value, example.target, SPEC) == float(wanted), text


@pytest.mark.parametrize("call_format", ["python_call", "hermes", "granite", "xlam", "json", "any"])
def test_prose_and_signs_of_no_call_are_no_failure(call_format):
    texts = ["No function fits.", "None"]
    texts += {"granite": ['<function_call> {"name": "no_function", "arguments": {}}']}.get(
        call_format, []
    )
    for text in texts:
        assert parse_answer(text, row("irrelevance"), SPEC, call_format=call_format) == []


def test_the_style_decides_how_answers_are_read_and_the_results_tell_it(tmp_path):
    task = EvalTask(spec=SPEC, examples=[row(index=index) for index in range(2)])
    answers = {task.examples[0].key: PYTHON_CALL, task.examples[1].key: JSON_LIST}
    expected = {"bfcl_prompting": ("python_call", 0.5), "plain": ("any", 1.0)}
    for style, (read_as, accuracy) in expected.items():
        result = evaluate(
            GivenBackend(answers, name="x"),
            [task],
            output_folder=tmp_path / style,
            asking=Asking(style=style),
        )
        assert result.tasks[0].metrics["call_ast_accuracy"].value == accuracy
        assert result.to_json()["tasks"]["bfcl/x"]["decoding"]["calls_read_as"] == read_as


def test_the_chat_template_or_the_recipe_decides_it_where_functions_are_given():
    assert call_format(Asking(), {"call_format": "hermes"}) == "hermes"
    assert call_format(Asking(), {"call_format": None}) == "any"
    assert call_format(Asking(function_format="xlam"), {"call_format": "hermes"}) == "xlam"
    asked = Asking(style="bfcl_prompting", function_format="xlam")
    assert call_format(asked, {"call_format": "hermes"}) == "python_call"
