"""Conversations of several turns: the loop, the simulated APIs' server, and files that are read."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.backends.base import Prompt
from eval.bfcl.data import FOLDER
from eval.bfcl.multi_turn import (
    MAX_STEPS,
    MORE_FUNCTIONS,
    check_dialogue,
    converse,
    load_dialogues,
    read_calls,
    score_conversations,
)
from eval.bfcl.official import ensure_environment
from eval.bfcl.result_files import read_conversations, result_path, write_results
from eval.bfcl.simulator import Simulator
from pipeline.cli.main import main
from pipeline.errors import EvalError
from pipeline.files import cache_root
from pipeline.types import Prediction

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "bfcl_conversations.jsonl"

BOX = '''
"""A stand-in for a simulated API: a box that holds words."""


class GorillaFileSystem:
    def __init__(self):
        self.words = []
        self._secret = 0

    def _load_scenario(self, config, long_context=False):
        self.words = list(config["words"])

    def put(self, word):
        print("noise on standard output")
        self._secret += 1
        self.words.append(word)
        return {"count": len(self.words)}

    def look(self):
        return str(self.words)

    def kill(self):
        raise SystemExit

    def hang(self):
        import time

        time.sleep(60)
'''
SCENARIO = {
    "classes": ["GorillaFileSystem"],
    "initial_config": {"GorillaFileSystem": {"words": []}},
    "long_context": False,
}
SPECS = [
    {
        "name": "put",
        "description": "Puts.",
        "parameters": {
            "type": "dict",
            "properties": {"word": {"type": "string"}},
            "required": ["word"],
        },
    },
    {
        "name": "look",
        "description": "Looks.",
        "parameters": {"type": "dict", "properties": {}, "required": []},
    },
]


@pytest.fixture
def simulator(tmp_path, monkeypatch):
    package = tmp_path / "site/bfcl_eval/eval_checker/multi_turn_eval/func_source_code"
    package.mkdir(parents=True)
    (package / "gorilla_file_system.py").write_text(BOX)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    with Simulator(Path(sys.executable), answer_seconds=5) as started:
        yield started


@pytest.fixture
def data_root(tmp_path):
    folder = tmp_path / "data" / FOLDER
    for name in ("possible_answer", "multi_turn_func_doc"):
        (folder / name).mkdir(parents=True)
    text = "\n".join(map(json.dumps, SPECS))
    (folder / "multi_turn_func_doc/gorilla_file_system.json").write_text(text)
    question = {
        "id": "multi_turn_miss_func_0",
        "question": [[{"role": "user", "content": "Put a."}], [], []],
        "initial_config": {"GorillaFileSystem": {"words": ["x"]}},
        "involved_classes": ["GorillaFileSystem"],
        "missed_function": {"2": ["look"]},
    }
    key = {"id": "other", "ground_truth": [["put(word='a')"], [], ["look()"]]}
    name = "BFCL_v4_multi_turn_miss_func.json"
    (folder / name).write_text(json.dumps(question))
    (folder / "possible_answer" / name).write_text(json.dumps(key))
    return tmp_path / "data"


class Script:
    """A backend that answers from a list, and keeps what it was asked."""

    def __init__(self, answers):
        self.answers = list(answers)
        self.asked = []

    def prompts(self, requests, *, max_new_tokens):
        ids = np.zeros(1, dtype=np.int32)
        return [Prompt(request=request, sha256="", input_ids=ids) for request in requests]

    def batches(self, prompts, *, max_new_tokens):
        return [[prompt] for prompt in prompts]

    def generate(self, batch, *, max_new_tokens):
        self.asked.append(batch[0].request.conversation)
        return [Prediction(key=batch[0].key, text=self.answers.pop(0))]


PUT = json.dumps([{"name": "put", "arguments": {"word": "a"}}])
LOOK = json.dumps([{"name": "look", "arguments": {}}])


def run(answers, data_root, simulator):
    (dialogue,) = load_dialogues(data_root, "multi_turn_miss_func")
    backend = Script(answers)
    result = converse([dialogue], backend, simulator)[dialogue.id]
    return dialogue, backend, result


def test_a_model_is_asked_until_it_answers_without_a_call(data_root, simulator):
    dialogue, backend, answers = run([PUT, "Done.", "What?", LOOK, "It is."], data_root, simulator)
    assert answers == [[PUT, "Done."], ["What?"], [LOOK, "It is."]]
    assert check_dialogue(dialogue, answers, simulator) is None
    last = backend.asked[-1]
    said = [
        (message.role, message.content or message.tool_calls[0].name)
        for message in last.messages[:-1]
    ]
    assert said == [
        ("user", "Put a."),
        ("assistant", "put"),
        ("tool", '{"count": 2}'),
        ("assistant", "Done."),
        ("assistant", "What?"),
        ("user", MORE_FUNCTIONS),
        ("assistant", "look"),
        ("tool", "['x', 'a']"),
    ]
    assert [[spec.name for spec in asked.tools] for asked in backend.asked] == [
        *[["put"]] * 3,
        *[["put", "look"]] * 2,
    ]


def test_in_prompting_mode_functions_and_answers_are_words(data_root, simulator):
    (dialogue,) = load_dialogues(data_root, "multi_turn_miss_func")
    backend = Script(["[put(word='a')]", "Done.", "What?", "[look()]", "It is."])
    answers = converse(
        [dialogue], backend, simulator, output_format="python_call", is_prompting=True
    )[dialogue.id]
    assert check_dialogue(dialogue, answers, simulator, output_format="python_call") is None
    assert all(asked.tools == () for asked in backend.asked)
    system, *said = backend.asked[-1].messages[:-1]
    shown = system.content[system.content.index("\n[\n") :]
    assert [doc["name"] for doc in json.loads(shown)] == ["put"]
    assert json.loads(shown)[0]["description"] == (
        "Puts. Note that the provided function is in Python 3 syntax."
    )
    assert [(message.role, message.content) for message in said] == [
        ("user", "Put a."),
        ("assistant", "[put(word='a')]"),
        ("tool", '{"count": 2}'),
        ("assistant", "Done."),
        ("assistant", "What?"),
        ("user", f"{[SPECS[1]]}\n{MORE_FUNCTIONS}"),
        ("assistant", "[look()]"),
        ("tool", "['x', 'a']"),
    ]


@pytest.mark.parametrize(
    ("answers", "error_type"),
    [
        (["No.", "What?", LOOK, "."], "multi_turn:empty_turn_model_response"),
        ([PUT, PUT, ".", ".", LOOK, "."], "multi_turn:instance_state_mismatch"),
        ([PUT, ".", ".", PUT, "."], "multi_turn:instance_state_mismatch"),
        ([LOOK, PUT, ".", ".", LOOK, "."], None),
    ],
)
def test_what_a_model_does_is_compared_with_the_answer_key(
    answers, error_type, data_root, simulator
):
    dialogue, _, given = run(answers, data_root, simulator)
    assert check_dialogue(dialogue, given, simulator) == error_type


def test_result_files_of_conversations_are_scored_with_all_rows_in_the_denominator(
    data_root, simulator, tmp_path
):
    category = "multi_turn_miss_func"
    right = {f"{category}_0": [[PUT, "."], ["."], [LOOK, "."]]}
    for answers, counts in ((right, (1, 1, 0)), ({}, (1, 0, 1))):
        write_results(tmp_path, "me/a", {category: answers})
        results = read_conversations(tmp_path, "me/a")
        assert results == {category: answers}
        (score,) = score_conversations(results, data_root, simulator).values()
        assert (score.num_rows, score.num_correct, score.num_missing) == counts
    with pytest.raises(EvalError, match=r"has no row 'other'.*BFC106"):
        score_conversations({category: {"other": []}}, data_root, simulator)


@pytest.mark.usefixtures("simulator")
def test_the_command_prints_how_many_rows_were_run(data_root, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("pipeline.cli.bfcl._load_backend", lambda *_: Script([""] * 3))
    where = ["--python", sys.executable, "--categories", "multi_turn_miss_func"]
    command = ["--data-root", str(data_root), "bfcl", "converse", "model", str(tmp_path), *where]
    with pytest.raises(SystemExit) as done:
        main([*command, "--model", "me/a", "--max-rows", "1"])
    assert done.value.code == 0
    (line,) = (each for each in capsys.readouterr().out.splitlines() if "miss_func │" in each)
    assert "1 of 200" in line
    assert read_conversations(tmp_path, "me/a") == {
        "multi_turn_miss_func": {"multi_turn_miss_func_0": [[""], [""], [""]]}
    }


@pytest.mark.parametrize("result", ["text", [["a"], "b"], [["a", 1]], None])
def test_results_that_are_no_turns_of_texts_are_refused(result, tmp_path):
    path = result_path(tmp_path, "me/a", "multi_turn_base")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"id": "x", "result": result}))
    with pytest.raises(EvalError, match=r"result.json:1: a result must be a list of turns.*BFC110"):
        read_conversations(tmp_path, "me/a")


def test_a_result_that_the_key_needs_must_have_been_seen(data_root, simulator):
    other = json.dumps([{"name": "unknown", "arguments": {}}])
    dialogue, _, given = run([PUT, ".", ".", other, "."], data_root, simulator)
    assert check_dialogue(dialogue, given, simulator) == "multi_turn:execution_response_mismatch"


def test_a_model_that_never_stops_calling_is_cut_off_and_wrong(data_root, simulator):
    dialogue, _, given = run([PUT] * (MAX_STEPS + 1), data_root, simulator)
    assert [len(steps) for steps in given] == [MAX_STEPS + 1]
    assert check_dialogue(dialogue, given, simulator) == "multi_turn:force_terminated"


def test_errors_of_calls_are_answers_in_the_official_words(simulator):
    simulator.open("k", SCENARIO)
    calls = [
        "nothing()",
        "kill()",
        "_load_scenario(config={})",
        "__import__(name='os')",
        "put(wort='a')",
        "look()",
        "No function is called",
    ]
    assert simulator.call("k", calls) == [
        "Error during execution: name 'nothing' is not defined",
        "Error during execution: Function call kill is not allowed.",
        "Error during execution: name '_load_scenario' is not defined",
        "Error during execution: name '__import__' is not defined",
        "Error during execution: GorillaFileSystem.put() got an unexpected keyword argument 'wort'",
        "[]",
        "Error during execution: invalid syntax (<string>, line 1)",
    ]


def test_calls_within_calls_run_and_texts_that_look_like_calls_change_as_officially(simulator):
    simulator.open("k", SCENARIO)
    calls = [
        "put(word=put(word='in'))",
        "put(word={'a': [look()], 'b': (1, -2)})",
        "put(word='Call look (x) or f (x)')",
        "put(word=nan)",
        "put('positional')",
        "put(word=1, word=2)",
        "put(word=put(word=unknown()))",
        "GorillaFileSystem_instance.put(word='x')",
        "look()",
    ]
    results = simulator.call("k", calls)
    assert [result for result in results if result.startswith("Error")] == [
        "Error during execution: name 'nan' is not defined",
        "Error during execution: keyword argument repeated: word",
        "Error during execution: name 'unknown' is not defined",
        "Error during execution: name 'GorillaFileSystem_instance' is not defined",
    ]
    assert results[-1] == str(
        [
            "in",
            {"count": 1},
            {"a": ["['in', {'count': 1}]"], "b": (1, -2)},
            "Call GorillaFileSystem_instance.look(x) or f(x)",
            "positional",
        ]
    )


def test_a_simulated_api_that_hangs_or_is_absent_is_one_error(simulator, tmp_path):
    simulator._answer_seconds = 2
    simulator.open("k", SCENARIO)
    with pytest.raises(EvalError, match=r"no answer within 2 seconds.*BFC114"):
        simulator.call("k", ["hang()"])
    with pytest.raises(EvalError, match=r"ModuleNotFoundError.*BFC114"):
        simulator.open("k", {**SCENARIO, "classes": ["MathAPI"]})
    with Simulator(tmp_path / "absent") as absent, pytest.raises(EvalError, match="BFC114"):
        absent.close("k")


@pytest.mark.parametrize(
    ("text", "output_format", "calls"),
    [
        (PUT, "any", ["put(word='a')"]),
        ("Nothing to do.", "any", []),
        ('<tool_call>\n{"name": "f", "arguments": {}}\n</tool_call>', "hermes", ["f()"]),
        ("[f(a=1), g()]", "python_call", ["f(a=1)", "g()"]),
        ("prose here", "python_call", []),
        ("prose here", "granite", ["prose here"]),
    ],
)
def test_answers_without_a_readable_call_hold_none(text, output_format, calls):
    assert read_calls(text, output_format) == calls


def test_damaged_conversations_are_named(data_root):
    path = data_root / FOLDER / "BFCL_v4_multi_turn_miss_func.json"
    path.write_text('{"id": "x"}')
    with pytest.raises(EvalError, match="BFC105"):
        load_dialogues(data_root, "multi_turn_miss_func")
    with pytest.raises(EvalError, match="BFC102"):
        load_dialogues(data_root, "simple_python")


def test_results_of_conversations_go_into_the_official_layout(tmp_path):
    (path,) = write_results(tmp_path, "me/a", {"multi_turn_base": {"multi_turn_base_0": [["x"]]}})
    assert path == tmp_path / "me_a/multi_turn/BFCL_v4_multi_turn_base_result.json"
    assert json.loads(path.read_text()) == {"id": "multi_turn_base_0", "result": [["x"]]}


@pytest.mark.skipif(
    not (cache_root() / "bfcl" / "bfcl-eval-2026.3.23" / "installed").is_file(),
    reason="the official evaluator's environment is not installed (`taskloom bfcl official` does)",
)
def test_verdicts_are_the_official_ones_on_every_golden_conversation():
    different = []
    with Simulator(ensure_environment()) as simulator:
        for number, line in enumerate(GOLDEN.read_text(encoding="utf-8").splitlines()):
            row = json.loads(line)
            turns = [
                [read_calls(text, row["format"]) for text in steps] for steps in row["answers"]
            ]
            ours = simulator.check(row["scenario"], turns, row["ground_truth"])
            if ours != row["error_type"]:
                different.append((number, ours, row["error_type"]))
    assert different == []
