"""Serves the official simulated APIs of BFCL's conversations; runs in the official environment.

Imports nothing of this project. Reads one JSON request per line from standard input and writes
one JSON answer per line. A call is a public method of a simulated class, taken by name, with the
JSON values of its arguments: nothing that a model writes is evaluated, unlike in the official
code, which builds Python text from the calls and evaluates it. Results and verdicts are the same.

    {"op": "open", "key": K, "scenario": {"classes", "initial_config", "long_context"}} -> {}
    {"op": "call", "key": K, "calls": [{"name", "arguments"}]} -> {"results": [text]}
    {"op": "close", "key": K} -> {}
    {"op": "check", "scenario": ..., "turns": [[[call] per step] per turn],
     "ground_truth": [[text of a call] per turn]} -> {"error_type": null or text}
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import sys
from typing import Any

# Those of the official list that a simulated class could otherwise answer.
FORBIDDEN = ("kill", "exit", "quit", "remove", "unlink", "popen", "Popen", "run")
STATELESS = ("MathAPI",)
_PACKAGE = "bfcl_eval.eval_checker.multi_turn_eval.func_source_code"
MODULES = {
    "GorillaFileSystem": "gorilla_file_system",
    "MathAPI": "math_api",
    "MessageAPI": "message_api",
    "TwitterAPI": "posting_api",
    "TicketAPI": "ticket_api",
    "TradingBot": "trading_bot",
    "TravelAPI": "travel_booking",
    "VehicleControlAPI": "vehicle_control",
}

Call = dict[str, Any]
"""`{"name", "arguments"}`, and `positional` for calls of the answer key."""


class World:
    """Fresh instances of a scenario's classes."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        """Load the scenario's initial state into each class."""
        self.instances: dict[str, Any] = {}
        for name in scenario["classes"]:
            module = importlib.import_module(f"{_PACKAGE}.{MODULES[name]}")
            instance = getattr(module, name)()
            if name not in STATELESS:
                config = copy.deepcopy(scenario["initial_config"].get(name, {}))
                instance._load_scenario(config, long_context=scenario["long_context"])
            self.instances[name] = instance

    def run(self, calls: list[Call]) -> list[str]:
        """Return the text of each call's result, or of its error, as the official code words it."""
        methods: dict[str, Any] = {}
        for instance in self.instances.values():
            for name, method in inspect.getmembers(instance, predicate=inspect.ismethod):
                if not name.startswith("_"):
                    methods[name] = method
        return [_run(call, methods) for call in calls]

    def differs_from(self, other: World) -> bool:
        """Return whether a public attribute of some class is not the same."""
        for name, right in other.instances.items():
            left = self.instances[name]
            public = (key for key in vars(right) if not key.startswith("_"))
            if any(getattr(left, key) != getattr(right, key) for key in public):
                return True
        return False


def _run(call: Call, methods: dict[str, Any]) -> str:
    name = call["name"]
    try:
        if name in FORBIDDEN:
            raise ValueError(f"Function call {name} is not allowed.")
        if name not in methods:
            raise NameError(f"name {name.split('.')[0]!r} is not defined")
        result = methods[name](*call.get("positional", ()), **call["arguments"])
    except Exception as error:
        return f"Error during execution: {error}"
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def check(request: dict[str, Any]) -> str | None:
    """Return the official error type of a conversation, or `None` for a right one."""
    turns, key = request["turns"], request["ground_truth"]
    if len(turns) != len(key):
        return "multi_turn:force_terminated"
    ours, right = World(request["scenario"]), World(request["scenario"])
    so_far: list[str] = []
    for steps, gold in zip(turns, key, strict=True):
        steps = [calls for calls in steps if calls]
        for calls in steps:
            so_far += ours.run(calls)
        expected = right.run([read_call(text) for text in gold])
        if not gold:
            continue
        if not steps:
            return "multi_turn:empty_turn_model_response"
        if ours.differs_from(right):
            return "multi_turn:instance_state_mismatch"
        left = list(so_far)
        for result in expected:
            if result not in left:
                return "multi_turn:execution_response_mismatch"
            left.remove(result)
    return None


def read_call(text: str) -> Call:
    """Return a call of the answer key, whose arguments are literals."""
    body = ast.parse(text, mode="eval").body
    if not isinstance(body, ast.Call) or not isinstance(body.func, ast.Name):
        raise ValueError(f"not a call: {text}")
    return {
        "name": body.func.id,
        "positional": [ast.literal_eval(value) for value in body.args],
        "arguments": {item.arg: ast.literal_eval(item.value) for item in body.keywords},
    }


def answer(request: dict[str, Any], worlds: dict[str, World]) -> dict[str, Any]:
    """Return the answer to one request."""
    operation = request["op"]
    if operation == "open":
        worlds[request["key"]] = World(request["scenario"])
        return {}
    if operation == "call":
        return {"results": worlds[request["key"]].run(request["calls"])}
    if operation == "close":
        worlds.pop(request["key"], None)
        return {}
    return {"error_type": check(request)}


def main() -> None:
    """Answer requests until standard input ends."""
    out, sys.stdout = sys.stdout, sys.stderr  # a simulated class may print
    worlds: dict[str, World] = {}
    for line in sys.stdin:
        try:
            reply = answer(json.loads(line), worlds)
        except Exception as error:
            reply = {"failed": f"{type(error).__name__}: {error}"}
        out.write(json.dumps(reply) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
