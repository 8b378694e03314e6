"""Result files in the official layout, and what they score."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from pathlib import Path

import pytest

from eval.bfcl import official_runner
from eval.bfcl.data import FOLDER, BfclData
from eval.bfcl.official import read_overall, run_official
from eval.bfcl.result_files import (
    read_results,
    result_path,
    results_of_samples,
    score_results,
    write_results,
)
from pipeline.cli.main import main
from pipeline.errors import EvalError

FUNCTION = {
    "name": "add",
    "description": "Add",
    "parameters": {"type": "dict", "properties": {"a": {"type": "integer"}}, "required": ["a"]},
}


@pytest.fixture
def data_root(tmp_path):
    folder = tmp_path / "data" / FOLDER
    (folder / "possible_answer").mkdir(parents=True)
    rows = [
        {"id": f"simple_python_{n}", "question": [[]], "function": [FUNCTION]} for n in range(4)
    ]
    answers = [
        {"id": f"simple_python_{n}", "ground_truth": [{"add": {"a": [n]}}]} for n in range(4)
    ]
    name = "BFCL_v4_simple_python.json"
    (folder / name).write_text("\n".join(map(json.dumps, rows)))
    (folder / "possible_answer" / name).write_text("\n".join(map(json.dumps, answers)))
    return tmp_path / "data"


def test_the_layout_is_the_official_one(tmp_path):
    found = {
        name: str(result_path(tmp_path, "me/a-1", name).relative_to(tmp_path))
        for name in ("simple_java", "live_relevance", "multi_turn_base", "irrelevance")
    }
    assert found == {
        "simple_java": "me_a-1/non_live/BFCL_v4_simple_java_result.json",
        "live_relevance": "me_a-1/live/BFCL_v4_live_relevance_result.json",
        "multi_turn_base": "me_a-1/multi_turn/BFCL_v4_multi_turn_base_result.json",
        "irrelevance": "me_a-1/non_live/BFCL_v4_irrelevance_result.json",
    }


@pytest.mark.parametrize("name", ["me/my_model", "", "/x"])
def test_names_that_the_layout_cannot_hold_are_refused(name, tmp_path):
    with pytest.raises(EvalError, match="BFC109"):
        result_path(tmp_path, name, "simple_java")


def test_written_results_are_read_back_with_every_character(tmp_path):
    results = {"simple_python": {"simple_python_0": 'a\n"é\ud83d', "simple_python_1": ""}}
    write_results(tmp_path, "me/a", results)
    assert read_results(tmp_path, "me/a") == results


def test_rows_without_a_result_stay_in_the_denominator(data_root):
    answers = {"simple_python_0": "[add(a=0)]", "simple_python_1": "[add(a=0)]"}
    (score,) = score_results(
        {"simple_python": answers}, BfclData(data_root), output_format="python_call"
    ).values()
    assert (score.num_rows, score.num_correct, score.num_missing) == (4, 1, 2)
    assert score.accuracy == 0.25


def sample(row, output, parsed=None, task="bfcl/simple_python"):
    return {"task": task, "key": f"{task}/test/{row}", "output": output, "parsed": parsed}


def write_samples(path, rows):
    path.write_text("\n".join(map(json.dumps, rows)))
    return path


def test_samples_become_results_by_the_ids_of_the_benchmark(tmp_path, data_root):
    calls = [{"name": "add", "arguments": {"a": 2}}]
    rows = [sample(2, "add 2", calls), sample(0, "what?"), sample(0, "x", task="other")]
    samples = write_samples(tmp_path / "samples.jsonl", rows)
    data = BfclData(data_root)
    assert results_of_samples(samples, data, use_calls=True) == {
        "simple_python": {"simple_python_2": json.dumps(calls), "simple_python_0": "what?"}
    }
    assert results_of_samples(samples, data, use_calls=False) == {
        "simple_python": {"simple_python_2": "add 2", "simple_python_0": "what?"}
    }


def test_rows_without_an_answer_are_no_results(tmp_path, data_root):
    lost = {"finish_reason": "failed", "failure": "server_timeout"}
    long = {"finish_reason": "length", "failure": "prompt_too_long"}
    cut = {"finish_reason": "length", "failure": "malformed_calls"}
    rows = [sample(n, "", None) | facts for n, facts in enumerate((lost, long, cut))]
    samples = write_samples(tmp_path / "samples.jsonl", rows)
    found = results_of_samples(samples, BfclData(data_root), use_calls=True)
    assert found == {"simple_python": {"simple_python_2": ""}}


@pytest.mark.parametrize(
    "rows", [[sample(9, "x")], [sample(0, "x", task="other")], [{"task": 1}], ["text"]]
)
def test_samples_that_are_not_the_benchmark_are_refused(rows, tmp_path, data_root):
    samples = write_samples(tmp_path / "samples.jsonl", rows)
    with pytest.raises(EvalError, match="BFC110"):
        results_of_samples(samples, BfclData(data_root), use_calls=True)


def test_damaged_result_files_are_named_with_their_line(tmp_path):
    path = result_path(tmp_path, "me/a", "simple_python")
    path.parent.mkdir(parents=True)
    path.write_text('{"id": "simple_python_0", "result": "x"}\n{"id": 1}\n')
    with pytest.raises(EvalError, match=r"_result.json:2: .*BFC110"):
        read_results(tmp_path, "me/a")
    with pytest.raises(EvalError, match="BFC110"):
        read_results(tmp_path, "me/b")


def test_an_id_that_stands_twice_is_refused_with_its_line(tmp_path):
    path = result_path(tmp_path, "me/a", "simple_python")
    path.parent.mkdir(parents=True)
    rows = [{"id": name, "result": "[]"} for name in ("a", "b", "a")]
    path.write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(EvalError, match="BFC110") as caught:
        read_results(tmp_path, "me/a")
    assert f"{path}:3" in str(caught.value)
    assert "line 1" in str(caught.value)


@pytest.mark.parametrize(("output_format", "is_told"), [("json_list", True), ("hermes", False)])
def test_results_of_which_nothing_can_be_read_are_told(
    output_format, is_told, tmp_path, data_root, capsys
):
    block = '<tool_call>\n{"name": "add", "arguments": {"a": 0}}\n</tool_call>'
    results = {"simple_python": {f"simple_python_{n}": block for n in range(4)}}
    write_results(tmp_path / "result", "me/a", results)
    arguments = ["--data-root", str(data_root), "bfcl", "score", str(tmp_path / "result")]
    with contextlib.suppress(SystemExit):
        main([*arguments, "--model", "me/a", "--format", output_format])
    assert ("is it the right --format?" in capsys.readouterr().err) == is_told


def test_the_command_writes_and_scores_result_files(tmp_path, data_root, capsys):
    calls = [{"name": "add", "arguments": {"a": 2}}]
    samples = write_samples(tmp_path / "samples.jsonl", [sample(2, "add 2", calls)])
    common = ["--data-root", str(data_root), "bfcl"]
    out = str(tmp_path / "result")
    for arguments in (["results", str(samples), out], ["score", out]):
        with pytest.raises(SystemExit) as done:
            main([*common, *arguments, "--model", "me/a"])
        assert done.value.code == 0
    printed = capsys.readouterr()
    assert "25.00%" in printed.out
    assert "3 rows have no result and count as wrong" in printed.err
    assert "memory_kv" in printed.out


STAND_IN = """#!{python}
import json, os, pathlib, sys
root = pathlib.Path(os.environ["BFCL_PROJECT_ROOT"])
assert (root / "result/me_a/non_live/BFCL_v4_simple_python_result.json").is_file()
pathlib.Path({log!r}).write_text(json.dumps(sys.argv))
if {fails}:
    sys.exit("evaluator: no such handler")
