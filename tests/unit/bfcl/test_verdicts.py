"""Verdicts of rows and of files of rows."""

from __future__ import annotations

import json

import pytest

from eval.bfcl.data import FOLDER, BfclData
from eval.bfcl.verdicts import check_answer, verdict, verdicts_file
from pipeline.errors import EvalError, PipelineErrors
from pipeline.types import FunctionCall

FUNCTION = {
    "name": "add",
    "description": "Add",
    "parameters": {
        "type": "dict",
        "properties": {"a": {"type": "integer"}},
        "required": ["a"],
    },
}


@pytest.fixture
def data_root(tmp_path):
    folder = tmp_path / "data" / FOLDER
    (folder / "possible_answer").mkdir(parents=True)
    question = {"question": [[{"role": "user", "content": "?"}]], "function": [FUNCTION]}
    for category, has_answers in (
        ("simple_python", True),
        ("simple_java", True),
        ("simple_javascript", True),
        ("irrelevance", False),
        ("live_relevance", False),
    ):
        row = {"id": f"{category}_0", **question}
        (folder / f"BFCL_v4_{category}.json").write_text(json.dumps(row))
        if has_answers:
            answer = {"id": "other id", "ground_truth": [{"add": {"a": [1]}}]}
            path = folder / "possible_answer" / f"BFCL_v4_{category}.json"
            path.write_text(json.dumps(answer) + "\n")
    return tmp_path / "data"


def row(category="simple_python", output="[add(a=1)]", **changes):
    return {
        "row": 3,
        "category": category,
        "id": f"{category}_0",
        "format": "python_call",
        "underscore_to_dot": False,
        "model_output": output,
        **changes,
    }


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (row(), (True, None)),
        (row(output="[add(a=2)]"), (False, "value_error:others")),
        (row(output="prose here"), (False, "ast_decoder:decoder_failed")),
        (row(output=None), (False, "ast_decoder:decoder_failed")),
        (row(output="prose", format="granite"), (False, "ast_decoder:decoder_wrong_output_format")),
        (row("irrelevance", "I cannot."), (True, None)),
        (row("irrelevance", "[]"), (True, None)),
        (row("irrelevance", "not_needed()"), (False, "irrelevance_error:decoder_success")),
        (row("live_relevance", "[other(x=1)]"), (True, None)),
        (row("live_relevance", "error: timeout"), (False, "relevance_error:decoder_failed")),
        (row("simple_java", "add(a=1);"), (True, None)),
        (row("simple_java", "[add(a=1L);]"), (False, "type_error:simple")),
        (row("simple_java", "add a;"), (False, "ast_decoder:decoder_wrong_output_format")),
        (row("simple_javascript", "[add(a=1)]"), (True, None)),
        (row("simple_javascript", "add("), (False, "ast_decoder:decoder_failed")),
        (
            row("simple_java", '[{"name": "add", "arguments": {"a": 1}}]', format="json_list"),
            (False, "type_error:java"),
        ),
        (
            row("simple_java", '[{"name": "add", "arguments": {"a": "1"}}]', format="json_list"),
            (True, None),
        ),
        (row("multi_turn_base", "x"), (None, "not_scored:multi_turn")),
        (row("format_sensitivity", "x"), (None, "not_scored:format_sensitivity")),
        (row("exec_simple", "x"), (None, "not_scored:retired")),
    ],
)
def test_a_row_gets_the_official_verdict_or_is_named_as_not_scored(given, expected, data_root):
    result = verdict(given, BfclData(data_root))
    assert (result["verdict"], result["error_type"]) == expected


def test_parsed_calls_can_be_scored_without_text():
    arguments = {
        "functions": [FUNCTION],
        "ground_truth": [{"add": {"a": [1]}}],
        "category": "simple_python",
    }
    assert check_answer([FunctionCall(name="add", arguments={"a": 1})], **arguments) == (True, None)
    assert check_answer(None, **arguments) == (False, "ast_decoder:decoder_failed")
    wrong_count = "simple_function_checker:wrong_count"
    assert check_answer([], **arguments) == (False, wrong_count)


