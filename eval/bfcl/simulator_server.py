"""Serves the official simulated APIs of BFCL's conversations; runs in the official environment.

Imports nothing of this project. Reads one JSON request per line from standard input and writes
one JSON answer per line. A call is Python text. The official code evaluates it, with all that this
may run; here it is parsed, and the only things it can do are to call public methods of the
simulated classes and to hold literals. Results and verdicts are the same.

    {"op": "open", "key": K, "scenario": {"classes", "initial_config", "long_context"}} -> {}
    {"op": "call", "key": K, "calls": [text]} -> {"results": [text]}
    {"op": "close", "key": K} -> {}
    {"op": "check", "scenario": ..., "turns": [[[text] per step] per turn],
     "ground_truth": [[text] per turn]} -> {"error_type": null or text}
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
import json
import re
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

_CALLED_NAME = re.compile(r"\b([a-zA-Z_]\w*)\s*(?=\()")


class World:
    """Fresh instances of a scenario's classes."""

    def __init__(self, scenario: dict[str, Any], suffix: str = "instance") -> None:
        """Load the scenario's initial state into each class.

        Args:
            scenario: Names of classes and their state.
            suffix: Ends the name that each instance has in calls.
        """
        self.instances: dict[str, Any] = {}
        self._suffix = suffix
        for name in scenario["classes"]:
            module = importlib.import_module(f"{_PACKAGE}.{MODULES[name]}")
            instance = getattr(module, name)()
            if name not in STATELESS:
                config = copy.deepcopy(scenario["initial_config"].get(name, {}))
                instance._load_scenario(config, long_context=scenario["long_context"])
            self.instances[name] = instance

    def run(self, calls: list[str]) -> list[str]:
        """Return the text of each call's result, or of its error, as the official code words it."""
        owners: dict[str, str] = {}
        methods: dict[tuple[str, str], Any] = {}
        for class_name, instance in self.instances.items():
            owner = f"{class_name}_{self._suffix}"
            for name, method in inspect.getmembers(instance, predicate=inspect.ismethod):
                if not name.startswith("_"):
                    owners[name] = owner
                    methods[owner, name] = method
        return [_run(_with_owners(call, owners), methods) for call in calls]

    def differs_from(self, other: World) -> bool:
        """Return whether a public attribute of some class is not the same."""
        for name, right in other.instances.items():
            left = self.instances[name]
            public = (key for key in vars(right) if not key.startswith("_"))
            if any(getattr(left, key) != getattr(right, key) for key in public):
                return True
        return False


def _with_owners(call: str, owners: dict[str, str]) -> str:
    """Put the name of its instance before each method, and in texts that look like a call too.

    Blanks before a bracket get lost, as officially.
    """

    def replace(match: re.Match[str]) -> str:
        name = match.group(1)
        return f"{owners[name]}.{name}" if name in owners else name

    return _CALLED_NAME.sub(replace, call)


def _run(call: str, methods: dict[tuple[str, str], Any]) -> str:
    try:
        name = call.split("(")[0]
        name = name.split(".")[1] if "." in name else name
        if name in FORBIDDEN:
            raise ValueError(f"Function call {name} is not allowed.")
        result = _value(ast.parse(call, "<string>", "eval").body, methods)
    except Exception as error:
        return f"Error during execution: {error}"
    if isinstance(result, dict):
        try:
            return json.dumps(result)
        except (TypeError, ValueError):
            return str(result)
    return str(result)


def _value(node: ast.expr | None, methods: dict[tuple[str, str], Any]) -> Any:  # noqa: ANN401
    """Return the value of a literal, in which the simulated methods may be called."""
    if isinstance(node, ast.Call):
        return _call(node, methods)
    if isinstance(node, ast.Name):
        raise NameError(f"name {node.id!r} is not defined")
    if isinstance(node, ast.Dict):
        keys = [_value(key, methods) for key in node.keys]
        return dict(zip(keys, [_value(value, methods) for value in node.values], strict=True))
    if isinstance(node, ast.List | ast.Tuple | ast.Set):
        kind = {ast.List: list, ast.Tuple: tuple, ast.Set: set}[type(node)]
        return kind(_value(item, methods) for item in node.elts)
    return ast.literal_eval(node)  # type: ignore[arg-type]  # None, of `**x`, is refused by it


def _call(node: ast.Call, methods: dict[tuple[str, str], Any]) -> Any:  # noqa: ANN401
    path = []
    function = node.func
    while isinstance(function, ast.Attribute):
        path.append(function.attr)
        function = function.value
    if not isinstance(function, ast.Name):
        raise TypeError("the object is not callable")
    if len(path) != 1 or (function.id, path[0]) not in methods:
        raise NameError(f"name {function.id!r} is not defined")
    positional = [_value(item, methods) for item in node.args]
    named: dict[str, Any] = {}
    for item in node.keywords:
        if item.arg is None or item.arg in named:
            raise SyntaxError(f"keyword argument repeated: {item.arg}")
        named[item.arg] = _value(item.value, methods)
    return methods[function.id, path[0]](*positional, **named)


def check(request: dict[str, Any]) -> str | None:
    """Return the official error type of a conversation, or `None` for a right one."""
    turns, key = request["turns"], request["ground_truth"]
    if len(turns) != len(key):
        return "multi_turn:force_terminated"
    ours = World(request["scenario"])
    right = World(request["scenario"], "ground_truth_instance")
    so_far: list[str] = []
    for steps, gold in zip(turns, key, strict=True):
        steps = [calls for calls in steps if calls]
        for calls in steps:
            so_far += ours.run(calls)
        expected = right.run(gold)
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