folder = root / "score/me_a/non_live"
folder.mkdir(parents=True)
(folder / "BFCL_v4_simple_python_score.json").write_text('{{"accuracy": 0.5}}\\n')
(root / "score/data_overall.csv").write_text("Rank,Overall Acc\\n1,1.25%")
"""


def stand_in(tmp_path: Path, *, fails: bool) -> Path:
    path = tmp_path / "python"
    log = str(tmp_path / "log.json")
    path.write_text(STAND_IN.format(python=sys.executable, log=log, fails=fails))
    path.chmod(0o755)
    return path


def test_the_official_evaluator_gets_the_files_and_its_numbers_are_read_back(tmp_path):
    write_results(tmp_path / "result", "me/a", {"simple_python": {"simple_python_0": "x"}})
    accuracies = run_official(
        tmp_path / "result",
        tmp_path / "score",
        model="me/a",
        categories=["simple_python"],
        output_format="hermes",
        underscore_to_dot=True,
        python=stand_in(tmp_path, fails=False),
    )
    assert accuracies == {"simple_python": 0.5}
    assert read_overall(tmp_path / "score")["Overall Acc"] == "1.25%"
    arguments = json.loads((tmp_path / "log.json").read_text())
    assert Path(arguments[3]) == Path(official_runner.__file__).resolve()
    assert arguments[4:] == [
        *("--model", "me/a", "--format", "hermes", "--categories", "simple_python"),
        "--underscore-to-dot",
    ]


def test_a_failing_evaluator_is_one_error_with_its_last_line(tmp_path):
    write_results(tmp_path / "result", "me/a", {"simple_python": {"simple_python_0": "x"}})
    with pytest.raises(EvalError, match=r"evaluator: no such handler.*BFC112"):
        run_official(
            tmp_path / "result",
            tmp_path / "score",
            model="me/a",
            categories=["simple_python"],
            output_format="hermes",
            python=stand_in(tmp_path, fails=True),
        )


def test_the_runner_imports_nothing_of_this_project():
    code = f"import ast,sys; print(ast.dump(ast.parse(open({official_runner.__file__!r}).read())))"
    dump = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'pipeline" not in dump.stdout
    assert "module='eval" not in dump.stdout
