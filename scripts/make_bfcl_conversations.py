"""Write official verdicts on mutated BFCL conversations, as an oracle for the simulator.

Runs in the environment of the official evaluator (see `make_bfcl_golden.py`; with mpmath) and
imports nothing from this project. Each line of the output holds a scenario, the format and the
answer in every step of every turn, the answer key and the official error type. The official
evaluator runs what the answers say; those here are made by this script from the answer key.

    python scripts/make_bfcl_conversations.py --data-root DATA --out FILE --per-category 40
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import inspect
import io
import itertools
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bfcl_spellings import BLOCK_FORMATS, FORMS
from make_bfcl_golden import FORMATS, load_handlers, render_format

FOLDER = Path("gorilla-llm", "Berkeley-Function-Calling-Leaderboard")
CATEGORIES = ("base", "miss_func", "miss_param", "long_context")

Call = dict[str, Any]
Row = dict[str, Any]


def load_official() -> Callable[[str, list[list[str]], Row], str | None]:
    """Return a function of a format, the answers and an entry that gives the error type."""
    handlers = load_handlers()
    from bfcl_eval.eval_checker import eval_runner

    runs = itertools.count()

    def evaluate(format_name: str, answers: list[list[str]], entry: Row) -> str | None:
        # The official code keeps instances by model name, so every run has its own.
        with contextlib.redirect_stdout(io.StringIO()):
            result = eval_runner._evaluate_single_multi_turn_entry(
                handlers[format_name],
                entry["id"],
                answers,
                entry["ground_truth"],
                dict(entry),
                f"m{next(runs)}",
                entry["id"].rsplit("_", 1)[0],
            )
        error = result.get("error", {})
        return None if result["valid"] else error.get("error_type")

    return evaluate


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


def nest(rng: random.Random, calls: list[Call], names: dict[str, list[str]]) -> None:
    """Put a call, or what looks like one, in place of an argument."""
    call = rng.choice(calls)
    if not call["arguments"]:
        return
    key = rng.choice(list(call["arguments"]))
    value = call["arguments"][key]
    name = rng.choice([*names, "unknown", "len", "kill"])
    parameters = dict.fromkeys(names.get(name, ["a"])[:2], value)
    call["arguments"][key] = rng.choice(
        [
            {name: parameters},
            {name: {}},
            {name: {}, "other": {}},
            {"a": {name: {}}, "b": 1},
            {"a": 1},
            {},
            [{name: {}}],
            f"{name}()",
            f"{value} (x)",
            f"{value}(x)",
            (value, value),
            float("nan"),
            b"x",
            10**5000,
        ]
    )


def argument(value: Any) -> str:  # noqa: ANN401
    """Return an argument as the model would write it; a dict of dicts is a nested call."""
    if isinstance(value, dict) and value and all(isinstance(item, dict) for item in value.values()):
        name, arguments = next(iter(value.items()))
        return f"{name}({', '.join(f'{key}={argument(item)}' for key, item in arguments.items())})"
    try:
        return repr(value)
    except ValueError:
        return "10 ** 5000"


def answer(rng: random.Random, format_name: str, calls: list[Call]) -> str:
    """Return the text of one step."""
    if not calls:
        return rng.choice(["Done.", "", "[]", "I cannot do that (sorry).", "None"])
    if format_name == "python_call":
        texts = [
            f"{call['name']}("
            + ", ".join(f"{key}={argument(value)}" for key, value in call["arguments"].items())
            + ")"
            for call in calls
        ]
        text = f"[{', '.join(texts)}]"
        return rng.choice([text] * 40 + [text[1:-1], f"```{text}```", f"Sure: {text}", text[:-2]])
    objects = []
    for call in calls:
        try:
            arguments: Any = json.loads(json.dumps(call["arguments"], default=str))
        except ValueError:
            arguments = {}
        if rng.random() < 0.02:
            arguments = rng.choice([json.dumps(arguments), None, []])
        item = {"name": call["name"], "arguments": arguments}
        if rng.random() < 0.01:
            del item[rng.choice(list(item))]
        objects.append(item)
    if rng.random() < 0.1:
        return render_format(rng, format_name, objects)
    texts = [json.dumps(item) for item in objects]
    form = FORMS[format_name][0]
    if format_name in BLOCK_FORMATS:
        return "\n".join(form.replace("{t}", text) for text in texts)
    return form.replace("{t}", ", ".join(texts))


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


def make_row(
    rng: random.Random,
    evaluate: Callable[[str, list[list[str]], Row], str | None],
    entry: Row,
    turns: list[list[list[Call]]],
) -> Row:
    format_name = rng.choice(["python_call", *FORMATS])
    answers = [[answer(rng, format_name, calls) for calls in steps] for steps in turns]
    return {
        "scenario": {
            "classes": entry["involved_classes"],
            "initial_config": entry["initial_config"],
            "long_context": "long_context" in entry["id"],
        },
        "format": format_name,
        "answers": answers,
        "ground_truth": entry["ground_truth"],
        "error_type": evaluate(format_name, answers, entry),
    }


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
    evaluate = load_official()
    rows = []
    for category in CATEGORIES:
        name = f"BFCL_v4_multi_turn_{category}.json"
        folder = arguments.data_root / FOLDER
        entries = [json.loads(line) for line in (folder / name).open()]
        answers = [json.loads(line) for line in (folder / "possible_answer" / name).open()]
        pairs = [
            {**entry, "ground_truth": key["ground_truth"]}
            for entry, key in zip(entries, answers, strict=True)
            if len(json.dumps(entry["initial_config"])) <= arguments.max_bytes
        ]
        for entry in rng.sample(pairs, min(arguments.per_category, len(pairs))):
            names = parameters_of(entry["involved_classes"])
            public = [method for method in names if not method.startswith("_")]
            for variant in range(arguments.variants):
                turns = [
                    [[read_call(text, names)] for text in gold] for gold in entry["ground_truth"]
                ]
                for _ in range(rng.choice([0, 1, 1, 2]) if variant else 0):
                    if turns:
                        mutate(rng, turns, public)
                steps = [calls for turn in turns for calls in turn if calls]
                if variant and steps and rng.random() < 0.5:
                    nest(rng, rng.choice(steps), names)
                rows.append(make_row(rng, evaluate, entry, turns))
    with arguments.out.open("w", encoding="utf-8") as stream:
        for row in rows:
            stream.write(json.dumps(row, separators=(",", ":")) + "\n")
    counts = Counter(str(row["error_type"]) for row in rows)
    sys.stdout.write(f"{len(rows)} conversations: {dict(counts)}\n")


if __name__ == "__main__":
    main()
