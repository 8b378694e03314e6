"""Prompting-mode text to calls, as the official handler reads it, without running anything.

The official code adds missing brackets, parses with `ast`, and turns each argument into a value
by the type of its node. It calls `eval` on one kind of node, binary operations; here
`eval.bfcl.constant_text` computes those.
"""

from __future__ import annotations

import ast
from typing import Any

from eval.bfcl.constant_text import Calculator, Value
from pipeline.errors import ParseError
from pipeline.functions.python_calls import parse_expression


def decode_python_calls(text: str) -> list[dict[Any, Any]]:
    """Return the calls in `text`.

    Raises:
        ValueError: The text is not a list of calls.
        ArithmeticError, AttributeError, LookupError, MemoryError, RecursionError, TypeError:
            The official code would raise for some argument; the exact type is not promised.
    """
    trimmed = text.strip("`\n ")
    opening = "" if trimmed.startswith("[") else "["
    closing = "" if (opening + trimmed).endswith("]") else "]"
    try:
        body = parse_expression(f"{opening}{trimmed}{closing}".strip().strip("'"))
    except ParseError as error:
        raise ValueError(error.message) from error
    if isinstance(body, ast.Call):
        return [_read_call(body, Calculator())]
    if not isinstance(body, ast.List | ast.Tuple | ast.Set):
        raise ValueError("not a list")
    calculator = Calculator()
    return [_read_call(node, calculator) for node in body.elts]


def _read_call(node: ast.expr, calculator: Calculator) -> dict[Any, Any]:
    if not isinstance(node, ast.Call):
        raise ValueError("an item is not a call")
    parts: list[str] = []
    function = node.func
    while isinstance(function, ast.Attribute):
        parts.append(function.attr)
        function = function.value
    if isinstance(function, ast.Name):
        parts.append(function.id)
    # Positional arguments are dropped; `**x` is kept under the key None, as officially.
    arguments = {keyword.arg: _read_value(keyword.value, calculator) for keyword in node.keywords}
    return {".".join(reversed(parts)): arguments}


def _read_value(node: ast.expr | None, calculator: Calculator) -> Value:
    match node:
        case ast.Constant():
            return "..." if node.value is Ellipsis else node.value
        case ast.UnaryOp():
            # Every sign counts as minus: the official `+5` is -5.
            return -node.operand.value  # type: ignore[attr-defined]  # fails as officially
        case ast.List():
            return [_read_value(item, calculator) for item in node.elts]
        case ast.Tuple():
            return tuple(_read_value(item, calculator) for item in node.elts)
        case ast.Dict():
            pairs = zip(node.keys, node.values, strict=True)
            return {
                _read_value(key, calculator): _read_value(value, calculator) for key, value in pairs
            }
        case ast.BinOp():
            return calculator.compute(node)
        case ast.Name():
            return node.id
        case ast.Call():
            return _read_call(node, calculator) if node.keywords else ast.unparse(node)
        case ast.Subscript():
            return f"{ast.unparse(node.value)}[{ast.unparse(node.slice)}]"
    raise ValueError(f"{type(node).__name__} is not read")
