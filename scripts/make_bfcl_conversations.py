"""Write official verdicts on mutated BFCL conversations, as an oracle for the simulator.

Runs in the environment of the official evaluator (see `make_bfcl_golden.py`; with mpmath) and
imports nothing from this project. Each line of the output holds a scenario, the calls of every
step of every turn, the answer key and the official error type. The official checker evaluates
calls as Python text; those here are made by this script from the answer key.

    python scripts/make_bfcl_conversations.py --data-root DATA --out FILE --per-category 40
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import os
import random
import sys
import tempfile
import types
from pathlib import Path
from typing import Any

FOLDER = Path("gorilla-llm", "Berkeley-Function-Calling-Leaderboard")
CATEGORIES = ("base", "miss_func", "miss_param", "long_context")

Call = dict[str, Any]


def load_official() -> Any:  # noqa: ANN401 - a module of another environment
    os.environ["BFCL_PROJECT_ROOT"] = tempfile.mkdtemp()
    from bfcl_eval.eval_checker.multi_turn_eval import multi_turn_checker

    return multi_turn_checker


def read_call(text: str, parameters: dict[str, list[str]]) -> Call:
    body = ast.parse(text, mode="eval").body
    assert isinstance(body, ast.Call)
    assert isinstance(body.func, ast.Name)
    name = body.func.id
    arguments = dict(
        zip(
            parameters.get(name, []), (ast.literal_eval(value) for value in body.args), strict=False
        )
    )
    arguments |= {item.arg: ast.literal_eval(item.value) for item in body.keywords}
    return {"name": name, "arguments": arguments}


def parameters_of(classes: list[str]) -> dict[str, list[str]]:
    import importlib

    from bfcl_eval.constants.executable_backend_config import CLASS_FILE_PATH_MAPPING

    names: dict[str, list[str]] = {}
    for name in classes:
        kind = getattr(importlib.import_module(CLASS_FILE_PATH_MAPPING[name]), name)
        for method, function in inspect.getmembers(kind, predicate=inspect.isfunction):
            names[method] = list(inspect.signature(function).parameters)[1:]
    return names


def text_of(call: Call) -> str:
    arguments = ", ".join(f"{key}={value!r}" for key, value in call["arguments"].items())
    return f"{call['name']}({arguments})"


def mutate(rng: random.Random, turns: list[list[list[Call]]], names: list[str]) -> None:
    turn = rng.choice(turns)
    kind = rng.randrange(11)
    if kind == 0 and turn:
        turn.remove(rng.choice(turn))
    elif kind == 1 and turn:
        turn.append(rng.choice(turn))
    elif kind == 2:
        turn.append([{"name": rng.choice([*names, "unknown", "kill"]), "arguments": {}}])
    elif kind == 3 and turn:
        rng.shuffle(turn)
    elif kind == 4:
        turn.clear()
    elif kind == 5 and turn:
        turn[:] = [[call for step in turn for call in step]]
    elif kind == 6 and turn:
        turn.append([])
    elif kind == 7:
        turns.pop()
    elif turn and turn[0]:
        call = rng.choice(rng.choice([step for step in turn if step]))
        if call["arguments"]:
            key = rng.choice(list(call["arguments"]))
            value = call["arguments"][key]
            call["arguments"][key] = rng.choice(
                [None, "x", 1, -1, [], str(value), [value], [value, value], True]
            )
            if rng.random() < 0.2:
                call["arguments"]["extra"] = 1
            if rng.random() < 0.2:
                del call["arguments"][key]
        else:
            call["name"] = rng.choice(names)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--per-category", type=int, default=40)
    parser.add_argument("--variants", type=int, default=6)
    parser.add_argument("--max-bytes", type=int, default=8_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    checker = load_official()
    rows = []
    for category in CATEGORIES:
        name = f"BFCL_v4_multi_turn_{category}.json"
        folder = arguments.data_root / FOLDER
        entries = [json.loads(line) for line in (folder / name).open()]
        answers = [json.loads(line) for line in (folder / "possible_answer" / name).open()]
        pairs = [
            pair
            for pair in zip(entries, answers, strict=True)
            if len(json.dumps(pair[0]["initial_config"])) <= arguments.max_bytes
        ]
        for entry, key in rng.sample(pairs, min(arguments.per_category, len(pairs))):
            names = parameters_of(entry["involved_classes"])
            public = [method for method in names if not method.startswith("_")]
            for variant in range(arguments.variants):
                turns = [
                    [[read_call(text, names)] for text in gold] for gold in key["ground_truth"]
                ]
                for _ in range(rng.choice([0, 1, 1, 2]) if variant else 0):
                    if turns:
                        mutate(rng, turns, public)
                rows.append(make_row(checker, entry, key["ground_truth"], turns, number=len(rows)))
    with arguments.out.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, separators=(",", ":")) + "\n")
    counts: dict[str, int] = {}
    for row in rows:
        counts[str(row["error_type"])] = counts.get(str(row["error_type"]), 0) + 1
    sys.stdout.write(f"{len(rows)} conversations: {counts}\n")


def make_row(
    checker: types.ModuleType,
    entry: dict[str, Any],
    ground_truth: list[list[str]],
    turns: list[list[list[Call]]],
    *,
    number: int,
) -> dict[str, Any]:
    category = entry["id"].rsplit("_", 1)[0]
    if len(turns) == len(ground_truth):
        decoded = [[[text_of(call) for call in step] for step in turn if step] for turn in turns]
        # The official code keeps instances by model name, so every run has its own.
        result = checker.multi_turn_checker(decoded, ground_truth, entry, category, f"m{number}")
        error_type = result.get("error_type")
    else:
        error_type = "multi_turn:force_terminated"
    return {
        "scenario": {
            "classes": entry["involved_classes"],
            "initial_config": entry["initial_config"],
            "long_context": "long_context" in category,
        },
        "turns": turns,
        "ground_truth": ground_truth,
        "error_type": error_type,
    }


if __name__ == "__main__":
    main()