def test_conversations_of_several_turns_are_refused_and_not_scored_as_wrong():
    with pytest.raises(EvalError) as caught:
        check_answer("", functions=[], ground_truth=[], category="multi_turn_base")
    assert str(caught.value) == (
        "BFCL category 'multi_turn_base' (multi_turn) is not scored here. "
        "Score it with the official evaluator. [BFC102]"
    )


def test_a_file_of_rows_gives_one_verdict_per_line_in_order(tmp_path, data_root):
    rows = [row(), row("irrelevance", "[add(a=1)]"), row("multi_turn_base")]
    (tmp_path / "in.jsonl").write_text("\n\n".join(json.dumps(item) for item in rows))
    counts = verdicts_file(tmp_path / "in.jsonl", tmp_path / "out.jsonl", data_root)
    assert [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()] == [
        {"row": 3, "verdict": True, "error_type": None},
        {"row": 3, "verdict": False, "error_type": "irrelevance_error:decoder_success"},
        {"row": 3, "verdict": None, "error_type": "not_scored:multi_turn"},
    ]
    assert counts.num_rows == {"simple_python": 1, "irrelevance": 1, "multi_turn_base": 1}
    assert counts.num_correct == {"simple_python": 1, "irrelevance": 0, "multi_turn_base": 0}
    assert str(counts) == (
        "simple_python: 1 of 1 right\n"
        "irrelevance: 0 of 1 right\n"
        "multi_turn_base: 1 rows not scored\n"
        "Data: bfcl-eval 2026.3.23 (gorilla 6ea5797)"
    )


def test_every_malformed_line_is_reported_and_nothing_is_written(tmp_path, data_root):
    lines = [
        json.dumps(row()),
        "{",
        "[1]",
        json.dumps(row(format="prompt")),
        json.dumps(row(category="simple_pyhton")),
        json.dumps(row(id="simple_python_9")),
        json.dumps({"row": 1}),
        json.dumps(row(underscore_to_dot=1)),
    ]
    path = tmp_path / "in.jsonl"
    path.write_text("\n".join(lines))
    with pytest.raises(PipelineErrors) as caught:
        verdicts_file(path, tmp_path / "out.jsonl", data_root)
    found = [(error.where, error.code) for error in caught.value.errors]
    assert found == [
        (f"{path}:2", "BFC108"),
        (f"{path}:3", "BFC108"),
        (f"{path}:4", "BFC103"),
        (f"{path}:5", "BFC101"),
        (f"{path}:6", "BFC106"),
        (f"{path}:7", "BFC108"),
        (f"{path}:8", "BFC108"),
    ]
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("{", "BFC105"),
        ("[]", "BFC105"),
        ('{"id": "x"}', "BFC105"),
        ("{}\n{}", "BFC105"),
    ],
)
def test_damaged_data_files_are_named(content, code, data_root):
    path = data_root / FOLDER / "BFCL_v4_simple_python.json"
    path.write_text(content)
    with pytest.raises(EvalError) as caught:
        verdict(row(), BfclData(data_root))
    assert caught.value.code == code


def test_missing_data_and_missing_input_are_errors(tmp_path, data_root):
    with pytest.raises(EvalError) as caught:
        verdict(row(), BfclData(tmp_path))
    assert caught.value.code == "BFC104"
    with pytest.raises(EvalError) as caught:
        verdicts_file(tmp_path / "no.jsonl", tmp_path / "out.jsonl", None)
    assert caught.value.code == "BFC104"
    with pytest.raises(EvalError) as caught:
        verdicts_file(tmp_path / "no.jsonl", tmp_path / "out.jsonl", data_root)
    assert caught.value.code == "BFC107"
