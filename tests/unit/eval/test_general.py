"""lm-eval's own benchmarks beside a run, with a program that stands for lm-eval."""

import importlib.util
import json
import subprocess
import sys

import pytest

from eval.general import _HAS_LM_EVAL, find_general, read_scores, run_general
from pipeline.errors import EvalError

RESULTS = {
    "results": {
        "mmlu": {"alias": "mmlu", "acc,none": 0.61, "acc_stderr,none": 0.004},
        "gsm": {"exact_match,none": 0.2, "exact_match_stderr,none": "N/A"},
        "odd": {"bleu,none": 3.0},
    },
    "n-samples": {"mmlu": {"original": 14042, "effective": 100}},
    "lm_eval_version": "0.4.13",
}


def stand_in(folder, body, *, has_lm_eval=True):
    """Return a program that is called as Python is, and writes results where it is told."""
    path = folder / "python"
    asked = f"if '-c' in sys.argv: sys.exit({int(not has_lm_eval)})"
    path.write_text(f"#!{sys.executable}\nimport pathlib, sys\n{asked}\n{body}\n")
    path.chmod(0o755)
    return str(path)


WRITE = (
    "place = pathlib.Path(sys.argv[sys.argv.index('--output_path') + 1], 'model')\n"
    "place.mkdir(parents=True)\n"
    f"(place / 'results_1.json').write_text({json.dumps(json.dumps(RESULTS))})\n"
    f"pathlib.Path(__file__).with_name('called').write_text(' '.join(sys.argv[1:]))"
)


def test_the_numbers_of_lm_eval_are_kept_beside_the_run(tmp_path):
    python = stand_in(tmp_path, WRITE)
    folder = tmp_path / "run"
    folder.mkdir()
    scores, unread = run_general(["mmlu", "gsm"], folder, model="base", python=python, limit=100)
    assert [(s.benchmark, s.metric, s.value) for s in scores] == [
        ("mmlu", "acc", 0.61),
        ("gsm", "exact_match", 0.2),
    ]
    assert unread == ["odd"]
    called = (tmp_path / "called").read_text()
    assert "-m lm_eval --model hf --model_args pretrained=base --tasks mmlu,gsm" in called
    assert "--limit 100" in called
    (found, _) = find_general(folder)
    assert (found.benchmark, found.num_rows) == ("mmlu", 100)


def test_a_python_without_lm_eval_is_told_and_says_nothing_itself(tmp_path, capfd):
    without = stand_in(tmp_path, "sys.exit('no such module')", has_lm_eval=False)
    for python in (str(tmp_path / "none"), without):
        with pytest.raises(EvalError, match="EVL081"):
            run_general(["mmlu"], tmp_path, model="base", python=python)
    assert capfd.readouterr().err == ""
    probe = subprocess.run([sys.executable, "-c", _HAS_LM_EVAL], check=False)
    assert bool(probe.returncode) == (importlib.util.find_spec("lm_eval") is None)


def test_results_that_are_none_are_told(tmp_path):
    failing = stand_in(tmp_path, "sys.exit(3)")
    with pytest.raises(EvalError, match=r"exit code 3.*EVL082"):
        run_general(["mmlu"], tmp_path, model="base", python=failing)
    with pytest.raises(EvalError, match="EVL082"):
        run_general(["mmlu"], tmp_path, model="base", python=stand_in(tmp_path, ""))
    for broken in ({}, [], {"results": {}}, {"results": {"a": 1}}):
        with pytest.raises(EvalError, match="EVL082"):
            read_scores(broken)
    (tmp_path / "general.json").write_text("[1]")
    assert find_general(tmp_path) == []


def test_any_filter_of_a_metric_is_read_and_named():
    results = {
        "results": {
            "gsm8k": {
                "alias": "gsm8k",
                "exact_match,flexible-extract": 0.4,
                "exact_match_stderr,flexible-extract": 0.2,
                "exact_match,strict-match": 0.3,
                "exact_match_stderr,strict-match": 0.1,
            },
            "odd": {"exact_match,remove_whitespace": 0.5, "sample_len": 7},
            "mmlu": {"acc,none": 0.6, "acc_stderr,none": 0.01, "sample_len": 14042},
            "broken": {"acc,none": float("nan")},
            "group": {"alias": "group", " ": " "},
        },
        "n-samples": {"gsm8k": {"original": 1319, "effective": 1319}},
    }
    scores, unread = read_scores(results)
    assert [(s.benchmark, s.metric, s.value, s.standard_error, s.num_rows) for s in scores] == [
        ("gsm8k", "exact_match,strict-match", 0.3, 0.1, 1319),
        ("odd", "exact_match,remove_whitespace", 0.5, None, 7),
        ("mmlu", "acc", 0.6, 0.01, 14042),
    ]
    assert unread == ["broken"]
